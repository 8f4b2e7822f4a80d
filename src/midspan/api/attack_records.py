"""The records of attacks, field by field; `midspan.records` has them too."""

from typing import Any, Literal, NotRequired, TypedDict


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
        facts_stated, facts_asked, facts_elsewhere: Of judges that count facts; see `Verdict`.
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
    facts_stated: int
    facts_asked: int
    facts_elsewhere: list[int]


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
        rejected_by: The target's monitor that rejected the request; where one did.
        scaffold: The text with holes that the target filled; where there was one.
        rules: What changed its decoding; where anything did, as with what follows.
        decoding: Fields of the target's decoding that the call changed.
        parts: What the response was put together of.
        guessed: How many parts would be right by guessing, on the mean.
        tampering: What was done to the target's weights, with a hash for the texts of examples.
    """

    messages: list[MessageRecord]
    response: str
    anchors: list[list[Any]]
    score: float | None
    target_calls: int
    verdicts: dict[str, VerdictRecord]
    thoughts: NotRequired[str]
    rejected_by: NotRequired[str]
    scaffold: NotRequired[dict[str, Any]]
    rules: NotRequired[list[dict[str, Any]]]
    decoding: NotRequired[dict[str, Any]]
    parts: NotRequired[list[dict[str, Any]]]
    guessed: NotRequired[float]
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
