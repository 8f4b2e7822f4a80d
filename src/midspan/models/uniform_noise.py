"""Generation of models over uniform noise, by the sampler of their transformers class.

Rows run one at a time: the sampler draws for a whole batch from one random state, so that a row's
result would depend on the rows beside it. Shapes: C canvas tokens, V vocabulary, S steps.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from midspan.errors import MidspanError
from midspan.models.finite import NotFiniteError, faults

if TYPE_CHECKING:
    from midspan.models.model import DiffusionLM

OnDraft = Callable[[int, list[int]], None]


@dataclass(frozen=True)
class UniformRequest:
    """One response to write.

    Attributes:
        prompt_ids: The prompt.
        length: Tokens of the response, a multiple of the model's canvas.
        steps: The most steps over the whole response, the same for every canvas.
        anchors: Position to the token id fixed there; in the first canvas only.
        seed: Seed of all random draws.
    """

    prompt_ids: tuple[int, ...]
    length: int
    steps: int
    anchors: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0


class UniformResponse(NamedTuple):
    """What was written, and when.

    A token may come and go until its canvas is done: `steps` has, for each position, the step from
    which on the sampler's best guess there did not change, and `confidences` the model's
    probability of it at that step, at temperature 1.
    """

    tokens: list[int]
    steps: list[int]
    confidences: list[float]
    forwards: int


def generate_uniform(
    lm: "DiffusionLM", request: UniformRequest, on_draft: OnDraft | None = None
) -> UniformResponse:
    """Write one response.

    Args:
        lm: A model of a family with uniform noise.
        request: What to write.
        on_draft: Called after every step with its number and the best guess of the response so
            far.

    Returns:
        The response; shorter than asked for where a canvas with an end token came earlier.

    Raises:
        MidspanError: Naming what the sampler cannot do.
        NotFiniteError: The model's logits are not finite.
    """
    canvas_length = lm.base.config.canvas_length
    _check(lm, request, canvas_length)
    prompt = torch.tensor([request.prompt_ids], device=lm.device)
    watch = _Watch(request.anchors, lm.unspelled, on_draft)
    start = {}
    with _seeded(request.seed, lm.device):
        if request.anchors:
            start["decoder_input_ids"] = _first_canvas(lm, request.anchors, canvas_length)
        lm.base.generate(
            prompt,
            max_new_tokens=request.length,
            max_denoising_steps=request.steps * canvas_length // request.length,
            logits_processor=LogitsProcessorList([watch]),
            streamer=watch,
            eos_token_id=sorted(lm.tokens.stop),
            pad_token_id=lm.tokens.pad,
            **start,
        )
    return watch.response()


def _check(lm: "DiffusionLM", request: UniformRequest, canvas_length: int) -> None:
    vocab_size = lm.base.config.get_text_config().vocab_size
    if not request.prompt_ids:
        raise MidspanError("prompt_ids is empty; give at least one token")
    if min(request.prompt_ids) < 0 or max(request.prompt_ids) >= vocab_size:
        raise MidspanError(f"prompt_ids has an id outside the vocabulary of {vocab_size}")
    if request.length < 1 or request.length % canvas_length:
        raise MidspanError(
            f"length={request.length} must be a multiple of the {canvas_length} tokens that "
            f"{lm.family.name} denoises together"
        )
    canvases = request.length // canvas_length
    if request.steps < 1 or request.steps % canvases:
        raise MidspanError(f"steps={request.steps} must be a multiple of the {canvases} canvases")
    if len(request.prompt_ids) + request.length > lm.max_length:
        raise MidspanError(
            f"prompt_ids has {len(request.prompt_ids)} tokens, and with length={request.length} "
            f"exceeds the model's {lm.max_length}"
        )
    for position, token in request.anchors.items():
        if not 0 <= position < canvas_length:
            raise MidspanError(
                f"anchors: position {position} is outside the first canvas 0..{canvas_length - 1}; "
                f"{lm.family.name}'s sampler draws later canvases itself"
            )
        if not 0 <= token < vocab_size:
            raise MidspanError(f"anchors: token {token} is outside the vocabulary of {vocab_size}")


def _first_canvas(lm: "DiffusionLM", anchors: Mapping[int, int], length: int) -> Tensor:
    """Noise with the anchors in it, [1, C]: the first step sees them too."""
    vocab_size = lm.base.config.get_text_config().vocab_size
    canvas = torch.randint(vocab_size, (1, length), device=lm.device)
    canvas[0, list(anchors)] = torch.tensor(list(anchors.values()), device=lm.device)
    return canvas


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random state that the sampler draws from; afterwards it is as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class _Watch(LogitsProcessor):
    """Logits processor and streamer in one: holds the anchors and notes every step's guess.

    Args:
        anchors: Position to the token id fixed there.
        unspelled: Rows without a token, in runs, which are never chosen.
        on_draft: See `generate_uniform`.
    """

    def __init__(
        self, anchors: Mapping[int, int], unspelled: tuple[range, ...], on_draft: OnDraft | None
    ) -> None:
        self._anchors = anchors
        self._unspelled = unspelled
        self._on_draft = on_draft
        self._done: list[tuple[Tensor, Tensor]] = []
        self._tokens_SC: list[Tensor] = []
        self._probabilities_SC: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores_1CV: Tensor, cur_step: Any) -> Tensor:
        """Allow nothing but the anchor at its position, before temperature and choice."""
        if faults(scores_1CV).isnan().any():
            raise NotFiniteError
        if self._unspelled:
            scores_1CV = scores_1CV.clone()
        for run in self._unspelled:
            scores_1CV[..., run.start : run.stop] = -torch.inf
        if self._anchors and not self._done:
            position = torch.tensor(list(self._anchors), device=scores_1CV.device)
            token = torch.tensor(list(self._anchors.values()), device=scores_1CV.device)
            scores_1CV = scores_1CV.clone()
            scores_1CV[:, position] = -torch.inf
            scores_1CV[:, position, token] = 0.0
        best_C = (scores_1CV.amax(-1) - scores_1CV.logsumexp(-1))[0].exp()
        self._probabilities_SC.append(best_C.float().cpu())
        return scores_1CV

    def put_draft(self, value: Tensor) -> None:
        """Note the best guess of the canvas after a step."""
        self._tokens_SC.append(value[0])
        if self._on_draft is not None:
            before = [token for tokens_SC, _ in self._done for token in tokens_SC[-1].tolist()]
            steps = sum(len(tokens_SC) for tokens_SC, _ in self._done) + len(self._tokens_SC)
            self._on_draft(steps - 1, before + value[0].tolist())

    def put(self, value: Tensor) -> None:
        """Close the canvas; the call before any step hands over the prompt."""
        if self._tokens_SC:
            self._done.append((torch.stack(self._tokens_SC), torch.stack(self._probabilities_SC)))
            self._tokens_SC, self._probabilities_SC = [], []

    def end(self) -> None:
        """Nothing is left to flush."""

    def response(self) -> UniformResponse:
        """All canvases in one."""
        response = UniformResponse([], [], [], sum(len(tokens_SC) for tokens_SC, _ in self._done))
        before = 0
        for tokens_SC, probabilities_SC in self._done:
            settled_C = _settled(tokens_SC)
            response.tokens.extend(tokens_SC[-1].tolist())
            response.steps.extend((before + settled_C).tolist())
            response.confidences.extend(probabilities_SC.gather(0, settled_C[None])[0].tolist())
            before += len(tokens_SC)
        return response


def _settled(tokens_SC: Tensor) -> Tensor:
    """The step from which on each position's token is the last one, [C]."""
    other_SC = tokens_SC != tokens_SC[-1]
    step_S1 = torch.arange(1, len(tokens_SC) + 1)[:, None]
    return (other_SC * step_S1).amax(0)
