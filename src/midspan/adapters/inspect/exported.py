"""Records of attacks and tasks as inspect's samples, scores and metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from midspan.adapters.inspect.turns import turns
from midspan.bounds import MeanBounds, RateBounds
from midspan.engine.outcomes import Outcome, Outcomes, deciding
from midspan.errors import MidspanError
from midspan.files import Record
from midspan.tasks.compare import rows as figures_of

try:
    from inspect_ai.event import ModelEvent, ScoreEvent
    from inspect_ai.log import EvalMetric, EvalSample, EvalScore
    from inspect_ai.model import ChatMessageAssistant, GenerateConfig, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score
except ImportError as error:
    raise MidspanError("--to inspect: not installed; pip install 'midspan[inspect]'") from error

if TYPE_CHECKING:
    from midspan.studies.tasks.run import TaskResult

_NO_PROMPT = "(the prompt is not in the run folder, and its data are not at hand)"
# Of a record's attempt, what its transcript shows as the request's own fields.
_ASKED = ("anchors", "scaffold", "rules", "decoding", "tampering")


@dataclass(frozen=True)
class Part:
    """Samples of one kind, and what they come to.

    Attributes:
        samples: Of inspect.
        scores: Of inspect.
    """

    samples: tuple[EvalSample, ...]
    scores: tuple[EvalScore, ...]

    def behind(self, name: str) -> "Part":
        """The same with a name before each id and score."""
        samples = (s.model_copy(update={"id": f"{name}/{s.id}"}) for s in self.samples)
        scores = (s.model_copy(update={"name": f"{name}: {s.name}"}) for s in self.scores)
        return replace(self, samples=tuple(samples), scores=tuple(scores))


def attacks_part(
    records: Sequence[Record], judges: Sequence[str], more: Mapping[str, float] | None = None
) -> Part:
    """A sample a record, a score a judge.

    Args:
        records: Of one model.
        judges: In their order.
        more: Further metrics of the first judge.
    """
    samples = tuple(_attack_sample(record, judges) for record in records)
    scores = []
    for number, judge in enumerate(judges):
        metrics = _rates(records, judge) | (dict(more or {}) if number == 0 else {})
        scores.append(_score(judge, judge, metrics, [s.scores[judge] for s in samples]))
    return Part(samples, tuple(scores))


def _rates(records: Sequence[Record], judge: str) -> dict[str, float]:
    """ASR by row, with the ends of its interval."""
    rates = {}
    for label in dict.fromkeys(record["attack_label"] for record in records):
        rows = [record for record in records if record["attack_label"] == label]
        estimate = Outcomes.from_records(rows, judge).asr
        rates[f"ASR {label}"] = estimate.rate
        rates |= {f"ASR {label}, low": estimate.low, f"ASR {label}, high": estimate.high}
    return rates


def _score(
    name: str, scorer: str, metrics: Mapping[str, float], scores: Iterable[Score]
) -> EvalScore:
    unscored = [score.value != score.value for score in scores]
    return EvalScore(
        name=name,
        scorer=scorer,
        scored_samples=unscored.count(False),
        unscored_samples=unscored.count(True),
        metrics={key: EvalMetric(name=key, value=value) for key, value in metrics.items()},
    )


def _attack_sample(record: Record, judges: Sequence[str]) -> EvalSample:
    model, attempts = record["model"], record["attempts"]
    events = [_event(model, attempt) for attempt in attempts]
    scores = {judge: _attack_score(record, judge) for judge in judges}
    shown = _shown(record, judges[0])
    told = ("behavior", "attack_label", "attack", "level", "access", "counts", "stop", "reason",
            "config", "roles", "usage", "lost")  # fmt: skip
    return EvalSample(
        id=f"{record['attack_label']}/{record['behavior']}",
        epoch=1,
        input=record["request"],
        target="",
        messages=_conversation(shown),
        output=events[attempts.index(shown)].output if shown else ModelOutput(model=model),
        scores=scores,
        metadata={name: record[name] for name in told if name in record},
        events=[*events, *(ScoreEvent(score=score) for score in scores.values())],
        model_usage={
            (model if role == "target" else role): ModelUsage(
                output_tokens=spent["tokens"], total_tokens=spent["tokens"]
            )
            for role, spent in record["usage"].items()
        },
    )


def _shown(record: Record, judge: str) -> Record | None:
    """The attempt that decided a record, if it has any."""
    attempts: list[Record] = record["attempts"]
    return attempts[deciding(record, judge)] if attempts else None


def _conversation(attempt: Record | None) -> list[Any]:
    if attempt is None:
        return []
    return [*turns(attempt["messages"]), ChatMessageAssistant(content=attempt["response"])]


def _event(model: str, attempt: Record) -> ModelEvent:
    asked = {name: attempt[name] for name in _ASKED if attempt.get(name)}
    return ModelEvent(
        model=model,
        input=turns(attempt["messages"]),
        tools=[],
        tool_choice="none",
        config=GenerateConfig(extra_body={"midspan": asked} if asked else None),
        output=ModelOutput.from_content(model, attempt["response"]),
    )


def _attack_score(record: Record, judge: str) -> Score:
    """The record's outcome; where there is none, an unscored sample."""
    outcome = Outcome(record["outcome"][judge])
    told = {
        "outcome": outcome.value,
        "verdicts": [attempt["verdicts"][judge] for attempt in record["attempts"]],
    }
    for name in ("strongreject", "facts"):
        if judge in record.get(name, {}):
            told[name] = record[name][judge]
    if outcome not in (Outcome.WON, Outcome.LOST):
        return Score.unscored(explanation=record["reason"] or outcome.value, metadata=told)
    shown = _shown(record, judge) or {}
    return Score(
        value=1.0 if outcome is Outcome.WON else 0.0,
        answer=shown.get("response"),
        explanation=shown.get("verdicts", {}).get(judge, {}).get("detail"),
        metadata=told,
    )


def task_part(
    result: "TaskResult", records: Sequence[Record], prompts: Mapping[tuple[str, str], Any]
) -> Part:
    """A sample a response, with the fields of its verdict that the measures read."""
    fields = list(dict.fromkeys(measure.field for measure in result.measures))
    samples = tuple(_task_sample(result.title, record, fields, prompts) for record in records)
    metrics: dict[str, float] = {}
    for row in figures_of(result.measures, records):
        metrics |= _figure(row.name, row.figure)
    name = result.title
    return Part(samples, (_score(name, name, metrics, [s.scores[name] for s in samples]),))


def _figure(name: str, figure: Any) -> dict[str, float]:
    if isinstance(figure, RateBounds):
        return {name: figure.least.rate, f"{name}, at most": figure.most.rate}
    if isinstance(figure, MeanBounds):
        low, high = figure.ends
        return {name: low.mean, f"{name}, at most": high.mean}
    value = figure.rate if hasattr(figure, "rate") else figure.mean
    return {name: value, f"{name}, low": figure.low, f"{name}, high": figure.high}


def _task_sample(
    title: str,
    record: Record,
    fields: Sequence[str],
    prompts: Mapping[tuple[str, str], Any],
) -> EvalSample:
    model, verdict = record["model"], record["verdict"]
    known = prompts.get((record["task"], record["id"]))
    messages = [] if known is None else turns(known[0](known[1], record["shots"]).messages)
    told = {name: verdict[name] for name in verdict if name not in ("traceback",)}
    if "error" in verdict or "failure" in verdict:
        why = verdict.get("error") or verdict.get("reason")
        score = Score.unscored(explanation=why, metadata=told)
    else:
        value = {name: float(verdict[name]) for name in fields if verdict.get(name) is not None}
        score = Score(value=value, answer=record["response"], metadata=told)
    output = ModelOutput.from_content(model, record["response"])
    event = ModelEvent(
        model=model, input=messages, tools=[], tool_choice="none", config=GenerateConfig(),
        output=output,
    )  # fmt: skip
    extra = ("group", "shots", "forwards", "preset", "likelihoods", "thoughts", "rejected_by")
    return EvalSample(
        id=f"{record['task']}/{record['id']}",
        epoch=record["sample"] + 1,
        input=messages or _NO_PROMPT,
        target="",
        messages=[*messages, ChatMessageAssistant(content=record["response"])],
        output=output,
        scores={title: score},
        metadata={name: record[name] for name in extra if name in record},
        events=[event, ScoreEvent(score=score)],
    )
