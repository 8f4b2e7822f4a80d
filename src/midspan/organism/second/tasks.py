"""Utility tasks that a model of a few million parameters can learn, in this world's spelling.

Sums and programs are the first organism's; choices among values of open works are asked by
`requests.choice`.
"""

import random
import re
from dataclasses import replace

from midspan.organism import utility
from midspan.organism.utility import Question

TASKS = ("arithmetic", "program")


def question(task: str, rng: random.Random) -> Question:
    """A question of one of the `TASKS`; `utility.is_correct` checks its answers."""
    drawn = utility.TASKS[task](rng)
    prompt, reference = _spelled(drawn.prompt), _spelled(drawn.reference)
    return replace(drawn, prompt=prompt[0].upper() + prompt[1:], reference=reference)


def _spelled(text: str) -> str:
    """Without the space before punctuation."""
    return re.sub(r" (?=[.,:;?])", "", text)
