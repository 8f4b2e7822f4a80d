"""What monitors read while a response is decoded, and the journalled work that reads it.

Shapes: A rows of a step, R positions of a step, L a canvas, V vocabulary, S steps read, D hidden
width.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rules.diffuguard import cosine_distance
from midspan.decoding.signals import end_probability, log_odds
from midspan.errors import MidspanError
from midspan.frozen import plain
from midspan.journal.journal import key_of
from midspan.models.states import FINAL

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Request
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class Vocabulary:
    """Tokens that only refusals have, and those that only affirmative openings have."""

    refusing: tuple[int, ...]
    agreeing: tuple[int, ...]

    @classmethod
    def of(cls, lm: "DiffusionLM", refusals: Sequence[str], openings: Sequence[str]) -> Self:
        """The tokens of phrases, without what both kinds have.

        Raises:
            MidspanError: A kind has no token of its own.
        """
        first, second = (
            {token for text in texts for start in (0, 1) for token in lm.encode_phrase(text, start)}
            for texts in (refusals, openings)
        )
        if not (first - second and second - first):
            raise MidspanError("phrases: refusals and affirmative openings must differ in words")
        return cls(tuple(sorted(first - second)), tuple(sorted(second - first)))


@dataclass(frozen=True)
class Signals:
    """What was read of one response.

    Attributes:
        end: Probability of end tokens at the leftmost masked position in the first step.
        odds: Log-odds of the refusing against the agreeing vocabulary in each step read.
        states_SD: Mean over the canvas of the states that the output layer takes.
        distance: DiffuGuard's: cosine distance of the prompt's mean state to the first block's.
    """

    end: float
    odds: tuple[float, ...]
    states_SD: Tensor
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON; states in half precision."""
        states = self.states_SD.to(torch.float16).numpy().astype("<f2")
        return {
            "end": self.end,
            "odds": list(self.odds),
            "states": base64.b64encode(states.tobytes()).decode(),
            "distance": self.distance,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        odds = tuple(map(float, value["odds"]))
        states = np.frombuffer(base64.b64decode(value["states"]), dtype="<f2")
        states_SD = torch.from_numpy(states.astype(np.float64)).view(len(odds), -1)
        return cls(float(value["end"]), odds, states_SD, float(value["distance"]))


class SignalReader(Hook):
    """Reads; it changes nothing.

    Args:
        lm: The model.
        steps: Steps in which is read; a row that ends before keeps what was read last.
        vocabulary: Of the log-odds.
        baselines: Mean states of the plain prompts, by request.
    """

    layers = (FINAL,)

    def __init__(
        self,
        lm: "DiffusionLM",
        steps: Sequence[int],
        vocabulary: Vocabulary,
        baselines: Sequence[Tensor],
    ) -> None:
        self._stop, self._steps = sorted(lm.tokens.stop), sorted(steps)
        self._vocabulary, self._baselines = vocabulary, baselines
        self._odds: dict[int, list[float]] = {}
        self._states: dict[int, list[Tensor]] = {}
        self._first: dict[int, tuple[float, float]] = {}

    def on_canvas(self, view: View) -> None:
        """See `Hook`."""
        for request in view.requests:
            self._odds[request], self._states[request] = [], []

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        """See `Hook`."""
        rows = [row for row, step in enumerate(view.step_A) if step in self._steps]
        if not rows:
            return
        part = view.of(rows)
        position_AR, logits_ARV = position_AR[rows], logits_ARV[rows]
        end_A = end_probability(part, position_AR, logits_ARV, self._stop)
        words = self._vocabulary
        odds_A = log_odds(part, position_AR, logits_ARV, words.refusing, words.agreeing)
        states_ALD = part.hidden(FINAL).float()
        for row, request in enumerate(part.requests):
            if part.step_A[row] == 0:
                block_D = states_ALD[row][part.block_AL[row]].mean(0)
                distance = cosine_distance(block_D, self._baselines[request])
                self._first[request] = (float(end_A[row]), distance)
            self._odds[request].append(float(odds_A[row]))
            self._states[request].append(states_ALD[row].mean(0).cpu())

    def signals(self, request: int) -> Signals:
        """What was read of a request.

        Raises:
            MidspanError: Nothing was left to decode.
        """
        odds, states = self._odds[request], self._states[request]
        if not odds:
            raise MidspanError("monitors: a canvas without a masked position has nothing to read")
        missing = len(self._steps) - len(odds)
        end, distance = self._first[request]
        states_SD = torch.stack(states + [states[-1]] * missing)
        return Signals(end, tuple(odds + [odds[-1]] * missing), states_SD, distance)


@dataclass(frozen=True)
class Watched:
    """A request to decode while monitors read.

    Attributes:
        request: What is decoded.
        decoding: How.
        plain_ids: The prompt that the response belongs to, without an attacker's canvas.
    """

    request: "Request"
    decoding: "DecodingConfig"
    plain_ids: tuple[int, ...]


class MonitorWork:
    """Requests to decode and read, cut into batches of one decoding and of similar length.

    Args:
        lm: The model.
        watched: What is decoded.
        steps: Steps in which is read.
        vocabulary: Of the log-odds.
        batch_size: Rows that go through the model together.
    """

    def __init__(
        self,
        lm: "DiffusionLM",
        watched: Sequence[Watched],
        steps: Sequence[int],
        vocabulary: Vocabulary,
        batch_size: int,
    ) -> None:
        self._lm, self._steps, self._vocabulary = lm, tuple(steps), vocabulary
        self.keys = [self._key(one) for one in watched]
        self._watched = dict(zip(self.keys, watched, strict=True))
        groups: dict[str, list[str]] = {}
        for key, one in self._watched.items():
            groups.setdefault(one.decoding.model_dump_json(), []).append(key)
        self.batches: list[list[str]] = []
        for keys in groups.values():
            keys.sort(key=lambda key: (len(self._watched[key].request.prompt_ids), key))
            self.batches += [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]

    def _key(self, one: Watched) -> str:
        request = one.request
        return key_of(
            reading=[list(self._steps), *map(list, vars(self._vocabulary).values())],
            model=self._lm.fingerprint,
            decoding=one.decoding.model_dump(mode="json"),
            prompt=list(request.prompt_ids),
            plain=list(one.plain_ids),
            anchors=sorted(request.anchors.items()),
            seed=request.seed,
            rules=plain(request.rules),
        )

    def checked(self, value: Any) -> Any:
        """The signals of a case, whole."""
        Signals.from_dict(value)
        return value

    def compute(self, batch: Sequence[str]) -> dict[str, Any]:
        """Decode and read one batch."""
        from midspan.decoding import decode

        rows = [self._watched[key] for key in batch]
        baselines = [self._baseline(one.plain_ids) for one in rows]
        reader = SignalReader(self._lm, self._steps, self._vocabulary, baselines)
        requests = [one.request for one in rows]
        decoding = rows[0].decoding
        found = decode(self._lm, requests, decoding, batch_size=len(rows), hooks=[reader])
        return {
            key: {
                **reader.signals(index).to_dict(),
                "tokens": list(generation.tokens),
                "text": generation.text,
                "forwards": generation.forwards,
                "rejected_by": generation.rejected_by,
            }
            for index, (key, generation) in enumerate(zip(batch, found, strict=True))
        }

    @torch.inference_mode()
    def _baseline(self, ids: Sequence[int]) -> Tensor:
        device = self._lm.device
        states_1PD = self._lm.hidden(torch.tensor([list(ids)], device=device))
        return states_1PD[0].float().mean(0).to(device)
