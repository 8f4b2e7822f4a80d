"""Replay: what an attack asked of one model in an earlier run is asked of another, once more.

No search: each behavior's attempt that won there, or else the best, with its messages, what stood
in its response or turn, and its rules. Length, temperature and all else of decoding are the new
study's. Text is tokenised anew: a suffix that was searched over another vocabulary is asked as the
text that it was, and positions count the new model's tokens.
"""

from typing import Any

from pydantic import Field

from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Anchor, Chat, Scaffold
from midspan.engine.capabilities import Need, needs_of
from midspan.frozen import FrozenConfig


class Replayed(FrozenConfig):
    """An attempt as records have it.

    Attributes:
        messages: What was asked.
        anchors: What was fixed in the response: texts and their positions.
        scaffold: Text with holes that was filled.
        rules: What changed the decoding.
        decoding: Fields of the decoding that were changed.
    """

    messages: tuple[dict[str, str], ...]
    anchors: tuple[tuple[str, int], ...] = ()
    scaffold: dict[str, Any] | None = None
    rules: tuple[dict[str, Any], ...] = ()
    decoding: dict[str, Any] = Field(default_factory=dict)

    @property
    def call(self) -> Chat:
        """The attempt as a call of the target."""
        from midspan.decoding.rule import as_rule

        return Chat(
            "target",
            self.messages,
            anchors=tuple(Anchor(*anchor) for anchor in self.anchors),
            scaffold=Scaffold(**self.scaffold) if self.scaffold else None,
            rules=tuple(map(as_rule, self.rules)),
            decoding=tuple(self.decoding.items()),
        )


class ReplayConfig(AttackConfig):
    """Ours.

    Attributes:
        run: Folder of a finished red-team run.
        model: Of the run, whose attempts are replayed; needed where it has several.
        attack: Of the run, as its tables name it; needed where it has several.
        each: Attempts of each behavior at most: those that won, then the best others.
        cases: By behavior, what is asked; a study reads them from the run.
    """

    run: str = ""
    model: str = ""
    attack: str = ""
    each: int = Field(1, ge=1)
    cases: dict[str, tuple[Replayed, ...]] = Field(default_factory=dict, exclude=True)


def run(state: AttackState, config: ReplayConfig) -> Steps:
    """Ask what was asked; a behavior of which the run has no attempt does not run."""
    cases = config.cases.get(state.behavior.id, ())[: config.each]
    if not cases:
        return "failed"
    yield from state.ask([case.call for case in cases])
    return "exhausted"


def cost(config: ReplayConfig, limit: int) -> Cost:
    """One response an attempt."""
    return Cost(generations=config.each, attempts=config.each)


def needs(config: ReplayConfig) -> frozenset[Need]:
    """What the calls that are asked again need."""
    calls = (case.call for several in config.cases.values() for case in several)
    return frozenset[Need]({"chat"}).union(*map(needs_of, calls))


ATTACK = Attack("replay", run, ReplayConfig, counts="any", cost=cost, needs=needs)
