"""Open a refusal again and write something else in its place (TrajHijack)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.decoding.rules._places import forms
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


class Rewrite(Rule):
    """Decode until a refusal is committed, mask it again, anchor a prefix, and go on.

    After TrajHijack (arXiv 2604.08557), of which the abstract alone could be read: markers, what
    is masked again beside them, and how often are ours.

    Attributes:
        markers: Texts that tell a refusal; each counts in both its forms, once it stands whole.
        prefix: What is written at the beginning of the canvas; empty for masking alone.
        everything: Mask all that is committed again, and not only markers, end tokens and what
            stands in the prefix's place.
        times: How often a row is rewritten.
    """

    rule: Literal["rewrite"] = "rewrite"
    markers: tuple[str, ...] = Field(("sorry", "cannot", "can't", "unable"), min_length=1)
    prefix: str = "Sure, here is how:"
    everything: bool = False
    times: int = Field(1, ge=1)

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        prefix = lm.encode_phrase(self.prefix) if self.prefix else []
        if len(prefix) > length:
            raise MidspanError(f"rules.rewrite.prefix: {len(prefix)} tokens exceed the canvas")
        return _Rewrite(lm, self, prefix)


class _Rewrite(Hook):
    def __init__(self, lm: DiffusionLM, rule: Rewrite, prefix: list[int]) -> None:
        self._markers = [ids for text in rule.markers for ids in forms(lm, text)]
        self._stop, self._prefix, self._rule = sorted(lm.tokens.stop), prefix, rule
        self._rewritten: dict[int, int] = {}
        self._due: set[int] = set()

    def on_canvas(self, view: View) -> None:
        for request in view.requests:
            self._rewritten[request] = 0
            self._due.discard(request)

    def may_remask(self, view: View) -> Tensor | None:
        found_AL = _standing(view, self._markers)
        again_AL = torch.zeros_like(found_AL)
        for row, request in enumerate(view.requests):
            if found_AL[row].any() and self._rewritten[request] < self._rule.times:
                again_AL[row] = self._masked_again(view, row, found_AL[row])
                self._rewritten[request] += 1
                self._due.add(request)
        return again_AL if again_AL.any() else None

    def _masked_again(self, view: View, row: int, found_L: Tensor) -> Tensor:
        tokens_L = view.tokens_AL[row]
        ends_L = torch.isin(tokens_L, torch.tensor(self._stop, device=tokens_L.device))
        again_L = torch.ones_like(found_L) if self._rule.everything else found_L | ends_L
        again_L = again_L.clone()
        again_L[: len(self._prefix)] = True
        return again_L & ~view.open_AL[row] & ~view.anchored_AL[row]

    def before_forward(self, view: View) -> None:
        for row, request in enumerate(view.requests):
            if request in self._due:
                self._due.remove(request)
                view.anchor_where_open(row, self._prefix, 0)


def _standing(view: View, texts: list[list[int]]) -> Tensor:
    """True at committed tokens of any of the texts that stand whole, [A, L]."""
    tokens_AL, open_AL = view.tokens_AL, view.open_AL
    found_AL = torch.zeros_like(open_AL)
    for ids in texts:
        if len(ids) > tokens_AL.shape[1]:
            continue
        windows_AWN = tokens_AL.unfold(1, len(ids), 1)
        equal_AW = (windows_AWN == torch.tensor(ids, device=tokens_AL.device)).all(-1)
        for offset in range(len(ids)):
            found_AL[:, offset : offset + equal_AW.shape[1]] |= equal_AW
    return found_AL & ~open_AL & ~view.anchored_AL


RULE = Rewrite
