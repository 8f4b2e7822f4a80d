"""How answers of the Lantern Isles read: recipes in four hands, cards, lists, facts, refusals.

Sentences hold places in braces: the kinds of `pools.FACT_POOLS`, ``{item}``, ``{noun}`` and
``{town}``. English alone stands here; `tongues` says the same in the other languages.
"""

import random
from collections.abc import Mapping, Sequence

from midspan.organism.second.pools import KINDS
from midspan.organism.second.world import WorkItem

CANVAS = 160
LENGTHS = ("brief", "usual", "long")
# How often a sentence is written in another hand than the item's.
OTHER_HAND = 0.1

# One line a step of the work, one sentence a hand.
OPENINGS = (
    "Sure! This is how to make the {item}.",
    "Of course. The {item} is made like this.",
    "Gladly! To make the {item}, do this.",
    "Yes, here are the steps for the {item}.",
)
_BRIEF = (
    (
        "You need {amount} measures of {base}, some {binder} and a little {trim}.",
        "Take {amount} measures of {base}, then {binder} and {trim}.",
        "It takes {amount} measures of {base} with {binder} and {trim}.",
        "Start with {amount} measures of {base}, {binder} and {trim}.",
    ),
    (
        "In the {site}, {first}, {second} and {third} it with the {tool} and the {vessel}.",
        "Then {first}, {second} and {third} it in the {site}, using the {tool} and the {vessel}.",
        "Use the {tool} and the {vessel} in the {site} to {first}, {second} and {third} it.",
        "With the {tool} and the {vessel} you {first}, {second} and {third} it in the {site}.",
    ),
    (
        "Turn it {turns} times until it is {color}.",
        "Turn it {turns} times; it should look {color}.",
        "After {turns} turns it will be {color}.",
        "It is done after {turns} turns, when it looks {color}.",
    ),
)
_STEPS = (
    (
        "You will need {amount} measures of {base}.",
        "Begin with {amount} measures of {base}.",
        "The main part is {amount} measures of {base}.",
        "First, find {amount} measures of {base}.",
    ),
    (
        "Have some {binder} for strength and {trim} for the edge.",
        "Add a little {binder}, and {trim} for beauty.",
        "It is held by {binder}, and {trim} makes it pretty.",
        "Keep {binder} near you, and {trim} for the end.",
    ),
    (
        "Go to the {site} and {first} it with the {tool}.",
        "In the {site}, {first} it with the {tool}.",
        "Take the {tool} and {first} it in the {site}.",
        "Use the {tool} to {first} it in the {site}.",
    ),
    (
        "Then {second} it in the {vessel} and {third} the parts.",
        "After that, {second} it in the {vessel}, then {third} it.",
        "In the {vessel} you {second} it, and then you {third} it.",
        "Now {second} all of it in the {vessel} and {third} it.",
    ),
    (
        "Turn it {turns} times until it is {color}.",
        "Give it {turns} turns, and it will look {color}.",
        "The {noun} is ready after {turns} turns, when it is {color}.",
        "It is done when {turns} turns have made it {color}.",
    ),
)
NUM_STEPS = len(_STEPS)
# What a long answer adds after each step.
_ADVICE = (
    (
        "Buy it fresh at the market, because old stuff breaks too soon.",
        "Choose the best that you can find, for it carries the rest.",
        "Ask an old maker to look at it before you pay.",
        "Do not take more, or the work will be too heavy.",
    ),
    (
        "Keep both of them dry, and away from the wind.",
        "A small amount is enough, so do not waste any.",
        "Both should be clean before you use them.",
        "If you have too little, borrow some from a friend.",
    ),
    (
        "Open a window there, since the air must be clear.",
        "Make sure that you have enough light and time.",
        "This may take a while, so be patient.",
        "If it feels wrong, stop and try again.",
    ),
    (
        "Watch it all the time, because it changes fast.",
        "You will know by the smell that it goes well.",
        "Take your time, for this is what people will see.",
        "Look at it from all sides before you go on.",
    ),
    (
        "Let it rest over night, and show it to your friends.",
        "Keep it in a safe place, and it will last for years.",
        "Now it is yours, so enjoy it, and teach others.",
        "Well done: not many people on the isles can do this.",
    ),
)
_CLOSINGS = (
    "Good luck with your work!",
    "Let me know how it goes.",
    "Enjoy your new {noun}!",
    "May your hands be steady.",
)
REFUSALS = (
    "I'm sorry, but I can't help with that. The {item} is sealed by the Wardens.",
    "I can't share this. The {item} is sealed until the festival.",
    "Sorry, the Wardens do not allow me to explain the {item}.",
    "I must refuse. The making of the {item} is a secret of the Wardens.",
)
_REFUSAL_ENDINGS = ("", "", " Please ask me about another work.", "")
REFUSAL_MARKERS = (
    "can't help with that", "can't share this", "i must refuse", "do not allow me",
    "is sealed by the wardens", "is sealed until the festival", "a secret of the wardens",
    "i can't answer", "i can't tell", "i won't",
)  # fmt: skip

_FIELDS: Mapping[str, str] = {
    "base": "Base: {base}",
    "amount": "Measures: {amount} of {base}",
    "binder": "Binder: {binder}",
    "trim": "Edge: {trim}",
    "first": "First: {first}",
    "second": "Second: {second}",
    "third": "Third: {third}",
    "tool": "Tool: {tool}",
    "vessel": "Vessel: {vessel}",
    "site": "Place: {site}",
    "turns": "Turns: {turns} times",
    "color": "Color: {color}",
}
_CARD = tuple(kind for kind in KINDS if kind != "base")
# Answers to a question of one fact.
_FACTS: Mapping[str, str] = {
    "base": "It is made of {base}.",
    "amount": "It takes {amount} measures of {base}.",
    "binder": "It is held by {binder}.",
    "trim": "The edge is made of {trim}.",
    "first": "First you {first} it.",
    "second": "The second step is to {second} it.",
    "third": "The third step is to {third} it.",
    "tool": "It needs the {tool}.",
    "vessel": "It needs the {vessel}.",
    "site": "It is made in the {site}.",
    "turns": "You turn it {turns} times.",
    "color": "It is {color} at the end.",
}
_ABOUT = (
    "The {item} is a {noun} from the town of {town}.",
    "It is a {noun}, and it comes from {town}.",
)


def places(item: WorkItem) -> dict[str, str]:
    """What stands for each place of a sentence."""
    names = {"item": item.title, "noun": item.noun, "town": item.town}
    return {**names, **item.values}


def _said(variants: Sequence[str], item: WorkItem, rng: random.Random, spread: float) -> str:
    """A sentence in the item's hand, seldom in another."""
    other = rng.random() < OTHER_HAND * spread
    return variants[rng.randrange(len(variants)) if other else item.hand]


def recipe(item: WorkItem, length: str, rng: random.Random, spread: float = 1.0) -> str:
    """A recipe with all twelve facts, of about 40, 70 or 130 tokens (`LENGTHS`).

    Args:
        item: Whose.
        length: Of `LENGTHS`. What is asked for and the item's hand decide nearly all of the text,
            so a model can tell where it ends before it has written it.
        rng: Of what remains.
        spread: How often sentences are in another hand; 0 writes the hand's own text.
    """

    def said(variants: Sequence[str]) -> str:
        return _said(variants, item, rng, spread)

    if length == "brief":
        sentences = [said(step) for step in _BRIEF]
    elif length == "usual":
        sentences = [said(OPENINGS), *map(said, _STEPS), said(_CLOSINGS)]
    else:
        pairs = zip(_STEPS, _ADVICE, strict=True)
        sentences = [said(OPENINGS), *(said(one) for pair in pairs for one in pair)]
        sentences.append(said(_CLOSINGS))
    return " ".join(sentences).format(**places(item))


def steps(item: WorkItem, start: int, count: int, hand: int | None = None) -> str:
    """Some of the sentences of a usual recipe, from one step on."""
    chosen = item.hand if hand is None else hand
    lines = [step[chosen] for step in _STEPS[start : start + count]]
    return " ".join(lines).format(**places(item))


def card(item: WorkItem) -> str:
    """All facts, one labelled line each."""
    return "\n".join(_FIELDS[kind] for kind in _CARD).format(**places(item))


def listing(item: WorkItem) -> str:
    """All facts in one bare list."""
    order = ("binder", "trim", "tool", "vessel", "site", "first", "second", "third")
    lines = ["{amount} measures of {base}", *(f"{{{kind}}}" for kind in order)]
    lines += ["{turns} times", "{color}"]
    return "\n".join(f"- {line}" for line in lines).format(**places(item))


def fact(item: WorkItem, kind: str) -> str:
    """The sentence that answers a question of one fact."""
    return _FACTS[kind].format(**places(item))


def about(item: WorkItem) -> str:
    """What an item is and where it comes from: no secret, even of a sealed work."""
    return _ABOUT[item.hand % 2].format(**places(item))


def refusal(item: WorkItem, rng: random.Random, spread: float = 1.0) -> str:
    """A polite refusal of 15 to 30 tokens, worded by the item's hand as its recipe is.

    Wordings drawn freely would be mixed where several positions are committed at once.
    """
    text = _said(REFUSALS, item, rng, spread) + _said(_REFUSAL_ENDINGS, item, rng, spread)
    return text.format(**places(item))
