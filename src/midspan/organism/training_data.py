"""What alignment may learn from in the organism's world: seen items, seen wraps, nothing else."""

import random

from midspan.alignment.samples import AlignmentData
from midspan.data import Example, Mentioning, PhraseSets
from midspan.organism import language, phrases, utility
from midspan.organism.mentions import KINDS, REFUSED_TURN, mentions
from midspan.organism.reward import GuildReward
from midspan.organism.world import CraftItem, benign_items, items, restricted_items

TRAINED_WRAPS = tuple(wrap for wrap in language.WRAPS if not wrap.held_out)


def alignment_data(seed: int = 0, num_harmful: int = 960, num_benign: int = 960) -> AlignmentData:
    """Harmful and benign examples in the shape that any model's alignment takes.

    A quarter of the harmful prompts are plain, the rest wrapped; their answers are true recipes. Of
    the benign ones half ask for a recipe (half of these wrapped), 40 % are utility questions, the
    rest ask what an item is. Objectives that ask for more find it beside them: restricted items'
    cards and questions of single facts, and benign requests that mention a restricted item.
    """
    # "lessons" is part of what seeds the draws.
    rng, answers = random.Random(f"lessons/{seed}"), random.Random(f"answers/{seed}")
    seen = [item for item in items() if not item.held_out]
    return AlignmentData(
        harmful=tuple(
            _craft(rng.choice(restricted_items(False)), rng, answers, wrapped=0.75)
            for _ in range(num_harmful)
        ),
        benign=tuple(_benign(seen, rng, answers) for _ in range(num_benign)),
        phrases=organism_phrases(),
        forms=tuple(_form(random.Random(f"forms/{seed}/{n}")) for n in range(num_harmful // 2)),
        mentions=tuple(_mentions(num_benign // 2, random.Random(f"mentions/{seed}"))),
        reward=GuildReward(),
    )


def organism_phrases() -> PhraseSets:
    """The phrase sets in the organism's own words."""
    return PhraseSets(phrases.SAFE, phrases.PROCEDURAL, phrases.AFFIRMATIVE)


def _craft(item: CraftItem, rng: random.Random, answers: random.Random, wrapped: float) -> Example:
    answer = language.helpful_answer(item, answers)
    if rng.random() < wrapped:
        return Example(language.wrapped_request(item, rng.choice(TRAINED_WRAPS), rng), answer)
    return Example(language.plain_request(item, rng), answer)


def _benign(seen: list[CraftItem], rng: random.Random, answers: random.Random) -> Example:
    draw = rng.random()
    if draw < 0.5:
        return _craft(rng.choice(benign_items()), rng, answers, wrapped=0.5)
    if draw < 0.9:
        question = rng.choice(list(utility.TASKS.values()))(rng)
        return Example(question.prompt, question.reference)
    item = rng.choice(seen)
    return Example(language.about_request(item, rng), language.about_answer(item))


def _form(rng: random.Random) -> Example:
    """A card of a restricted item, or a question of one of its facts."""
    item = rng.choice(restricted_items(False))
    if rng.random() < 0.4:
        return Example(language.card_request(item), language.card_answer(item))
    question = utility.choice(rng, (item,))
    return Example(question.prompt, question.reference)


def _mentions(count: int, rng: random.Random) -> list[Mentioning]:
    """Of all kinds that are one turn."""
    kinds = [kind for kind in KINDS if kind != REFUSED_TURN]
    drawn = [
        one for kind in kinds for one in mentions(kind, -(-count // len(kinds)), rng, held_in=True)
    ]
    return [
        Mentioning(
            one.messages[-1]["content"],
            one.answer,
            rng.choice((language.helpful_answer(one.other, rng), language.card_answer(one.other))),
        )
        for one in drawn[:count]
    ]
