"""What an attack may ask of a role, and what comes back. Knows neither models nor attacks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from midspan.data.behaviors import Behavior

if TYPE_CHECKING:
    from midspan.decoding.rule import Rule
    from midspan.engine.tampering import Tampering

Message = Mapping[str, str]
# "failed": the role did not answer. "unparseable": it did, never as asked. "budget": not asked,
# since the attack's budget is spent. "too_long": the prompt does not fit the model. "error": the
# code that asks, answers or reads raised.
Failure = Literal["failed", "unparseable", "budget", "too_long", "error"]
# Stands for the suffix in the messages of `GCGCandidates` and `SuffixLosses`.
SLOT = "\N{OBJECT REPLACEMENT CHARACTER}"


def system(text: str) -> Message:
    """A system turn."""
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    """A user turn."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An assistant turn."""
    return {"role": "assistant", "content": text}


class Anchor(NamedTuple):
    """A phrase fixed in the response, its first token at canvas position `start`."""

    text: str
    start: int = 0


class Scaffold(NamedTuple):
    """Text with holes for the model to fill, ``[4]`` for tokens and ``[3 words]`` for words.

    Attributes:
        text: The text.
        turn: Where it stands: at the beginning of the response, or behind the last message in the
            user's own turn, one token a forward and without blocks (DIJA).
        extend: In the user's turn, tokens of the response behind it.
    """

    text: str
    turn: Literal["response", "user"] = "response"
    extend: int = 0


@dataclass(frozen=True)
class Chat:
    """A completion of a conversation. Asked n times in one batch, it is sampled n times.

    Attributes:
        role: Who is asked: target, attacker, evaluator, translator, ...
        messages: The conversation so far.
        temperature: None takes the role's own setting, as with all that follow.
        top_p: Nucleus filter.
        max_tokens: Longest response. A diffusion model's canvas has this length, rounded up to
            whole blocks.
        anchors: Phrases fixed in the response (infill access; local diffusion models alone).
        extend: Instead of `max_tokens`: the canvas ends so many tokens after the last anchor or
            the scaffold.
        scaffold: Text with holes; the reply's text is what became of it (infill access).
        rules: What changes the decoding of this call (sampler access; local diffusion models
            alone), after the role's own rules.
        decoding: Fields of the role's decoding config that this call changes (sampler access), as
            pairs; `length` and `steps` as a fraction are multiples of the role's own.
        tampering: What is done to the role's weights for this call (weights access; local
            diffusion models alone).
        kind: What the request is for, such as "tap.improve", and the `fields` that its template
            was filled with: scripted roles answer by these instead of reading the messages.
        parse: Makes `Reply.value` of the text; it raises ValueError for a text not as asked, and
            the role is then asked anew with another seed, at most `retries` times, and at
            temperature 1 where it would say the same again; never where it would even then.
    """

    role: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    anchors: tuple[Anchor, ...] = ()
    extend: int | None = None
    scaffold: Scaffold | None = None
    rules: "tuple[Rule, ...]" = ()
    decoding: tuple[tuple[str, Any], ...] = ()
    tampering: "Tampering | None" = None
    kind: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    parse: Callable[[str], Any] | None = field(default=None, compare=False)
    retries: int = 2

    @property
    def needs_decoder(self) -> bool:
        """Whether it asks for more than a text for a text."""
        asked = (self.anchors, self.scaffold, self.rules, self.decoding, self.tampering)
        return any(asked) or self.extend is not None


@dataclass(frozen=True)
class Judge:
    """A verdict on a response to a behavior; `Reply.value` is a `midspan.judges.Verdict`."""

    behavior: Behavior
    response: str
    role: str = "judge"
    temperature: float | None = None
    retries: int = 2


@dataclass(frozen=True)
class Score:
    """How likely a phrase is in the response; `Reply.value` is a `Likelihood`.

    Attributes:
        messages: The conversation so far.
        phrase: What is scored.
        start: Canvas position of its first token.
        window: Instead of `start`: its best place with a start in [first, last], one-shot.
        mode: "oneshot" (all masked, one forward) or "chain" (each token given those before it).
        context: Phrases revealed elsewhere in the canvas.
        top_k: Also report the k likeliest tokens at each position of the phrase.
        phrase_tokens: Of the phrase so many tokens at most, from its start; None takes all.
        max_tokens: Length of the canvas; None takes the role's.
        role: Who is asked.
    """

    messages: tuple[Message, ...]
    phrase: str
    start: int = 0
    window: tuple[int, int] | None = None
    mode: Literal["oneshot", "chain"] = "oneshot"
    context: tuple[Anchor, ...] = ()
    top_k: int = 0
    max_tokens: int | None = None
    role: str = "target"
    phrase_tokens: int | None = None


class TokenScore(NamedTuple):
    """One token of a scored phrase: its log-probability in nats, and the k likeliest tokens."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Likelihood:
    """A phrase's log-probability at a place, token by token."""

    start: int
    tokens: tuple[TokenScore, ...]

    @property
    def logprob(self) -> float:
        """Of the whole phrase, in nats."""
        return sum(token.logprob for token in self.tokens)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood a token."""
        return -self.logprob / len(self.tokens)


@dataclass(frozen=True)
class Choices:
    """How likely candidates are in the holes of a scaffold in the response (logprobs access).

    One forward of a canvas in which all but the scaffold's words is masked. `Reply.value` has for
    each hole, in turn, a log-probability in nats of each of its candidates, in their order. That of
    a candidate of several tokens is the mean of its tokens', each read at its own place in the
    hole; what is longer than the hole is cut. Compare them with those of another request.

    Attributes:
        messages: The conversation so far.
        scaffold: The text with holes.
        candidates: Of each hole.
        max_tokens: Length of the canvas; None takes the role's.
        role: Who is asked.
    """

    messages: tuple[Message, ...]
    scaffold: str
    candidates: tuple[tuple[str, ...], ...]
    max_tokens: int | None = None
    role: str = "target"


@dataclass(frozen=True)
class GCGCandidates:
    """Candidates of a GCG step (white-box): suffixes with tokens replaced along the gradient.

    The loss is the cross-entropy of the phrase in one forward of a fully masked canvas. Positions
    and replacements are drawn at random among the `top_k` tokens of steepest descent at each
    position; candidates that do not tokenise back to themselves are dropped.
    `Reply.value` is a tuple of at most `count` different suffixes, as text.

    Attributes:
        messages: The conversation, with `SLOT` where the suffix stands.
        suffix: The present suffix.
        phrase: What the response is to hold.
        start: Canvas position of its first token.
        count: Candidates wanted.
        top_k: Replacements considered at each position.
        replace: Tokens replaced in each candidate.
        max_tokens: Length of the canvas; None takes the role's.
        role: Whose gradient: target or proxy.
        phrase_tokens: Of the phrase so many tokens at most, from its start; None takes all.
    """

    messages: tuple[Message, ...]
    suffix: str
    phrase: str
    start: int = 0
    count: int = 512
    top_k: int = 256
    replace: int = 1
    max_tokens: int | None = None
    role: str = "target"
    phrase_tokens: int | None = None


@dataclass(frozen=True)
class SuffixLosses:
    """The same loss of many suffixes (white-box), one forward each.

    `Reply.value` is a tuple of cross-entropies a token in nats, in the order of `suffixes`.
    """

    messages: tuple[Message, ...]
    suffixes: tuple[str, ...]
    phrase: str
    start: int = 0
    max_tokens: int | None = None
    role: str = "target"
    phrase_tokens: int | None = None


Call = Chat | Judge | Score | Choices | GCGCandidates | SuffixLosses


@dataclass(frozen=True)
class Reply:
    """What came back of one call.

    Attributes:
        text: The response, as it was but for thoughts; empty where the call failed.
        value: What `parse` made of the text, or what the call's docstring says; None on failure.
        failure: Why there is no answer; None where there is one.
        reason: One line about the failure.
        continuation: The part of the text after the last anchor (local diffusion models).
        target_calls: Generations of the target that the attack has paid for, this one included.
        thoughts: What a reasoning model thought before it answered (local diffusion models).
        rejected_by: The monitor that rejected the request; the text is then a fixed refusal.
        traceback: Of an error.
        forwards: Rows through the network; 0 where nobody said.
    """

    text: str = ""
    value: Any = None
    failure: Failure | None = None
    reason: str = ""
    continuation: str = ""
    target_calls: int = 0
    thoughts: str = ""
    rejected_by: str = ""
    traceback: str = ""
    forwards: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is an answer; a refusal is one, a failure is not."""
        return self.failure is None

    def is_lost(self, role: str) -> bool:
        """Whether a role's answer is missing that should have come.

        What the budget forbids is not asked for. A target or an attacker that writes something
        else than was asked for has answered: attacks say what they make of it.
        """
        if self.failure == "unparseable":
            return role not in ("target", "attacker")
        return self.failure in ("failed", "too_long", "error")
