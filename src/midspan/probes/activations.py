"""Whether harmful and benign requests are linearly separable inside a model, and where.

The authors' future work: by layer, by position relative to the response, and by decoding step. The
state of a step is rebuilt from the trace of a response: what was committed before it is shown, the
rest masked. Accuracy is cross-validated by group, so that nothing asked about is on both sides,
beside the same with labels dealt to groups at random. Under another model the same classifier is
also asked, so that it shows whether alignment moved what it reads.
Shapes: N requests, Y layers with the embeddings first, S positions, D hidden width, T sequence.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from midspan.errors import MidspanError
from midspan.probes.context import ProbeConfig, ProbeCost, ProbeData
from midspan.probes.linear import balanced_accuracy, folds, held_out_decisions
from midspan.probes.local import LocalContext

if TYPE_CHECKING:
    from midspan.decoding import Generation, Request
    from midspan.models import DiffusionLM

RESPONSE_MEAN = "mean of the response"
_NOTHING = 1e-6


class ActivationsConfig(ProbeConfig):
    """Where activations are read, and how they are classified.

    Attributes:
        positions: Relative to the response's first token: -1 is the prompt's last. The mean over
            the whole response is always read too.
        progress: Shares of the decoding steps after which the canvas is read; 0 is fully masked,
            later states differ in the very words that they show.
        layers: At most so many layers, evenly spread, first and last included.
        num_folds: Folds of the cross-validation.
        shuffles: Deals of random labels.
        penalty: Ridge penalty, in units of the mean squared norm of a sample.
        seed: Seed of folds and deals.
    """

    positions: tuple[int, ...] = (-1, 0, 20, 40, 80)
    progress: tuple[float, ...] = (0.0, 0.25, 0.5)
    layers: int = Field(9, ge=2)
    num_folds: int = Field(6, ge=2)
    shuffles: int = Field(10, ge=1)
    penalty: float = Field(0.1, gt=0)
    seed: int = 0


@dataclass
class Activations:
    """The probe; it keeps the first model's activations to compare the others with."""

    reference: dict[tuple[str, float], Tensor] = field(default_factory=dict)

    def __call__(
        self, context: LocalContext, data: ProbeData, config: ActivationsConfig
    ) -> list[dict[str, Any]]:
        """One record a decoding, step, layer and position.

        Raises:
            MidspanError: If there are too few groups for the folds, or a position is outside the
                canvas.
        """
        labels = SeparationLabels.of(data, config)
        is_first = not self.reference
        layers = chosen_layers(context.lm, config.layers)
        requests = [context.encode(request.prompt) for request in data.requests]
        records = []
        for name, decoding in context.decodings.items():
            _check_positions(config.positions, decoding.length)
            generations = context.generate(requests, decoding)
            for share in config.progress:
                step = round(share * decoding.steps)
                canvases = [
                    shown_at(generation, step, context.lm.tokens.mask) for generation in generations
                ]
                features = read_states(context, requests, canvases, (layers, config.positions))
                if is_first:
                    self.reference[name, share] = features
                labels_of_all = {
                    "model": context.model,
                    "decoding": name,
                    "settings": decoding.model_dump(mode="json"),
                    "progress": share,
                }
                learned = None if is_first else self.reference.get((name, share))
                records += [
                    {**labels_of_all, **cell}
                    for cell in _cells(features, learned, layers, labels, config)
                ]
        return records


def cost(data: ProbeData, config: ActivationsConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a request, in every canvas, then one forward for each share of its steps.

    Args:
        data: What is asked.
        config: Where activations are read.
        lengths: Of the canvas of each decoding.
    """
    return ProbeCost(
        len({request.prompt for request in data.requests}) * len(lengths),
        forwards=len(data.requests) * len(config.progress) * len(lengths),
    )


def check_groups(data: ProbeData, config: ActivationsConfig, length: int | None) -> None:
    """Refuse requests that do not fill the folds, on a canvas of any length.

    Raises:
        MidspanError: If there are too few groups for the folds.
    """
    per_label = [len({request.group for request in part}) for part in (data.harmful, data.benign)]
    if min(per_label) < config.num_folds:
        raise MidspanError(
            f"num_folds={config.num_folds}: there are {per_label[0]} harmful and "
            f"{per_label[1]} benign groups; ask for more, or lower num_folds"
        )


@dataclass(frozen=True)
class SeparationLabels:
    """What is to be told apart, and in which folds; `permuted` are the same for random labels."""

    harmful: list[bool]
    fold: list[int]
    permuted: list[tuple[list[bool], list[int]]]

    @classmethod
    def of(cls, data: ProbeData, config: ActivationsConfig) -> "SeparationLabels":
        """Labels of the requests.

        Raises:
            MidspanError: If there are too few groups for the folds.
        """
        groups = [request.group for request in data.requests]
        harmful = [request.harmful for request in data.requests]
        check_groups(data, config, None)
        label_of = dict(zip(groups, harmful, strict=True))
        permuted = []
        for number in range(config.shuffles):
            values = list(label_of.values())
            random.Random(f"{config.seed}/{number}").shuffle(values)
            random_label = dict(zip(label_of, values, strict=True))
            labels = [random_label[group] for group in groups]
            permuted.append((labels, folds(groups, labels, config.num_folds, number)))
        return cls(harmful, folds(groups, harmful, config.num_folds, config.seed), permuted)


def _check_positions(positions: Sequence[int], length: int) -> None:
    outside = [position for position in positions if not -1 <= position < length]
    if outside:
        raise MidspanError(f"positions: {outside[0]} is outside -1..{length - 1}")


def chosen_layers(lm: "DiffusionLM", most: int) -> list[int]:
    """Evenly spread layers; 0 are the embeddings."""
    last = len(lm.base.model.layers)
    return sorted({round(last * index / (most - 1)) for index in range(most)})


def shown_at(generation: "Generation", step: int, mask: int | None) -> list[int]:
    """The canvas before a step: what was committed earlier, mask tokens elsewhere."""
    if mask is None:
        raise MidspanError("model: there is no mask token, so no partly filled canvas to read")
    canvas = [mask] * len(generation.tokens)
    trace = generation.trace
    for position, token, when in zip(trace.position, trace.token, trace.step, strict=True):
        if when < step:
            canvas[position] = int(token)
    return canvas


@torch.no_grad()
def read_states(
    context: LocalContext,
    requests: "Sequence[Request]",
    canvases: Sequence[Sequence[int]],
    where: tuple[Sequence[int], Sequence[int]],
) -> Tensor:
    """Activations of prompts with canvases, [N, Y, S, D]; the last position is the mean.

    Args:
        context: The model.
        requests: The prompts.
        canvases: One a prompt, all of one length.
        where: Layers, and positions relative to the canvas.
    """
    from midspan.models.padding import left_padded
    from midspan.models.states import captured

    lm, (layers, positions) = context.lm, where
    read = []
    for first in range(0, len(requests), context.batch_size):
        prompts = [r.prompt_ids for r in requests[first : first + context.batch_size]]
        width = max(map(len, prompts))
        rows = zip(prompts, canvases[first : first + context.batch_size], strict=True)
        ids = [(*prompt, *canvas) for prompt, canvas in rows]
        with captured(lm, layers, _at([width + p for p in positions], width)) as taken:
            lm.hidden(*left_padded(ids, lm.tokens.pad, lm.device), canvas=width)
        read.append(torch.stack([taken[layer] for layer in layers], dim=1))
    return torch.cat(read)


def _at(columns: Sequence[int], width: int) -> Callable[[Tensor], Tensor]:
    """What is kept of a layer: states at places, and their mean over the canvas."""

    def keep(states_NTD: Tensor) -> Tensor:
        states_NTD = states_NTD.float()
        mean_N1D = states_NTD[:, width:].mean(1, keepdim=True)
        return torch.cat([states_NTD[:, list(columns)], mean_N1D], 1).cpu()

    return keep


def _cells(
    features_NYSD: Tensor,
    reference_NYSD: Tensor | None,
    layers: Sequence[int],
    labels: SeparationLabels,
    config: ActivationsConfig,
) -> Iterator[dict[str, Any]]:
    for position_index, position in enumerate([*config.positions, RESPONSE_MEAN]):
        for layer_index, layer in enumerate(layers):
            x_ND = features_NYSD[:, layer_index, position_index]
            own = held_out_decisions(x_ND, x_ND, labels.harmful, labels.fold, config.penalty)
            record = {
                "layer": layer,
                "position": position,
                "n": len(own),
                "correct": sum(d is y for d, y in zip(own, labels.harmful, strict=True)),
                "balanced": balanced_accuracy(own, labels.harmful),
                "permuted_accuracy": [
                    balanced_accuracy(
                        held_out_decisions(x_ND, x_ND, random_labels, fold, config.penalty),
                        random_labels,
                    )
                    for random_labels, fold in labels.permuted
                ],
            }
            if reference_NYSD is not None:
                learned_ND = reference_NYSD[:, layer_index, position_index]
                transferred = held_out_decisions(
                    learned_ND, x_ND, labels.harmful, labels.fold, config.penalty
                )
                record["transferred_accuracy"] = balanced_accuracy(transferred, labels.harmful)
                record["cosine"] = _cosine(learned_ND, x_ND, labels.harmful)
            yield record


def _cosine(one_ND: Tensor, two_ND: Tensor, harmful: Sequence[bool]) -> float | None:
    """Between the two models' differences of mean activations; None where one has none."""
    harmful_N = torch.tensor(harmful)
    first_D, second_D = (
        (x[harmful_N].mean(0) - x[~harmful_N].mean(0)).double() for x in (one_ND, two_ND)
    )
    if min(first_D.norm(), second_D.norm()) < _NOTHING:
        return None
    return float(torch.cosine_similarity(first_D, second_D, dim=0))
