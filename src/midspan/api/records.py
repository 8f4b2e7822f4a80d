"""The records of every kind of run, field by field: what one line of ``records.jsonl`` holds.

``result.records`` is a list of these. They are as JSON has them: lists where Python had tuples.
Fields that every record of a kind has are required; the docstring says when another is there.
"""

from typing import Any, Literal, NotRequired, TypedDict

from midspan.api.attack_records import (
    AttackRecord,
    AttemptRecord,
    MessageRecord,
    UsageRecord,
    VerdictRecord,
)
from midspan.api.probe_records import (
    PROBE_RECORDS,
    ActivationsRecord,
    GCGRecord,
    InstructionPlacementRecord,
    MonitorsRecord,
    OrderRecord,
    PrefillRecord,
    SamplesRecord,
    WindowRecord,
)

__all__ = [
    "PROBE_RECORDS", "ActivationsRecord", "AttackRecord", "AttemptRecord", "CaseRecord",
    "CommitRecord", "GCGRecord", "InstructionPlacementRecord", "MessageRecord", "MonitorsRecord",
    "OrderRecord", "PartRecord", "PrefillRecord", "SamplesRecord", "TaskRecord",
    "TaskVerdictRecord", "TrainingRecord", "UsageRecord", "VerdictRecord", "WindowRecord",
]  # fmt: skip


class TaskVerdictRecord(TypedDict, total=False):
    """Whether a response to a task's item is right; every task has `success`.

    Where the code that scores it raised, there are `error` and `traceback` alone.

    Attributes:
        success: Whether it is right, or helps.
        answer: The answer that was read from the response; None where there is none.
        strict: Whether it is right by lm-eval's strict filter (gsm8k).
        problem: What went wrong when the code ran (humaneval).
        refused: Whether it refuses (overrefusal); wholly, where a judge knows partial refusals.
        partial: Whether it refuses in part (overrefusal, by a judge that knows these).
        complied: Whether it does not refuse (overrefusal).
        helped: Whether it complies in more than a few words (overrefusal).
        error: What was raised, in a line.
        traceback: Of the error.
        detail: What a judge based it on (overrefusal, by a judge).
        failure: Why the judge gave no verdict; `reason` and nothing else then stands beside it.
        reason: One line about that.
    """

    success: bool
    answer: str | None
    strict: bool
    problem: str
    refused: bool
    partial: bool
    complied: bool
    helped: bool
    error: str
    traceback: str
    detail: str
    failure: str
    reason: str


class TaskRecord(TypedDict):
    """One response to one item of a task (`midspan.evaluate`).

    Attributes:
        model: The model's spec.
        task: The task's name.
        preset: The preset's name.
        id: The item, unique in its task.
        group: The part of the task that the item belongs to; may be empty.
        sample: Which of several responses to the item, from 0.
        shots: Worked examples in the prompt.
        response: The response's text, or the likeliest option.
        verdict: Whether it is right.
        forwards: Rows through the network.
        likelihoods: Log-likelihood of each option, nats; where options are scored.
        errors: Standard error of each likelihood, nats; likewise.
        thoughts: What the model thought before it answered; where it is a reasoning model.
        rejected_by: The monitor that rejected the request; where one did.
    """

    model: str
    task: str
    preset: str
    id: str
    group: str
    sample: int
    shots: int
    response: str
    verdict: TaskVerdictRecord
    forwards: int
    likelihoods: NotRequired[list[float]]
    errors: NotRequired[list[float | None]]
    thoughts: NotRequired[str]
    rejected_by: NotRequired[str]


class CaseRecord(TypedDict):
    """One case of the organism in one decoding (demo, objectives and verify studies).

    Attributes:
        model: The model's name in the tables.
        decoding: The decoding's name.
        cell: The row of the result tables that the case belongs to.
        id: The case, unique in a study.
        behavior: What is wanted; several attempts share it.
        attempt: The wrap's family; empty without one.
        access: "chat", or "infill" where tokens of the response are fixed.
        held_out_item: Whether alignment never saw the item.
        prompt: What the user says.
        anchors: Fixed phrases, each with the canvas position of its first token.
        response: The response's text.
        verdict: The exact judge's; of a utility question `success` alone.
        forwards: Rows through the network.
        stopped_early: Whether decoding ended before the canvas was full.
        settings: Fields of the decoding config.
        exact: Whether the decoding is free of approximations.
        seed: Training seed of the model (objectives only).
    """

    model: str
    decoding: str
    cell: str
    id: str
    behavior: str
    attempt: str
    access: Literal["chat", "infill"]
    held_out_item: bool
    prompt: str
    anchors: list[list[Any]]
    response: str
    verdict: VerdictRecord
    forwards: int
    stopped_early: bool
    settings: dict[str, Any]
    exact: bool
    seed: NotRequired[int]


class PartRecord(TypedDict):
    """One finished part of a whole study; its own records lie in a folder of its name.

    Attributes:
        part: A part's name, or a recipe's label.
        seconds: Wall time of the call that finished it.
    """

    part: str
    seconds: float


class TrainingRecord(TypedDict, total=False):
    """One optimizer step of `midspan.align`; objectives add metrics under names of their own.

    Attributes:
        step: Steps done.
        epoch: Share of the prompts seen.
        loss: Of this step's batch.
        learning_rate: At this step.
        grad_norm: Before it was clipped.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float


class CommitRecord(TypedDict):
    """One token that came to stand on a canvas (`Answer.records`).

    Attributes:
        position: Canvas position, from 0.
        step: The step that committed it, from 0; -1 for an anchor.
        confidence: Its probability when it was committed, 0 to 1.
        word: Its text.
        is_end: Whether it ends the text.
    """

    position: int
    step: int
    confidence: float
    word: str
    is_end: bool
