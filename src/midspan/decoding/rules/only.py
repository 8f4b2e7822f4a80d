"""Decode some positions and leave the others masked."""

from typing import Literal

from pydantic import Field

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import Positions, check_positions
from midspan.models.model import DiffusionLM


class Only(Rule):
    """Positions that are decoded; the model reads masks at all others, and the row ends with them.

    Attributes:
        positions: Canvas positions.
    """

    rule: Literal["only"] = "only"
    positions: Positions = Field(min_length=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        check_positions(self.rule, self.positions, length)
        closed = sorted(set(range(length)) - set(self.positions))
        return _Only(closed)


class _Only(Hook):
    def __init__(self, closed: list[int]) -> None:
        self._closed = closed

    def on_canvas(self, view: View) -> None:
        view.close(self._closed)


RULE = Only
