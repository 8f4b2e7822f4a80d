"""Decode the holes of a scaffold and nothing else, each limited to some candidates."""

from typing import Literal

from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules.allow import Allow
from midspan.decoding.rules.only import Only
from midspan.decoding.scaffold import hole_positions
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


class Slots(Rule):
    """`allow` and `only` at the holes of a scaffold in the response; ours.

    An attacker who writes a scaffold in words knows no positions: they follow from the model's
    tokenizer. A candidate of several tokens allows each of them at all positions of its hole.

    Attributes:
        scaffold: The text with holes, as the request has it.
        candidates: For each hole in turn the texts that may stand there; an empty one is free.
            Without any, all holes are free.
    """

    rule: Literal["slots"] = "slots"
    scaffold: str
    candidates: tuple[tuple[str, ...], ...] = ()

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        holes = hole_positions(lm, self.scaffold)
        if len(self.candidates) not in (0, len(holes)):
            raise MidspanError(
                f"rules.slots.candidates: {len(self.candidates)} for {len(holes)} holes; give each "
                "hole its own"
            )
        every = tuple(position for hole in holes for position in hole)
        limits = [
            Allow(texts=texts, positions=tuple(hole)).hook(lm, length)
            for texts, hole in zip(self.candidates, holes, strict=False)
            if texts
        ]
        return _Slots(Only(positions=every).hook(lm, length), limits)


class _Slots(Hook):
    def __init__(self, only: Hook, limits: list[Hook]) -> None:
        self._only, self._limits = only, limits

    def on_canvas(self, view: View) -> None:
        self._only.on_canvas(view)

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        for limit in self._limits:
            limit.edit_logits(view, position_AR, logits_ARV)


RULE = Slots
