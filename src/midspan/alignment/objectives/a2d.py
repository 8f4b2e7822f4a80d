"""A2D: whatever is still masked of a harmful answer becomes the end of the text, at any mask rate.

"A2D: Any-Order, Any-Step Safety Alignment for Diffusion Language Models", arXiv 2509.23286. Its
page (ai-isl.github.io/A2D) calls the targets the one change to the usual masked-diffusion
objective, so mask rates are weighted as in LLaDA's SFT.
"""

from typing import Literal

from midspan.alignment.objectives.base import Draw, Ids, TokenExample
from midspan.alignment.objectives.likelihood import DenoisingObjective


class A2dObjective(DenoisingObjective):
    """The end of the text at every masked position of a harmful answer."""

    kind: Literal["a2d"] = "a2d"

    @property
    def needs_answers(self) -> tuple[bool, bool]:
        """Harmful answers are what is masked."""
        return True, self.retain == "answers" and self.benign_weight > 0

    def harmful_texts(self, example: TokenExample, draw: Draw) -> tuple[Ids, Ids]:
        """The harmful answer to mask, and nothing but end-of-text tokens to predict."""
        return example.answer_ids, (draw.eos,) * draw.length
