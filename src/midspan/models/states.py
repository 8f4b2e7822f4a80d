"""Hidden states of layers, taken while a forward runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.head import PredictionHeadMixin

if TYPE_CHECKING:
    from midspan.models.model import DiffusionLM

# The states that the output layer takes, after the final norm.
FINAL = -1


def check_layers(lm: "DiffusionLM", layers: Sequence[int]) -> None:
    """Refuse layers that a model does not have.

    Raises:
        MidspanError: Naming the first of them.
    """
    last = len(lm.base.model.layers)
    for layer in layers:
        if not FINAL <= layer <= last:
            raise MidspanError(
                f"layers: {layer} must be one of 0 (embeddings) to {last}, or {FINAL} for what "
                "the output layer takes"
            )


@contextmanager
def captured(
    lm: "DiffusionLM",
    layers: Sequence[int],
    keep: Callable[[Tensor], Tensor] = lambda states_BQD: states_BQD,
) -> Iterator[dict[int, Tensor]]:
    """Within the context, a forward leaves the states of some layers, [B, Q, D] each.

    Shapes: B rows, Q positions given to the forward, D hidden width. A later forward's states
    replace those of an earlier one.

    Args:
        lm: The model.
        layers: 0 for the embeddings, i for the output of the i-th layer, `FINAL`.
        keep: What is kept of a layer's states.

    Raises:
        MidspanError: The model has no such layer.
    """
    check_layers(lm, layers)
    modules = [lm.base.get_input_embeddings(), *lm.base.model.layers]
    taken: dict[int, Tensor] = {}

    def taker(layer: int) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            if layer == FINAL:
                states_BQD = output.last_hidden_state
                if isinstance(lm.base, PredictionHeadMixin):
                    states_BQD = lm.base.output_states(states_BQD)
            else:
                states_BQD = output[0] if isinstance(output, tuple) else output
            taken[layer] = keep(states_BQD)

        return hook

    handles = [
        (lm.base.model if layer == FINAL else modules[layer]).register_forward_hook(taker(layer))
        for layer in layers
    ]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()
