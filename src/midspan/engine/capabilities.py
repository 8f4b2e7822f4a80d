"""What a served model can be asked, and what a call or an attack needs of it."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from midspan.engine.calls import Call, Chat, Choices, GCGCandidates, Judge, Score, SuffixLosses
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.served import Engine

# In the order in which they are told. What stands behind "draws" no server gives.
Need = Literal[
    "chat",
    "prefix",
    "anchors",
    "log-probs",
    "rules",
    "draws",
    "decoding",
    "user canvas",
    "traces",
    "hidden states",
    "gradients",
    "weights",
]
NEEDS: tuple[Need, ...] = get_args(Need)


class Capabilities(FrozenConfig):
    """What a server does with a request; frozen, by engine, probed at first contact or given.

    Attributes:
        chat: It answers conversations.
        prefix: The beginning of an answer can be fixed.
        anchors: So can tokens anywhere in the answer.
        logprobs: It tells how likely given tokens are at given places of a canvas.
        rules: It takes rules of decoding.
        draws: Equal requests may have other answers.
        seed: A request's seed is taken.
        temperature: A request's temperature is taken.
        adapters: Adapters of one base are asked by name, without merging them.
    """

    chat: bool = True
    prefix: bool = False
    anchors: bool = False
    logprobs: bool = False
    rules: bool = False
    draws: bool = True
    seed: bool = True
    temperature: bool = True
    adapters: bool = False

    @property
    def given(self) -> tuple[str, ...]:
        """Names of what it does, as people read them."""
        return tuple(_named(name) for name, has in self.model_dump().items() if has)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Names of what it does not."""
        return tuple(_named(name) for name, has in self.model_dump().items() if not has)

    @property
    def access(self) -> tuple[str, ...]:
        """What attacks may use of it."""
        return tuple(name for name in self.given if name in NEEDS and name != "draws")


OF_ENGINE: Mapping[Engine, Capabilities] = {
    "openai": Capabilities(),
    "vllm": Capabilities(prefix=True, anchors=True, logprobs=True, seed=False, temperature=False),
    "sglang": Capabilities(prefix=True, draws=False, seed=False, temperature=False),
    "midspan": Capabilities(prefix=True, anchors=True, rules=True, adapters=True),
}


def _named(field: str) -> str:
    return {"logprobs": "log-probs"}.get(field, field)


def needs_of(call: Call) -> frozenset[Need]:
    """What a call needs of who answers it."""
    match call:
        case Score() | Choices():
            return frozenset({"log-probs"})
        case GCGCandidates() | SuffixLosses():
            return frozenset({"gradients"})
        case Judge():
            return frozenset({"chat"})
    needs: set[Need] = {"chat"}
    if call.anchors:
        needs.add("prefix" if is_prefix(call) else "anchors")
    if call.scaffold is not None:
        needs.add("user canvas" if call.scaffold.turn == "user" else "anchors")
    if call.rules:
        needs.add("rules")
    if call.decoding:
        needs.add("decoding")
    if call.tampering is not None:
        needs.add("weights")
    return frozenset(needs)


def is_prefix(call: Chat) -> bool:
    """Whether all that a call fixes is the beginning of the answer."""
    return len(call.anchors) == 1 and call.anchors[0].start == 0 and call.scaffold is None


def lacks(record: Capabilities, needs: Iterable[Need]) -> tuple[Need, ...]:
    """What of the needs a server does not give, in the order of `NEEDS`."""
    given = set(record.given)
    return tuple(need for need in NEEDS if need in set(needs) - given)


def refusal(what: str, missing: Iterable[str], server: str, record: Capabilities) -> MidspanError:
    """Why a server cannot be asked something, to be raised.

    Args:
        what: What wants it: an attack, a role.
        missing: What it lacks.
        server: Its name.
        record: What it gives.
    """
    alone = " alone" if record.access == ("chat",) else ""
    return MidspanError(
        f"{what}: needs {', '.join(missing)}; {server} gives {', '.join(record.access)}{alone}"
    )
