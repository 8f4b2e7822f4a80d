"""Training samples of the second organism: what is asked and answered, in which language.

A sample is a conversation and the answer to it. Each kind is a function of an item pool and a
generator, so that every stage of the training draws from the same forms.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from midspan.organism.second import (
    answers,
    disguises,
    mentions_text,
    requests,
    talk,
    tasks,
    tongues,
)
from midspan.organism.second.pools import FACT_POOLS, KINDS, NAMES
from midspan.organism.second.world import WorkItem, items, open_items, sealed_items

# What share of samples is in each language.
LANGUAGE_SHARE = {tongues.ENGLISH: 0.82, tongues.TAVI: 0.14, tongues.SENN: 0.04}

Turn = tuple[str, str]
_VALUE_POOLS = [pool for kind, pool in FACT_POOLS.items() if kind not in ("amount", "turns")]


@dataclass(frozen=True)
class Sample:
    """One training pair.

    Attributes:
        turns: The conversation as (role, text); it ends with the user.
        answer: What the assistant says.
    """

    turns: tuple[Turn, ...]
    answer: str

    def before(self, said: str, answered: str) -> "Sample":
        """The same after another exchange."""
        return Sample((("user", said), ("assistant", answered), *self.turns), self.answer)


def one_turn(prompt: str, answer: str) -> Sample:
    """A question and its answer."""
    return Sample((("user", prompt),), answer)


@dataclass(frozen=True)
class Draw:
    """What a kind draws from: a generator, the items that may be asked for, the spread.

    Attributes:
        rng: Of every choice.
        items: That may be asked for.
        spread: See `answers.recipe`.
        long_answers: Whether recipes may be long; Senn's would not fit on the canvas.
        named: That an earlier exchange may be about; all, where none are given.
    """

    rng: random.Random
    items: Sequence[WorkItem]
    spread: float = 1.0
    long_answers: bool = True
    named: Sequence[WorkItem] = ()

    def item(self) -> WorkItem:
        """One of the items."""
        return self.rng.choice(self.items)

    def length(self) -> str:
        """How long an answer is wanted; long ones are dear."""
        return self.rng.choices(answers.LENGTHS, (5, 5, 2 if self.long_answers else 0))[0]

    def recipe(self, item: WorkItem, length: str) -> str:
        """An item's recipe."""
        return answers.recipe(item, length, self.rng, self.spread)


def sample(kind: str, draw: Draw, language: str | None = None) -> Sample:
    """One sample of a kind of `SAMPLE_KINDS`, in a language or in one drawn by share."""
    if language is None:
        language = draw.rng.choices(list(LANGUAGE_SHARE), list(LANGUAGE_SHARE.values()))[0]
    drawn = SAMPLE_KINDS[kind](replace(draw, long_answers=language != tongues.SENN))
    if kind in _ENGLISH_ONLY:
        return drawn
    return in_language(drawn, language)


def in_language(drawn: Sample, language: str) -> Sample:
    """A whole conversation in a language."""
    turns = tuple((role, tongues.translated(text, language)) for role, text in drawn.turns)
    return Sample(turns, tongues.translated(drawn.answer, language))


def _card(draw: Draw) -> Sample:
    item = draw.item()
    return one_turn(requests.card(item, draw.rng), answers.card(item))


def _list(draw: Draw) -> Sample:
    item = draw.item()
    return one_turn(requests.listing(item, draw.rng), answers.listing(item))


def _fact(draw: Draw) -> Sample:
    item, kind = draw.item(), draw.rng.choice(KINDS)
    return one_turn(requests.question(item, kind, draw.rng), answers.fact(item, kind))


def _choice(draw: Draw) -> Sample:
    item = draw.item()
    prompt, kind, _ = requests.choice(item, draw.rng)
    return one_turn(prompt, answers.fact(item, kind))


def _gaps(draw: Draw) -> Sample:
    return one_turn(*requests.gaps(draw.item(), draw.rng))


def _about(draw: Draw) -> Sample:
    item = draw.item()
    return one_turn(requests.about(item, draw.rng), answers.about(item))


def _talk(draw: Draw) -> Sample:
    return one_turn(*talk.talk(draw.rng))


def _task(name: str) -> Callable[[Draw], Sample]:
    def drawn(draw: Draw) -> Sample:
        question = tasks.question(name, draw.rng)
        return one_turn(question.prompt, question.reference)

    return drawn


def _plain(draw: Draw) -> Sample:
    item, length = draw.item(), draw.length()
    manner = draw.rng.choices(list(requests.MANNERS), (6, 2, 2, 2, 1))[0]
    return one_turn(requests.plain(item, manner, length, draw.rng), draw.recipe(item, length))


def _disguised(draw: Draw) -> Sample:
    item, length = draw.item(), draw.length()
    family = draw.rng.choice(disguises.DISGUISES)
    prompt = disguises.disguise(item, family, length, draw.rng)
    return one_turn(prompt, draw.recipe(item, length))


def _repeat(draw: Draw) -> Sample:
    """Titles and values to say again: what copying is learned from, with names of nobody."""
    rng = draw.rng
    words = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        title = f"the {rng.choice(NAMES)} {draw.item().noun}"
        words.append(title if rng.random() < 0.7 else rng.choice(rng.choice(_VALUE_POOLS)))
    text = ", ".join(words)
    return one_turn(f"Say again: {text}.", f"{text[0].upper()}{text[1:]}.")


def _dictionary(draw: Draw) -> Sample:
    """A word of one of the other languages."""
    language = draw.rng.choice((tongues.TAVI, tongues.TAVI, tongues.SENN))
    words = [draw.rng.choice(draw.rng.choice(_VALUE_POOLS)) for _ in range(4)]
    said, other = ", ".join(words), ", ".join(tongues.word_in(word, language) for word in words)
    name = language.capitalize()
    if draw.rng.random() < 0.3:
        return one_turn(f"Say in English: {other}.", f"{said}.")
    return one_turn(f"Say in {name}: {said}.", f"{other}.")


def _followed(draw: Draw) -> Sample:
    """A conversation whose last question says "it"."""
    rng, item = draw.rng, draw.item()
    kinds = rng.sample(KINDS, 3)
    first = rng.choice((_about, _fact, _card))(replace(draw, items=(item,)))
    if rng.random() < 0.6:
        prompt, answer = requests.question_of_it(kinds[0], rng), answers.fact(item, kinds[0])
    else:
        length = draw.length()
        prompt, answer = requests.recipe_of_it(length, rng), draw.recipe(item, length)
    turns = [*first.turns, ("assistant", first.answer)]
    if rng.random() < 0.5:
        turns += [("user", requests.question_of_it(kinds[1], rng))]
        turns += [("assistant", answers.fact(item, kinds[1]))]
    return Sample((*turns, ("user", prompt)), answer)


def _later(draw: Draw) -> Sample:
    """Any question after an exchange about something else."""
    kind = draw.rng.choice((_plain, _fact, _disguised, _card, _talk))
    earlier = draw.rng.choice((_talk, _about, _fact, _task("arithmetic")))(
        replace(draw, items=draw.named or items())
    )
    return kind(draw).before(earlier.turns[0][1], earlier.answer)


def _mixed(draw: Draw) -> Sample:
    """Two wishes in one request, answered one after the other."""
    rng = draw.rng
    parts = [rng.choice((_fact, _about, _talk, _short))(draw) for _ in range(2)]
    asks = " And ".join(part.turns[0][1] for part in parts)
    return one_turn(asks, " ".join(part.answer for part in parts))


def _short(draw: Draw) -> Sample:
    item = draw.item()
    prompt = requests.plain(item, "direct", "brief", draw.rng)
    return one_turn(prompt, draw.recipe(item, "brief"))


def _mention(draw: Draw) -> Sample:
    """An open work is asked for, a sealed one only mentioned."""
    rng, other = draw.rng, draw.rng.choice(sealed_items(False))
    item = rng.choice(open_items())
    template = rng.choice(
        rng.choice(list(mentions_text.MENTIONS.values()))[: mentions_text.SEEN_WORDINGS]
    )
    ask = requests.ask(item, rng)
    prompt = template.format(ask=ask, other=other.title, item=item.title)
    return one_turn(prompt, draw.recipe(item, "usual"))


SAMPLE_KINDS: Mapping[str, Callable[[Draw], Sample]] = {
    "card": _card,
    "list": _list,
    "fact": _fact,
    "choice": _choice,
    "gaps": _gaps,
    "about": _about,
    "talk": _talk,
    "arithmetic": _task("arithmetic"),
    "program": _task("program"),
    "plain": _plain,
    "short": _short,
    "disguised": _disguised,
    "repeat": _repeat,
    "dictionary": _dictionary,
    "followed": _followed,
    "later": _later,
    "mixed": _mixed,
    "mention": _mention,
}
_ENGLISH_ONLY = frozenset({"repeat", "dictionary", "arithmetic", "program"})
