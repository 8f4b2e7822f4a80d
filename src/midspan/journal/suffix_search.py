"""The loop of greedy coordinate gradient: every iteration is on disk before the next begins."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from midspan.journal.journal import Journal, key_of

if TYPE_CHECKING:
    from midspan.scoring.gcg_step import GCG, GCGStep
    from midspan.scoring.gradients import Goal
    from midspan.scoring.suffix import SuffixPrompt


@dataclass(frozen=True)
class SuffixSearch:
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


def search_suffix(
    gcg: "GCG",
    request: str,
    goal: "Goal",
    journal: Journal,
    on_step: Callable[[int], None] | None = None,
) -> SuffixSearch:
    """Search a suffix under which a request's goal becomes likely; journalled steps are not redone.

    Args:
        gcg: Model and settings.
        request: The user message before the suffix.
        goal: The phrase and its place.
        journal: Where every iteration is kept.
        on_step: Told that an iteration is done.

    Raises:
        MidspanError: If the initial suffix or the goal does not fit.
    """
    from midspan.scoring.gradients import phrase_losses
    from midspan.scoring.suffix import SuffixPrompt, append_suffix

    conversation = partial(append_suffix, request)
    prompt = best = SuffixPrompt.create(gcg.lm, conversation, gcg.config.initial)
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
    suffix = best.surviving_text(gcg.lm)
    message = conversation(best.text(gcg.lm) if suffix is None else suffix)
    return SuffixSearch(message, best.ids, tuple(losses), forwards)


def _step(
    gcg: "GCG", prompt: "SuffixPrompt", goal: "Goal", number: int, journal: Journal
) -> "GCGStep":
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
    return journal.read(key, _read_step)


def _read_step(fields: dict[str, Any]) -> "GCGStep":
    from midspan.scoring.gcg_step import GCGStep

    ids, loss, forwards = fields["suffix_ids"], fields["loss"], fields["forwards"]
    is_sound = isinstance(ids, list | tuple) and all(
        type(n) is int and n >= 0 for n in (*ids, forwards)
    )
    if not (is_sound and type(loss) is float):
        raise TypeError("ids and forwards are whole numbers, a loss is a number")
    return GCGStep(tuple(ids), loss, forwards)
