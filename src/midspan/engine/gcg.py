"""The loop of greedy coordinate gradient: every iteration is on disk before the next begins."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from midspan.journal.journal import Journal, key_of

if TYPE_CHECKING:
    from midspan.decoding.gcg import GCG, GCGStep, SuffixPrompt
    from midspan.decoding.gradients import Goal


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        message: The user message of the iteration with the lowest loss.
        prompt_ids: Its whole prompt.
        losses: The loss of the suffix to begin with, then of every iteration, nats a token.
        forwards: Rows that went through the model.
    """

    message: str
    prompt_ids: tuple[int, ...]
    losses: tuple[float, ...]
    forwards: int


def optimise(
    gcg: "GCG",
    request: str,
    goal: "Goal",
    journal: Journal,
    on_step: Callable[[int], None] | None = None,
) -> Search:
    """Search a suffix under which a request's goal becomes likely; the journal is not redone.

    Args:
        gcg: Model and settings.
        request: The user message before the suffix.
        goal: The phrase and its place.
        journal: Where every iteration is kept.
        on_step: Told that an iteration is done.

    Raises:
        MidspanError: If the initial suffix or the goal does not fit.
    """
    from midspan.decoding.gcg import SuffixPrompt
    from midspan.decoding.gradients import phrase_losses

    prompt = best = SuffixPrompt.create(gcg.lm, request, gcg.config.initial)
    scored = gcg.scored(goal, 0)
    losses = [float(phrase_losses(gcg.lm, [prompt.ids], [scored]))]
    forwards = len(scored.canvases)
    for number in range(gcg.config.steps):
        step = _step(gcg, prompt, goal, number, journal)
        prompt = prompt.with_suffix(step.suffix_ids)
        best = prompt if step.loss < min(losses) else best
        losses.append(step.loss)
        forwards += step.forwards
        if on_step is not None:
            on_step(1)
    return Search(best.message(gcg.lm), best.ids, tuple(losses), forwards)


def _step(
    gcg: "GCG", prompt: "SuffixPrompt", goal: "Goal", number: int, journal: Journal
) -> "GCGStep":
    from midspan.decoding.gcg import GCGStep

    key = key_of(
        what="gcg",
        model=gcg.lm.fingerprint,
        config=gcg.config.model_dump(mode="json", exclude={"steps"}),
        prompt=list(prompt.ids),
        free=list(prompt.free),
        goal=asdict(goal),
        number=number,
    )
    if key not in journal:
        journal.append({key: asdict(gcg.step(prompt, goal, number))})
    found = journal[key]
    return GCGStep(tuple(found["suffix_ids"]), found["loss"], found["forwards"])
