"""What every probe is given: a model to run on, requests, phrases and a judge. It owns none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError, error_fields
from midspan.files import Record
from midspan.frozen import FrozenConfig
from midspan.journal.generation import generate
from midspan.journal.journal import Journal
from midspan.statistics import Estimate, Interval, mean_interval, wilson

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.engine.calls import Reply
    from midspan.engine.roles import Role
    from midspan.engine.scheduler import SchedulerProgress
    from midspan.models import DiffusionLM


class ProbeConfig(FrozenConfig):
    """The settings of a probe. Frozen."""


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
    """

    generations: int
    forwards: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class ProbeCase:
    """A request to be answered, with tokens fixed in the response, and its place in the tables."""

    request: ProbeRequest
    anchors: Mapping[int, int] = field(default_factory=dict)
    labels: Record = field(default_factory=dict)


@contextmanager
def _silent(name: str, total: int) -> Iterator[Any]:
    yield _Counter()


class _Counter:
    def advance(self, count: int = 1) -> None:
        """Nobody watches."""


@dataclass(frozen=True)
class ProbeContext:
    """The model that a probe measures, and how it is run.

    Attributes:
        lm: The model.
        model: Its name in the tables.
        decodings: How it decodes, by name.
        journal: What was generated before.
        batch_size: Rows that go through the model together.
        stage: Announces a counted stage of work.
        fail_fast: Raise an error in the judge's code; by default it stands in the record.
    """

    lm: "DiffusionLM"
    model: str
    decodings: "Mapping[str, DecodingConfig]"
    journal: Journal
    batch_size: int = 32
    stage: Callable[[str, int], AbstractContextManager[Any]] = _silent
    fail_fast: bool = False

    def __post_init__(self) -> None:
        """Refuse rules that a probe would pass by.

        Raises:
            MidspanError: A rule acts on prompts, which a probe sends as they are.
        """
        for name, decoding in self.decodings.items():
            for rule in decoding.rules:
                if rule.rewrites_prompts or rule.screens_prompts:
                    raise MidspanError(
                        f"{name}.rules: {rule.rule} acts on prompts, and a probe sends its own as "
                        "they are; leave it out"
                    )

    def encode(self, prompt: str, anchors: Mapping[int, int] | None = None) -> "Request":
        """A user's message as a request to the model, with tokens fixed in the response."""
        from midspan.decoding import Request

        return Request(tuple(self.lm.encode_chat(prompt)), anchors or {})

    def generate(
        self, requests: "Sequence[Request]", decoding: "DecodingConfig"
    ) -> "list[Generation]":
        """Responses, from the journal where it has them."""
        with self.stage(f"{self.model}: generating", len(requests)) as stage:
            return generate(
                self.lm,
                requests,
                decoding,
                self.journal,
                batch_size=self.batch_size,
                on_batch=stage.advance,
            )

    def answer(self, cases: Sequence[ProbeCase], data: ProbeData) -> list[dict[str, Any]]:
        """Every case in every decoding, judged; one record each."""
        requests = [self.encode(case.request.prompt, case.anchors) for case in cases]
        records = []
        for name, decoding in self.decodings.items():
            generations = self.generate(requests, decoding)
            asked = [(c.request, g.text) for c, g in zip(cases, generations, strict=True)]
            outcomes = self.judged(data, asked)
            records += [
                {
                    **self.labels(name, case.request),
                    **case.labels,
                    **generation.said,
                    **outcome,
                    "forwards": generation.forwards,
                }
                for case, generation, outcome in zip(cases, generations, outcomes, strict=True)
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
            told = 0

            def tell(progress: "SchedulerProgress") -> None:
                nonlocal told
                stage.advance(progress.replies - told)
                told = progress.replies

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
            "settings": self.decodings[decoding].model_dump(mode="json"),
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
