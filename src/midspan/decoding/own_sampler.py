"""Decoding by the sampler that a model over uniform noise brings, in the terms of this room."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from midspan.decoding.canvas import Request
from midspan.decoding.config import DecodingConfig, LladaSampler
from midspan.decoding.trace import ANCHOR_STEP, Generation, StepView, Trace
from midspan.errors import MidspanError
from midspan.models.finite import NotFiniteError

if TYPE_CHECKING:
    from midspan.models.model import DiffusionLM
    from midspan.models.uniform_noise import UniformResponse

_FIELDS = ("length", "steps", "block_length", "early_stop")


def decode_by_own_sampler(
    lm: "DiffusionLM",
    requests: Sequence[Request],
    config: DecodingConfig,
    on_step: Callable[[StepView], None] | None = None,
) -> list[Generation]:
    """Fill the canvases of all requests, one after the other.

    A trace's step is the one from which on the sampler's guess did not change; a position that an
    end token in an earlier canvas left unwritten holds the pad token and is not in the trace.

    Args:
        lm: A model of a family with uniform noise.
        requests: Prompts, anchors and seeds.
        config: `length` and `steps`; the rest must be as the family has it.
        on_step: Called after every step of every request.

    Raises:
        MidspanError: If the config or a request asks for what the sampler cannot do.
    """
    from midspan.models.uniform_noise import UniformRequest, generate_uniform

    _check(lm, config)
    generations = []
    for row, request in enumerate(requests):
        uniform_request = UniformRequest(
            request.prompt_ids, config.length, config.steps, request.anchors, request.seed
        )
        draft = None if on_step is None else _Drafts(on_step, row, config)
        try:
            response = generate_uniform(lm, uniform_request, draft)
        except NotFiniteError:
            pads = (lm.tokens.pad,) * config.length
            generations.append(Generation(pads, "", Trace.empty(), 0, True, is_broken=True))
            continue
        except MidspanError as error:
            raise MidspanError(f"requests[{row}].{error}") from error
        generations.append(_generation(lm, response, request, config.length))
    return generations


def _check(lm: "DiffusionLM", config: DecodingConfig) -> None:
    plain = LladaSampler(**{name: getattr(config, name) for name in _FIELDS})
    for name, value in config.model_dump().items():
        if value != getattr(plain, name, None):
            raise MidspanError(
                f"decoding.{name}={value!r} has no meaning for {lm.family.name}, which its own "
                "sampler decodes; leave it out"
            )
    canvas_length = lm.base.config.canvas_length
    if config.block_length not in (None, canvas_length):
        raise MidspanError(
            f"decoding.block_length={config.block_length} must be {lm.family.name}'s canvas of "
            f"{canvas_length}"
        )


class _Drafts:
    """Turns the sampler's drafts into step views."""

    def __init__(self, on_step: Callable[[StepView], None], row: int, config: DecodingConfig):
        self._on_step, self._row, self._config = on_step, row, config
        self._last: list[int] = []

    def __call__(self, step: int, draft: list[int]) -> None:
        old = self._last + [-1] * (len(draft) - len(self._last))
        changed = [new != before for new, before in zip(draft, old, strict=True)]
        self._last = draft
        tokens_BL, changed_BL = torch.tensor([draft]), torch.tensor([changed])
        self._on_step(StepView(step, self._config.steps, tokens_BL, changed_BL, (self._row,)))


def _generation(
    lm: "DiffusionLM", response: "UniformResponse", request: Request, length: int
) -> Generation:
    anchored = np.array([position in request.anchors for position in range(len(response.tokens))])
    trace = Trace.from_canvas(
        np.array(response.tokens),
        np.ones(len(response.tokens), dtype=bool),
        np.where(anchored, ANCHOR_STEP, response.steps),
        np.where(anchored, 1.0, response.confidences),
    )
    missing = length - len(response.tokens)
    tokens = (*response.tokens, *[lm.tokens.pad] * missing)
    answer, thoughts = lm.decode_response(tokens, request.prompt_ids)
    return Generation(tokens, answer, trace, response.forwards, missing > 0, thoughts)
