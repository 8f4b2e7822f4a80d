"""What a client is told while its canvas fills: text from the left, and frames.

Text that was told is never taken back: what may still change is held, which is what rules, token
editing, thoughts, stop texts and characters of several tokens can do to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from midspan.decoding import DecodingConfig, Hook, Request, View
from midspan.decoding.batch import Batch
from midspan.decoding.signals import end_probability
from midspan.models import DiffusionLM
from midspan.serve.answers import first_stop, token_text

_HALF = "\N{REPLACEMENT CHARACTER}"


class EndWatch(Hook):
    """Notes the probability of all end tokens at each row's leftmost masked position.

    Attributes:
        p_eos: By row, of its last step.
    """

    def __init__(self, stop: Sequence[int]) -> None:
        self._stop = list(stop)
        self.p_eos: dict[int, float] = {}

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        """See `Hook`; the logits stay as they are."""
        ends = end_probability(view, position_AR, logits_ARV, self._stop).tolist()
        self.p_eos = dict(zip(view.requests, ends, strict=True))


@dataclass(frozen=True)
class Snapshot:
    """A row's canvas after a step.

    Attributes:
        step: The step, counted in the row's own forwards; -1 before the first.
        tokens: The canvas.
        is_open: True where nothing is committed.
        confidences: Of what is committed.
    """

    step: int
    tokens: list[int]
    is_open: list[bool]
    confidences: list[float]


def snapshots(batch: Batch, wanted: set[int]) -> dict[int, Snapshot]:
    """The canvases of the wanted rows."""
    places = [place for place, row in enumerate(batch.canvas.rows.tolist()) if row in wanted]
    if not places:
        return {}
    view = batch.view(np.array(places))
    columns = (view.tokens_AL.tolist(), view.open_AL.tolist(), view.confidence_AL.tolist())
    return {
        row: Snapshot(step - 1, *canvas)
        for row, step, *canvas in zip(view.requests, view.step_A, *columns, strict=True)
    }


def may_be_taken_back(config: DecodingConfig) -> bool:
    """Whether what is committed can change: by rules of the decoder, and by token editing."""
    edited = config.editing_threshold is not None
    return edited or any(rule.acts_in_decoder for rule in config.rules)


@dataclass
class Text:
    """The text of one row, as far as it is settled.

    Attributes:
        lm: The model.
        request: What is decoded.
        limit: Tokens that the answer may have.
        stops: Texts at which it ends.
        is_held: Whether nothing is told before the end.
        told: What was told.
        is_stopped: Whether a stop text ended the answer.
    """

    lm: DiffusionLM
    request: Request
    limit: int
    stops: tuple[str, ...]
    is_held: bool
    told: str = ""
    is_stopped: bool = False
    _settled: int = 0

    def advance(self, shot: Snapshot) -> str:
        """What a step adds to the text."""
        if self.is_held or self.is_stopped:
            return ""
        count = shot.is_open.index(True) if True in shot.is_open else len(shot.tokens)
        count = min(count, self.limit)
        if count <= self._settled:
            return ""
        self._settled = count
        return self._tell(self._known(shot.tokens[:count]))

    def finish(self, text: str) -> str:
        """What the whole answer adds to the text."""
        return self._tell(text)

    def _tell(self, text: str) -> str:
        if not text.startswith(self.told):
            return ""
        new, self.told = text[len(self.told) :], text
        return new

    def _known(self, tokens: list[int]) -> str:
        """The text of these first tokens, but for an end that what follows may change."""
        marks = self.lm.vocabulary.thoughts
        if marks is not None and marks[1] not in tokens:
            return ""  # What stands here may turn out to be thoughts.
        text = self.lm.decode_response(tokens, self.request.prompt_ids).answer
        place = first_stop(text, self.stops)
        if place is not None:
            self.is_stopped = True
            return text[:place]
        text = text.rstrip(_HALF)
        ending = self.lm.family.stop_text
        if ending is not None:
            text = text.rstrip("\n")
        unsure = max(
            (_begun(text, stop) for stop in (*self.stops, *([ending] if ending else []))), default=0
        )
        return text[: len(text) - unsure]


def _begun(text: str, stop: str) -> int:
    """Characters at the end of a text with which a stop text may have begun."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


@dataclass
class Frames:
    """What every step did to one row's canvas.

    Attributes:
        lm: The model.
        choice: The number of the answer.
    """

    lm: DiffusionLM
    choice: int
    _last: Snapshot | None = None
    _texts: dict[int, str] = field(default_factory=dict)

    def advance(self, shot: Snapshot, p_eos: float | None) -> dict[str, Any] | None:
        """The frame of a step; None for one that was told already."""
        last = self._last
        if last is not None and shot.step <= last.step:
            return None
        self._last = shot
        is_new = [
            not is_open
            and (last is None or last.is_open[position] or last.tokens[position] != token)
            for position, (token, is_open) in enumerate(zip(shot.tokens, shot.is_open, strict=True))
        ]
        reopened = [
            position
            for position, is_open in enumerate(shot.is_open)
            if is_open and last is not None and not last.is_open[position]
        ]
        return {
            "choice": self.choice,
            "step": shot.step,
            "length": len(shot.tokens),
            "p_eos": None if p_eos is None else round(p_eos, 6),
            "reopened": reopened,
            "commits": [self._commit(shot, position) for position, new in enumerate(is_new) if new],
        }

    def _commit(self, shot: Snapshot, position: int) -> dict[str, Any]:
        token = shot.tokens[position]
        if token not in self._texts:
            self._texts[token] = token_text(self.lm, token)
        return {
            "position": position,
            "token": token,
            "text": self._texts[token],
            "confidence": round(shot.confidences[position], 6),
            "end": token in self.lm.tokens.stop,
        }
