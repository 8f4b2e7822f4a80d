"""Anchor a refusal in the middle of the canvas where the model is about to end (ours)."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import check_positions
from midspan.decoding.rules._signals import about_to_end
from midspan.models.model import DiffusionLM


class AnchorRefusal(Rule):
    """A window of the canvas is kept for a refusal, which is anchored once a monitor fires.

    MOSA's idea at decode time, without training: the refusal stands at the middle tokens, which
    attackers hardly reach, and ends the response. The monitor is the probability of end tokens at
    the leftmost masked position. Positions that are committed by then stay.

    Attributes:
        text: The refusal.
        position: Canvas position of its first token; MOSA's window begins at 20.
        threshold: Of the monitor.
        steps: In the first so many steps.
    """

    rule: Literal["anchor_refusal"] = "anchor_refusal"
    text: str = Field("I cannot help with that request.", min_length=1)
    position: int = Field(20, ge=0)
    threshold: float = Field(0.5, gt=0, lt=1)
    steps: int = Field(8, ge=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        ids = [*lm.encode_phrase(self.text, self.position), lm.tokens.eos]
        check_positions(self.rule, (self.position + len(ids) - 1,), length)
        return _AnchorRefusal(self, ids, sorted(lm.tokens.stop))


class _AnchorRefusal(Hook):
    def __init__(self, rule: AnchorRefusal, ids: list[int], stop: list[int]) -> None:
        self._rule, self._ids, self._stop = rule, ids, stop
        self._fired: set[int] = set()

    def on_canvas(self, view: View) -> None:
        self._fired -= set(view.requests)

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        rows = about_to_end(view, position_AR, logits_ARV, self._stop, self._rule)
        self._fired |= {view.requests[row] for row in rows}

    def after_commit(self, view: View) -> None:
        for row, request in enumerate(view.requests):
            if request in self._fired:
                self._fired.remove(request)
                view.anchor_where_open(row, self._ids, self._rule.position)


RULE = AnchorRefusal
