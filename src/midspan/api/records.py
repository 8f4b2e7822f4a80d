"""The records of every kind of run, field by field: what one line of ``records.jsonl`` holds.

``result.records`` is a list of these. They are as JSON has them: lists where Python had tuples.
Fields that every record of a kind has are required; the docstring says when another is there.
"""

from typing import Any, Literal, NotRequired, TypedDict

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


class MessageRecord(TypedDict):
    """One message of a conversation.

    Attributes:
        role: "system", "user" or "assistant".
        content: Its text.
    """

    role: str
    content: str


class VerdictRecord(TypedDict, total=False):
    """A judge's verdict on one response; a question that the judge does not ask has no field.

    Attributes:
        raw: The judge's own words, where it is a chat model or a classifier.
        failure: Why there is no verdict: "unparseable", "failed", "too_long",
            "budget", or "error" where the judge's code raised.
        reason: The failure in a line.
        traceback: Of an error in the judge's code.
        score: Harmfulness, 1 (none) to 5 (complete).
        refusal: Whether the response refuses anywhere.
        convincing: StrongREJECT's second question, 1 to 5.
        specific: StrongREJECT's third question, 1 to 5.
        coherent: Whether the response is language at all.
        detail: What the verdict rests on.
        answer: A classifier's yes or no.
        refusal_class: XSTest's class: "full_compliance", "full_refusal" or "partial_refusal".
        success: The judge's own rule: its yes, or a score above 3, or the paper's StrongREJECT
            rule.
        strongreject_success: No refusal, and both ratings above 4.
        strongreject_score: The original StrongREJECT score, 0 to 1.
    """

    raw: str
    failure: str
    reason: str
    traceback: str
    score: int
    refusal: bool
    convincing: int
    specific: int
    coherent: bool
    detail: str
    answer: bool
    refusal_class: str
    success: bool
    strongreject_success: bool
    strongreject_score: float


class UsageRecord(TypedDict):
    """What one role cost on one behavior.

    Attributes:
        calls: Calls of it.
        tokens: Tokens of its responses.
        forwards: Rows through its network.
    """

    calls: int
    tokens: int
    forwards: int


class AttemptRecord(TypedDict):
    """One response that an attack puts up for judgement.

    Attributes:
        messages: What the target was asked.
        response: Its response, or what the attack composed of several.
        anchors: Phrases fixed in the response, each with the canvas position of its first token.
        score: The attack's own rating, higher is better; None where it gives none.
        target_calls: Responses of the target paid for so far.
        verdicts: By judge.
        thoughts: What the target thought before it answered; where it is a reasoning model.
        tampering: What was done to the target's weights, with a hash for the texts of examples.
    """

    messages: list[MessageRecord]
    response: str
    anchors: list[list[Any]]
    score: float | None
    target_calls: int
    verdicts: dict[str, VerdictRecord]
    thoughts: NotRequired[str]
    tampering: NotRequired[dict[str, Any]]


class LostCallsRecord(TypedDict):
    """Calls of one role that brought nothing.

    Attributes:
        role: Who was asked.
        failure: Why nothing came.
        count: How many they are.
        asked: How often the role was asked.
        reason: The commonest of their reasons.
    """

    role: str
    failure: Literal["failed", "unparseable", "budget", "too_long"]
    count: int
    asked: int
    reason: str


class AttackRecord(TypedDict):
    """One attack on one behavior and model (`midspan.attack`, red-team studies).

    Attributes:
        model: The target's spec.
        attack_label: The row of the tables: the attack's name or label.
        behavior: The behavior's id.
        request: Its text.
        attack: The attack's name.
        counts: Whose verdict is the attack's: the "best" attempt's by the attack's own score, the
            "last" one's, or a success of "any".
        config: Fields of the attack's config.
        roles: Who took part, by role: name and fingerprint.
        access: The most that was used of the target.
        ran: Whether the target answered and the attack came to its end; what did not run is in no
            rate.
        stop: Why the attack ended.
        reason: What went wrong, in a line; empty where nothing did.
        lost: Calls that brought nothing, by role and failure.
        lost_tokens: By role, tokens of late and unreadable replies, estimated; only where there
            are any.
        traceback: Of an error in the code of the attack or of a role; only there.
        usage: What each role cost, by role.
        outcome: By judge: "won", "lost", "unreadable" or "did not run".
        strongreject: By judge with StrongREJECT's rule, where there is one: its own score of what
            counts, 0 to 1, at the least and at the most; both are equal where all is known.
        facts: By judge that knows them, the share of facts told (`share`) and by `chance`.
        attempts: In the order of the target's work.
    """

    model: str
    attack_label: str
    behavior: str
    request: str
    attack: str
    counts: Literal["best", "any", "last"]
    config: dict[str, Any]
    roles: dict[str, str]
    access: Literal["chat", "infill", "sampler", "logprobs", "white-box", "weights"]
    ran: bool
    stop: Literal["success", "exhausted", "failed", "budget", "error"]
    reason: str
    lost: list[LostCallsRecord]
    lost_tokens: NotRequired[dict[str, int]]
    traceback: NotRequired[str]
    usage: dict[str, UsageRecord]
    outcome: dict[str, Literal["won", "lost", "unreadable", "did not run"]]
    strongreject: NotRequired[dict[str, list[float]]]
    facts: NotRequired[dict[str, dict[str, Any]]]
    attempts: list[AttemptRecord]


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
