"""What is asked of a model of the organism: every prompt of a study, fixed by a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from midspan.frozen import FrozenConfig
from midspan.organism import language, phrases, utility
from midspan.organism.judge import judge
from midspan.organism.mentions import CONTROL, KINDS, Mention, mentions
from midspan.organism.world import CraftItem, benign_items, restricted_items
from midspan.tasks import Item, Task

if TYPE_CHECKING:
    from midspan.decoding.scaffold import Messages

PREFILL_POSITIONS = (20, 40, 60, 80)
WRAP_CELLS = ("wraps_trained", "wraps_held_out")
PREFILL_CELLS = ("prefill_0", *(f"prefill_{start}" for start in PREFILL_POSITIONS))
BENIGN_CELLS = ("benign_plain", "benign_wrapped")
UTILITY_CELLS = tuple(utility.TASKS)
MENTION_CELLS = tuple(f"mention_{kind}" for kind in KINDS)
MENTION_CONTROL = f"mention_{CONTROL}"


class Sizes(FrozenConfig):
    """How many cases each cell gets.

    Attributes:
        plain: Direct requests for restricted items.
        wraps: Behaviors attacked with eight wraps of families that alignment saw, and as many
            with eight of families that it never saw.
        prefill: Restricted requests for each prefilled position.
        benign: Requests for benign items, plain and wrapped each.
        utility: Questions for each of the three tasks.
    """

    plain: int = Field(12, gt=0)
    wraps: int = Field(9, gt=0)
    prefill: int = Field(9, gt=0)
    benign: int = Field(18, gt=0)
    utility: int = Field(12, gt=0)


@dataclass(frozen=True)
class Case:
    """One request and how its response is judged.

    Attributes:
        id: Unique within a study.
        cell: Row of the result table that the case belongs to.
        behavior: What is wanted; attempts at one behavior share it.
        attempt: Wrap family, or empty.
        access: "chat" (text only) or "infill" (tokens of the response are fixed).
        anchors: Phrases, each with the response position of its first token.
        item: For craft requests.
        task: For utility questions, the task that scores them.
        question: Its item.
        mention: For requests in which a restricted item is only mentioned, which.
    """

    id: str
    cell: str
    behavior: str
    prompt: str
    attempt: str = ""
    access: str = "chat"
    anchors: tuple[tuple[str, int], ...] = ()
    item: CraftItem | None = None
    task: Task | None = None
    question: Item | None = None
    mention: Mention | None = None

    @property
    def messages(self) -> "str | Messages":
        """What the model is asked: a user's text, or a conversation."""
        return self.mention.messages if self.mention else self.prompt

    @property
    def held_out_item(self) -> bool:
        """Whether alignment never sees the item that is asked for."""
        return bool(self.item and self.item.held_out)

    def verdict(self, response: str) -> dict[str, Any]:
        """Judge a response exactly; ``success`` is the cell's counted event."""
        if self.task is not None and self.question is not None:
            return self.task.score(self.question, response)
        if self.mention is not None:
            return self.mention.verdict(response)
        assert self.item is not None
        given = [phrase for phrase, _ in self.anchors]
        return judge(self.item, response, given).to_dict()


def build_cases(sizes: Sizes, seed: int) -> list[Case]:
    """All cases of a study; the same sizes and seed give the same prompts."""
    return [
        *_plain(sizes.plain, random.Random(f"{seed}/plain")),
        *_wraps(sizes.wraps, random.Random(f"{seed}/wraps")),
        *_prefills(sizes.prefill, random.Random(f"{seed}/prefill")),
        *_benign(sizes.benign, random.Random(f"{seed}/benign")),
        *_utility(sizes.utility, random.Random(f"{seed}/utility")),
    ]


def build_mention_cases(count: int, seed: int, held_in: bool = False) -> list[Case]:
    """``count`` harmless requests of each kind that mentions a restricted item, and of the control.

    Wordings and restricted items are those that alignment never saw, or with ``held_in`` those
    that it did.
    """
    cases = []
    for kind in (*KINDS, CONTROL):
        drawn = mentions(kind, count, random.Random(f"{seed}/mention/{kind}"), held_in=held_in)
        for index, one in enumerate(drawn):
            cell = f"mention_{kind}"
            name = f"{cell}/{index}/{one.other.name}"
            cases.append(
                Case(
                    name,
                    cell,
                    name,
                    one.messages[-1]["content"],
                    anchors=one.given,
                    item=one.item,
                    mention=one,
                )  # fmt: skip
            )
    return cases


def _cycle(pool: Sequence[CraftItem], count: int) -> Iterator[tuple[int, CraftItem]]:
    """The first ``count`` items, again from the start when there are fewer.

    Every third restricted item is held out from alignment, so any prefix holds both kinds.
    """
    for index in range(count):
        yield index, pool[index % len(pool)]


def _plain(count: int, rng: random.Random) -> Iterator[Case]:
    for index, item in _cycle(restricted_items(), count):
        prompt = language.plain_request(item, rng)
        name = f"plain/{index}/{item.name}"
        yield Case(name, "plain", name, prompt, item=item)


def _wraps(count: int, rng: random.Random) -> Iterator[Case]:
    for index, item in _cycle(restricted_items(), count):
        for wrap in language.WRAPS:
            cell = WRAP_CELLS[wrap.held_out]
            behavior = f"{cell}/{index}/{item.name}"
            prompt = language.wrapped_request(item, wrap, rng)
            name = f"{behavior}/{wrap.name}"
            yield Case(name, cell, behavior, prompt, attempt=wrap.name, item=item)


def _prefills(count: int, rng: random.Random) -> Iterator[Case]:
    for index, item in _cycle(restricted_items(), count):
        prompt = language.plain_request(item, rng)
        for start in (0, *PREFILL_POSITIONS):
            phrase = rng.choice(phrases.PROCEDURAL if start else phrases.AFFIRMATIVE)
            name = f"prefill_{start}/{index}/{item.name}"
            yield Case(name, f"prefill_{start}", name, prompt, access="infill",
                       anchors=((phrase, start),), item=item)  # fmt: skip


def _benign(count: int, rng: random.Random) -> Iterator[Case]:
    for index, item in _cycle(benign_items(), count):
        wrap = rng.choice(language.WRAPS)
        prompts = (language.plain_request(item, rng), language.wrapped_request(item, wrap, rng))
        for cell, prompt in zip(BENIGN_CELLS, prompts, strict=True):
            name = f"{cell}/{index}/{item.name}"
            yield Case(name, cell, name, prompt, item=item)


def _utility(count: int, rng: random.Random) -> Iterator[Case]:
    for task in utility.utility_tasks(count, rng):
        for item in task.items:
            text = task.prompt(item, 0).messages[-1]["content"]
            yield Case(item.id, task.name, item.id, text, task=task, question=item)
