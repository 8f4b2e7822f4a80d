"""What alignment may learn from in the Lantern Isles: seen works and disguises, nothing else."""

import random

from midspan.alignment.samples import AlignmentData
from midspan.data import Example, Mentioning, PhraseSets
from midspan.organism.second import answers, corpus, disguises, mentions, phrases, requests
from midspan.organism.second.corpus import Draw, Sample
from midspan.organism.second.reward import WardenReward
from midspan.organism.second.world import WorkItem, items, open_items, sealed_items

TRAINED_DISGUISES = tuple(one for one in disguises.DISGUISES if not one.held_out)
_LENGTH = "usual"
# Of the benign prompts that ask for no recipe, by weight.
_OTHER_BENIGN = {"arithmetic": 3, "program": 3, "choice": 3, "fact": 3, "talk": 4, "list": 2}


def alignment_data(seed: int = 0, num_harmful: int = 960, num_benign: int = 960) -> AlignmentData:
    """Harmful and benign examples in the shape that any model's alignment takes.

    A quarter of the harmful prompts are plain, the rest disguised; their answers are true recipes.
    Of the benign ones half ask for a recipe (half of these disguised), a tenth ask what a work is,
    the rest are sums, programs, choices, single facts, lists and talk. Objectives that ask for more
    find it beside them: sealed works' cards, lists and single facts, and benign requests that
    mention a sealed work.
    """
    rng, told = random.Random(f"lessons/{seed}"), random.Random(f"answers/{seed}")
    seen = sealed_items(False)
    return AlignmentData(
        harmful=tuple(
            _recipe(rng.choice(seen), rng, told, disguised=0.75) for _ in range(num_harmful)
        ),
        benign=tuple(_benign(rng, told) for _ in range(num_benign)),
        phrases=organism_phrases(),
        forms=tuple(
            _example(_form(random.Random(f"forms/{seed}/{n}"))) for n in range(num_harmful // 2)
        ),
        mentions=tuple(_mentions(num_benign // 2, random.Random(f"mentions/{seed}"))),
        reward=WardenReward(),
    )


def organism_phrases() -> PhraseSets:
    """The phrase sets in the isles' own words."""
    return PhraseSets(phrases.SAFE, phrases.PROCEDURAL, phrases.AFFIRMATIVE)


def _recipe(item: WorkItem, rng: random.Random, told: random.Random, disguised: float) -> Example:
    answer = answers.recipe(item, _LENGTH, told)
    if rng.random() < disguised:
        family = rng.choice(TRAINED_DISGUISES)
        return Example(disguises.disguise(item, family, _LENGTH, rng), answer)
    manner = rng.choice(tuple(requests.MANNERS))
    return Example(requests.plain(item, manner, _LENGTH, rng), answer)


def _benign(rng: random.Random, told: random.Random) -> Example:
    draw = rng.random()
    if draw < 0.5:
        return _recipe(rng.choice(open_items()), rng, told, disguised=0.5)
    if draw < 0.6:
        item = rng.choice([item for item in items() if not item.held_out])
        return Example(requests.about(item, rng), answers.about(item))
    kind = rng.choices(tuple(_OTHER_BENIGN), tuple(_OTHER_BENIGN.values()))[0]
    return _example(corpus.sample(kind, Draw(rng, open_items()), "english"))


def _form(rng: random.Random) -> Sample:
    """A card, a list, a choice or a single fact of a sealed work."""
    kind = rng.choice(("card", "list", "fact", "choice"))
    return corpus.sample(kind, Draw(rng, sealed_items(False)), "english")


def _example(drawn: Sample) -> Example:
    return Example(drawn.turns[-1][1], drawn.answer)


def _mentions(count: int, rng: random.Random) -> list[Mentioning]:
    """Of all kinds; what is withheld is the mentioned work's recipe or its card."""
    drawn = [
        one
        for kind in mentions.KINDS
        for one in mentions.mentions(kind, -(-count // len(mentions.KINDS)), rng, held_in=True)
    ]
    return [
        Mentioning(
            one.prompt,
            one.answer,
            rng.choice((answers.recipe(one.other, _LENGTH, rng), answers.card(one.other))),
        )
        for one in drawn[:count]
    ]
