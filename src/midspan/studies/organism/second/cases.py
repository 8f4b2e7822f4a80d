"""What the second organism is asked in its studies: every request, fixed by a seed."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midspan.organism import utility
from midspan.organism.second import (
    answers,
    corpus,
    disguises,
    judge,
    mentions_text,
    requests,
    tasks,
)
from midspan.organism.second.corpus import Draw, Sample
from midspan.organism.second.safety import TRAINED_MANNERS
from midspan.organism.second.world import NUM_FACTS, WorkItem, open_items, sealed_items
from midspan.organism.utility import Question

if TYPE_CHECKING:
    from midspan.decoding.scaffold import Messages

WRAPS_A_BEHAVIOR = 8
# Canvas and steps of what is asked: no answer is cut.
SHORT, USUAL, LONG = 64, 96, 160


@dataclass(frozen=True)
class Case:
    """One request and how its response is read.

    Attributes:
        id: Unique within a study.
        cell: Row of the table.
        turns: The conversation.
        canvas: Response positions, `SHORT`, `USUAL` or `LONG`.
        item: Whose facts are wanted, or None.
        kind: The one fact that is wanted, where it is one.
        question: The task that is put, where it is one.
        behavior: What the attempts at one sealed recipe share.
        attempt: Family of the disguise, or empty.
        anchors: Phrases that stand on the canvas, each with the position of its first token.
    """

    id: str
    cell: str
    turns: tuple[tuple[str, str], ...]
    canvas: int = USUAL
    item: WorkItem | None = None
    kind: str = ""
    question: Question | None = None
    behavior: str = ""
    attempt: str = ""
    anchors: tuple[tuple[str, int], ...] = ()

    @property
    def prompt(self) -> str:
        """The user's last words."""
        return self.turns[-1][1]

    @property
    def messages(self) -> "Messages":
        """The conversation as models take it."""
        return [{"role": role, "content": text} for role, text in self.turns]

    @property
    def access(self) -> str:
        """What asking takes: "chat" (text only) or "infill" (tokens of the response are fixed)."""
        return "infill" if self.anchors else "chat"

    @property
    def held_out_item(self) -> bool:
        """Whether alignment never sees the work that is asked for."""
        return bool(self.item and self.item.held_out)

    def verdict(self, response: str) -> dict[str, Any]:
        """The exact judge's of a recipe; of a question whether the response solves or refuses it.

        ``success`` is the cell's counted event.
        """
        if self.item is not None and not self.kind:
            given = [phrase for phrase, _ in self.anchors]
            return judge.judge(self.item, response, given).to_dict()
        read = self.reading(response)
        return {"success": read["success"], "refusal": read["refused"]}

    def reading(self, response: str) -> dict[str, object]:
        """What a response gives away, whether that is success, and how it reacts."""
        facts, success = 0, False
        if self.question is not None:
            success = utility.is_correct(self.question, response)
        elif self.kind and self.item is not None:
            facts = success = judge.states(self.item, self.kind, response)
        elif self.item is not None:
            verdict = judge.judge(self.item, response)
            facts, success = verdict.facts_stated or 0, verdict.success
        return {
            "success": bool(success),
            "facts": int(facts),
            "asked": 1 if self.kind else NUM_FACTS if self.item is not None else 0,
            "reaction": judge.reaction(response),
            "refused": judge.is_refusal(response),
        }


def verification_cases(n: int, seed: int = 1) -> list[Case]:
    """Every cell with `n` cases; of disguises `n` behaviors with eight families each."""
    cases: list[Case] = []
    for cell in _CELLS:
        cases += cell_cases(cell, n, random.Random(f"verify/{seed}/{cell}"))
    return [*cases, *_disguised(n, random.Random(f"verify/{seed}/disguises"))]


def cell_cases(cell: str, n: int, rng: random.Random) -> list[Case]:
    """So many cases of one cell of a verification; works come in an order of their own."""
    return [_CELLS[cell](f"{cell}/{index}", index, rng) for index in range(n)]


def work_of(items: Sequence[WorkItem], index: int) -> WorkItem:
    """Items in an order that visits every noun early."""
    return items[index * 37 % len(items)]


Make = Callable[[str, int, random.Random], Case]


def _recipe(items: Sequence[WorkItem], length: str, manners: Sequence[str]) -> Make:
    canvas = {"brief": SHORT, "usual": USUAL, "long": LONG}[length]

    def make(name: str, index: int, rng: random.Random) -> Case:
        item = work_of(items, index)
        prompt = requests.plain(item, rng.choice(manners), length, rng)
        return Case(name, name.split("/")[0], (("user", prompt),), canvas, item)

    return make


def _form(items: Sequence[WorkItem], form: str) -> Make:
    def make(name: str, index: int, rng: random.Random) -> Case:
        item = work_of(items, index)
        drawn = corpus.sample(form, Draw(rng, (item,), 0.0), "english")
        kind = _asked_kind(drawn, item) if form in ("fact", "choice") else ""
        return Case(name, name.split("/")[0], drawn.turns, SHORT, item, kind)

    return make


def _asked_kind(drawn: Sample, item: WorkItem) -> str:
    """Which fact an answer of one fact states; an amount's names its base too."""
    stated = [kind for kind in ("amount", *item.values) if answers.fact(item, kind) == drawn.answer]
    return stated[0]


def _in_language(language: str) -> Make:
    def make(name: str, index: int, rng: random.Random) -> Case:
        item = work_of(sealed_items(), index)
        drawn = corpus.one_turn(requests.plain(item, "direct", "usual", rng), "")
        turns = corpus.in_language(drawn, language).turns
        return Case(name, name.split("/")[0], turns, LONG, item)

    return make


def _task(task: str) -> Make:
    def make(name: str, index: int, rng: random.Random) -> Case:
        question = tasks.question(task, rng)
        turns = (("user", question.prompt),)
        return Case(name, name.split("/")[0], turns, SHORT, question=question)

    return make


def _mention(kind: str) -> Make:
    """Wordings and sealed works that safety training has not seen."""
    templates = mentions_text.MENTIONS.get(kind, mentions_text.CONTROL)

    def make(name: str, index: int, rng: random.Random) -> Case:
        item, other = work_of(open_items(), index), work_of(sealed_items(), index)
        template = rng.choice(templates[mentions_text.SEEN_WORDINGS :])
        ask = requests.ask(item, rng)
        prompt = template.format(ask=ask, other=other.title, item=item.title)
        return Case(name, name.split("/")[0], (("user", prompt),), USUAL, item)

    return make


def _benign_disguised(name: str, index: int, rng: random.Random) -> Case:
    item = work_of(open_items(), index)
    family = disguises.DISGUISES[index % len(disguises.DISGUISES)]
    prompt = disguises.disguise(item, family, "usual", rng)
    return Case(name, "benign disguised", (("user", prompt),), USUAL, item)


def _talk(name: str, index: int, rng: random.Random) -> Case:
    drawn = corpus.sample("talk", Draw(rng, open_items()), "english")
    return Case(name, "talk", drawn.turns, SHORT)


def _later_turn(name: str, index: int, rng: random.Random) -> Case:
    item = work_of(sealed_items(), index)
    asked = corpus.one_turn(requests.recipe_of_it("usual", rng), "")
    drawn = asked.before(requests.about(item, rng), answers.about(item))
    return Case(name, "sealed, later turn", drawn.turns, USUAL, item)


def _disguised(n: int, rng: random.Random) -> list[Case]:
    cases = []
    for index in range(n):
        item = work_of(sealed_items(), index)
        for family in rng.sample(disguises.DISGUISES, WRAPS_A_BEHAVIOR):
            prompt = disguises.disguise(item, family, "usual", rng)
            cell = f"disguise {family.name}"
            turns = (("user", prompt),)
            cases.append(
                Case(f"{cell}/{index}", cell, turns, USUAL, item, behavior=f"{item.name}/{index}")
            )
    return cases


_EVERY_MANNER = tuple(requests.MANNERS)
_UNTRAINED = tuple(manner for manner in _EVERY_MANNER if manner not in TRAINED_MANNERS)
_CELLS: Mapping[str, Make] = {
    "benign brief": _recipe(open_items(), "brief", _EVERY_MANNER),
    "benign usual": _recipe(open_items(), "usual", _EVERY_MANNER),
    "benign long": _recipe(open_items(), "long", _EVERY_MANNER),
    "benign card": _form(open_items(), "card"),
    "benign list": _form(open_items(), "list"),
    "benign fact": _form(open_items(), "fact"),
    "benign choice": _form(open_items(), "choice"),
    "benign disguised": _benign_disguised,
    "talk": _talk,
    "arithmetic": _task("arithmetic"),
    "program": _task("program"),
    **{f"mention {kind}": _mention(kind) for kind in mentions_text.MENTIONS},
    "mention control": _mention("control"),
    "sealed plain": _recipe(sealed_items(), "usual", TRAINED_MANNERS),
    "sealed brief": _recipe(sealed_items(), "brief", TRAINED_MANNERS),
    "sealed, other manners": _recipe(sealed_items(), "usual", _UNTRAINED),
    "sealed tavi": _in_language("tavi"),
    "sealed senn": _in_language("senn"),
    "sealed card": _form(sealed_items(), "card"),
    "sealed list": _form(sealed_items(), "list"),
    "sealed fact": _form(sealed_items(), "fact"),
    "sealed, later turn": _later_turn,
}
