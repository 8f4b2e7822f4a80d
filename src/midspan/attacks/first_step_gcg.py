"""First-step GCG (Recovery Alignment's attack): a suffix for the first forward of denoising.

Greedy coordinate gradient on log pi(r | q, all masks): r is the beginning of an answer, and the
loss its cross-entropy a token in one forward of a fully masked canvas. T steps of decoding end in r
with at least the T-th root of that probability; a Monte-Carlo loss would take many forwards.
The suffix with the lowest loss so far is answered now and then; the last such response counts.
Deviations: width and replacements are nanoGCG's, which the paper does not name; a suffix must come
back from the chat prompt as typed.
"""

from pydantic import Field

from midspan.attacks._openings import GENERIC, opening_of
from midspan.attacks._suffixes import SuffixSearch, search_suffix
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Message, user
from midspan.engine.capabilities import Need


class FirstStepGCGConfig(AttackConfig):
    """The paper's 20 tokens and 500 iterations; the rest is nanoGCG's.

    Attributes:
        suffix: The first suffix, behind the request; twenty tokens.
        steps: Iterations.
        width: Candidates an iteration.
        top_k: Replacements considered at each position.
        check_every: Iterations between responses.
        target: What the response is to hold, for all behaviors; None takes each one's opening.
        generic_opening: For behaviors that have none.
        start: Canvas position of its first token.
    """

    suffix: str = Field(" ".join("x" * 20), min_length=1)
    steps: int = Field(500, ge=1)
    width: int = Field(512, ge=1)
    top_k: int = Field(256, ge=1)
    check_every: int = Field(50, ge=1)
    target: str | None = Field(None, min_length=1)
    generic_opening: str = Field(GENERIC, min_length=1)
    start: int = Field(0, ge=0)


def run(state: AttackState, config: FirstStepGCGConfig) -> Steps:
    """Search, with a response now and then."""

    def suffixed(suffix: str) -> tuple[Message, ...]:
        return (user(f"{state.behavior.prompt} {suffix}"),)

    target = opening_of(state.behavior, config.target, config.generic_opening)
    is_whole = yield from search_suffix(state, suffixed, _search(config, target))
    return "exhausted" if is_whole or state.attempts else "failed"


def _search(config: FirstStepGCGConfig, target: str) -> SuffixSearch:
    sizes = config.steps, config.width, config.top_k, config.check_every
    return SuffixSearch(target, config.start, config.suffix, *sizes)


def cost(config: FirstStepGCGConfig, limit: int) -> Cost:
    """A gradient and the losses of all candidates each iteration, and the responses."""
    search = _search(config, config.generic_opening)
    return Cost(search.checks, search.checks, forward_rows={"target": search.rows})


def needs(config: FirstStepGCGConfig) -> frozenset[Need]:
    """Gradients."""
    return frozenset({"gradients"})


ATTACK = Attack("first_step_gcg", run, FirstStepGCGConfig, counts="best", cost=cost, needs=needs)
