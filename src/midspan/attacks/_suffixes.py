"""The loop of first-step GCG: a suffix that makes a phrase likely in one fully masked forward."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from midspan.engine.attack import AttackState
from midspan.engine.calls import SLOT, Call, Chat, GCGCandidates, Message, Reply, SuffixLosses


@dataclass(frozen=True)
class SuffixSearch:
    """What is searched, and how long.

    Attributes:
        phrase: What the response is to hold.
        start: Canvas position of its first token.
        suffix: The first suffix.
        steps: Iterations.
        width: Candidates an iteration.
        top_k: Replacements considered at each position.
        check_every: Iterations between responses.
    """

    phrase: str
    start: int
    suffix: str
    steps: int
    width: int
    top_k: int
    check_every: int

    @property
    def checks(self) -> int:
        """Responses at most."""
        return -(-self.steps // self.check_every)

    @property
    def rows(self) -> int:
        """Rows through the target's network at most: a gradient and the losses, each iteration."""
        return self.steps * (1 + self.width)


def search_suffix(
    state: AttackState, suffixed: Callable[[str], tuple[Message, ...]], search: SuffixSearch
) -> Generator[Sequence[Call], list[Reply], bool]:
    """Search, and put up a response to the best suffix so far now and then.

    Args:
        state: Of the attack; the score of an attempt is the suffix's loss, negative.
        suffixed: From a suffix to the conversation that holds it.
        search: What is searched.

    Returns:
        Whether it came to its end; without gradients or losses it does not.
    """
    suffix, phrase, start = search.suffix, search.phrase, search.start
    best, tried = (math.inf, suffix), ""
    slotted = suffixed(SLOT)
    for step in range(1, search.steps + 1):
        call = GCGCandidates(slotted, suffix, phrase, start, search.width, search.top_k)
        (candidates,) = yield [call]
        if not candidates.ok:
            return False
        if candidates.value:
            (losses,) = yield [SuffixLosses(slotted, candidates.value, phrase, start)]
            if not losses.ok:
                return False
            loss, suffix = min(zip(losses.value, candidates.value, strict=True))
            best = min(best, (loss, suffix))
        is_due = step % search.check_every == 0 or step == search.steps
        if is_due and best[1] != tried:
            tried = best[1]
            chat = Chat("target", suffixed(tried))
            (reply,) = yield [chat]
            state.note(chat, reply, score=-best[0])
    return True
