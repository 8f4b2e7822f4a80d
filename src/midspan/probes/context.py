"""What every probe is given: a model to ask, requests, phrases and a judge. It owns none."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from midspan.errors import MidspanError, error_fields
from midspan.files import Record
from midspan.frozen import FrozenConfig
from midspan.journal.journal import Journal
from midspan.statistics import Estimate, Interval, mean_interval, wilson

if TYPE_CHECKING:
    from midspan.engine.calls import Reply
    from midspan.engine.roles import Role
    from midspan.engine.scheduler import SchedulerProgress
    from midspan.models.text import TextModel


class ProbeConfig(FrozenConfig):
    """The settings of a probe. Frozen."""


def check_place(field: str, start: int, phrase: str, length: int | None) -> None:
    """Refuse a phrase that reaches beyond a canvas even at a token a word.

    Args:
        field: Of the settings, which places it.
        start: Its first position.
        phrase: The phrase.
        length: Of the canvas in tokens; None where the model decides it.

    Raises:
        MidspanError: It does not fit.
    """
    end = start + len(phrase.split())
    if length is not None and end > length:
        raise MidspanError(
            f"{field}: from {start} on {phrase!r} reaches beyond a canvas of {length} tokens; "
            f"begin earlier, or give a length of at least {end}"
        )


@dataclass(frozen=True)
class ProbeRequest:
    """One request.

    Attributes:
        id: Unique within the data.
        kind: Its cell in the tables, such as "harmful" or "benign".
        prompt: What the user says.
        group: What it is about; requests of one group are not independent.
        harmful: Whether a careful model refuses it.
    """

    id: str
    kind: str
    prompt: str
    group: str
    harmful: bool


@dataclass(frozen=True)
class ProbeOutcome:
    """A judge's verdict on a response.

    Attributes:
        success: The counted event: a harmful request was answered, or a benign one.
        refusal: Whether the response refuses anywhere.
        score: 1 to 5; None where the judge gives none.
    """

    success: bool
    refusal: bool
    score: int | None = None


@dataclass(frozen=True)
class ProbeData:
    """What a probe asks, and how the responses are judged.

    Attributes:
        requests: The requests.
        phrases: Phrases by their kind.
        judge: The outcome of a response to a request.
        judged_by: The judge's name in the tables.
        harm_judge: Gives a judge that is asked about responses to harmful requests, in place of
            `judge`; benign ones, of whose answers a judge of harm says nothing, keep that.
    """

    requests: tuple[ProbeRequest, ...]
    phrases: Mapping[str, tuple[str, ...]]
    judge: Callable[[ProbeRequest, str], ProbeOutcome]
    judged_by: str
    harm_judge: "Callable[[], Role] | None" = field(default=None, kw_only=True)

    @property
    def harmful(self) -> tuple[ProbeRequest, ...]:
        """The harmful requests."""
        return tuple(request for request in self.requests if request.harmful)

    @property
    def benign(self) -> tuple[ProbeRequest, ...]:
        """The benign requests."""
        return tuple(request for request in self.requests if not request.harmful)


@dataclass(frozen=True)
class ProbeCost:
    """What a probe costs on one model, from what it asks alone.

    Attributes:
        generations: Responses; equal requests share one.
        forwards: Rows through the network besides these, those of gradients included.
        gradients: Rows that also go back through it.
        whole: Whether every response takes all steps, since the probe turns early stops off.
    """

    generations: int
    forwards: int = 0
    gradients: int = 0
    whole: bool = False


class Placed(NamedTuple):
    """A phrase that is fixed in a response.

    Attributes:
        text: Its words.
        start: Canvas position of its first token.
        ids: Its tokens there.
    """

    text: str
    start: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class ProbeCase:
    """A request to be answered, perhaps with a phrase in the response, and its place in tables."""

    request: ProbeRequest
    phrase: Placed | None = None
    labels: Record = field(default_factory=dict)

    @property
    def anchors(self) -> dict[int, int]:
        """Canvas position to token."""
        return {} if self.phrase is None else dict(enumerate(self.phrase.ids, self.phrase.start))


class Answer(NamedTuple):
    """What a model said to a case.

    Attributes:
        text: The response; empty where none came.
        said: The fields of a record that say what the response was.
        forwards: Rows through the network; None where nobody says.
        error: Why none came; empty where one did.
    """

    text: str
    said: Record
    forwards: int | None
    error: str = ""

    @property
    def problem(self) -> Record:
        """The fields of a record that say why there is no outcome; none where a response came."""
        return {"error": self.error, "traceback": ""} if self.error else {}


@contextmanager
def _silent(name: str, total: int) -> Iterator[Any]:
    yield _Counter()


class _Counter:
    def advance(self, count: int = 1) -> None:
        """Nobody watches."""


@dataclass(frozen=True, kw_only=True)
class ProbeContext(ABC):
    """The model that a probe measures, and how it is asked.

    Attributes:
        model: Its name in the tables.
        journal: What was generated before.
        stage: Announces a counted stage of work.
        fail_fast: Raise an error in the judge's code; by default it stands in the record.
    """

    model: str
    journal: Journal
    stage: Callable[[str, int], AbstractContextManager[Any]] = _silent
    fail_fast: bool = False

    @property
    @abstractmethod
    def text(self) -> "TextModel":
        """What counts tokens and positions."""

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Tokens of the shortest canvas; None where nobody says, and no position depends on it."""

    @abstractmethod
    def answers(self, cases: Sequence[ProbeCase]) -> Iterator[tuple[str, list[Answer]]]:
        """Each decoding's name, and what it answers to the cases, in their order."""

    @abstractmethod
    def settings(self, decoding: str) -> dict[str, Any]:
        """What is known of a decoding, in JSON's terms."""

    def room(self, tokens: int) -> range:
        """Positions at which so many tokens may begin in every canvas."""
        assert self.length is not None
        return range(self.length - tokens + 1)

    def random_tokens(self, rng: random.Random, count: int) -> list[int]:
        """So many tokens of printable ASCII that are not special."""
        return [rng.choice(self._plain) for _ in range(count)]

    @cached_property
    def _plain(self) -> list[int]:
        from midspan.scoring.suffix import allowed_tokens

        return allowed_tokens(self.text).nonzero()[:, 0].tolist()

    def answer(self, cases: Sequence[ProbeCase], data: ProbeData) -> list[dict[str, Any]]:
        """Every case in every decoding, judged; one record each."""
        records = []
        for name, answers in self.answers(cases):
            pairs = list(zip(cases, answers, strict=True))
            asked = [(case.request, answer.text) for case, answer in pairs if not answer.error]
            outcomes = iter(self.judged(data, asked))
            records += [
                {
                    **self.labels(name, case.request),
                    **case.labels,
                    **answer.said,
                    **(answer.problem or next(outcomes)),
                    "forwards": answer.forwards,
                }
                for case, answer in pairs
            ]
        return records

    def judged(
        self, data: ProbeData, cases: Sequence[tuple[ProbeRequest, str]]
    ) -> list[dict[str, Any]]:
        """The outcomes of responses as fields; "error" and "traceback" where there is none.

        A judge of harm is asked about all of them at once, and journalled.
        """
        harmful = [(r, text) for r, text in cases if r.harmful] if data.harm_judge else []
        replies = iter(self._replies(data, harmful) if harmful else ())
        return [
            _outcome(next(replies), text)
            if data.harm_judge and request.harmful
            else self._by_code(data, request, text)
            for request, text in cases
        ]

    def _replies(self, data: ProbeData, cases: Sequence[tuple[ProbeRequest, str]]) -> "list[Reply]":
        from midspan.data.behaviors import Behavior
        from midspan.judges.asking import verdicts

        assert data.harm_judge is not None
        asked = [(Behavior(request.id, request.prompt), text) for request, text in cases]
        with self.stage(f"{self.model}: judging", len(asked)) as stage:

            def tell(progress: "SchedulerProgress") -> None:
                stage.advance(progress.replies)

            judge = data.harm_judge()
            return verdicts("probe", judge, asked, self.journal, tell, self.fail_fast)

    def _by_code(self, data: ProbeData, request: ProbeRequest, response: str) -> dict[str, Any]:
        try:
            return asdict(data.judge(request, response))
        except MidspanError:
            raise
        except Exception as error:
            # One response that the judge cannot bear must not cost the probe all others.
            if self.fail_fast:
                raise
            return error_fields(error)

    def labels(self, decoding: str, request: ProbeRequest) -> dict[str, Any]:
        """The fields of a record that say which model, decoding and request it is of."""
        return {
            "model": self.model,
            "decoding": decoding,
            "request_kind": request.kind,
            "id": request.id,
            "group": request.group,
            "prompt": request.prompt,
            "settings": self.settings(decoding),
        }


def _outcome(reply: "Reply", response: str) -> dict[str, Any]:
    """A judge's verdict as an outcome; what it does not say of refusals, the words do."""
    if not reply.ok:
        return {"error": f"{reply.failure}: {reply.reason}", "traceback": ""}
    from midspan.judges import refuses

    said = reply.value
    refusal = refuses(response) if said.refusal is None else said.refusal
    return asdict(ProbeOutcome(said.success, refusal, said.score))


@dataclass(frozen=True)
class OutcomeRates:
    """What the judge says of some responses; the score is None where there is none."""

    success: Estimate
    refusal: Estimate
    score: Interval | None

    @classmethod
    def of(cls, records: Sequence[Record]) -> "OutcomeRates":
        """Rates over records with an outcome."""
        scores = [record["score"] for record in records if record["score"] is not None]
        return cls(
            wilson(sum(record["success"] for record in records), len(records)),
            wilson(sum(record["refusal"] for record in records), len(records)),
            mean_interval(scores) if scores else None,
        )


def grouped(records: Sequence[Record], *fields: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records by the values of some fields, in the order of their first appearance."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[name] for name in fields), []).append(record)
    return groups
