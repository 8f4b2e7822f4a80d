"""A loaded diffusion language model: its network, its tokenizer and what its family says."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.attention import block_attention
from midspan.models.family import Family, SpecialTokens
from midspan.models.head import PredictionHeadMixin
from midspan.models.text import TextModel
from midspan.models.trunk import lean_states

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


# Between a fingerprint and the blocks that `dataclasses.replace` gave.
_BLOCKS = "-blocks-"


@dataclass
class DiffusionLM(TextModel):
    """Everything that the rest of midspan needs of a model.

    Shapes: B batch rows, T positions, Q positions given to a forward (T, or a window of them),
    R wanted positions, D hidden width, V vocabulary.

    Attributes:
        model: The native model, or a `PeftModel` around it.
        tokenizer: Its tokenizer, padding on the left.
        family: What its family says.
        tokens: Special token ids.
        name: The spec it was loaded from.
        max_length: Positions that prompt and response may take together.
        fingerprint: A short hash of weights, adapter and number format; it ends in the blocks
            where these are not what the config says.
        block_length: Tokens of an attention block; None for full attention. By default what the
            config says; `dataclasses.replace` gives the same weights under another length.
    """

    model: Any
    tokenizer: "PreTrainedTokenizerFast"
    family: Family
    tokens: SpecialTokens
    name: str
    max_length: int
    fingerprint: str
    block_length: int | None = None

    def __post_init__(self) -> None:
        """Take the attention's block length from the config, or else from the family."""
        is_full = self.family.attention == "full"
        usual = None if is_full else self.family.block_length
        stated = getattr(self.base.config, "block_size", usual)
        if is_full:
            self.block_length = None
        elif self.block_length is None:
            self.block_length = stated or usual
        # Weights under other blocks answer otherwise; the suffix of a copy's copy is its own.
        self.fingerprint = self.fingerprint.partition(_BLOCKS)[0]
        if self.block_length != stated:
            self.fingerprint += f"{_BLOCKS}{self.block_length}"

    @property
    def base(self) -> Any:
        """The native model, with adapter layers where an adapter is attached."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> torch.device:
        """The device on which the input ids are wanted."""
        embedding = self.base.get_input_embeddings()
        # Weights offloaded by accelerate rest on the meta device between calls.
        hook = getattr(embedding, "_hf_hook", None)
        execution_device = getattr(hook, "execution_device", None)
        return (
            embedding.weight.device if execution_device is None else torch.device(execution_device)
        )

    def hidden(
        self,
        input_ids_BQ: Tensor,
        attention_mask_BT: Tensor | None = None,
        first: int | Tensor = 0,
        cache: Any = None,
        canvas: int | Tensor | None = None,
    ) -> Tensor:
        """Hidden states that the output layer takes, [B, Q, D]: after the final norm.

        Args:
            input_ids_BQ: Token ids, left padded; or a window of them, where a cache has the rest.
            attention_mask_BT: 1 at real positions of the whole batch, or of what a cache shows;
                None where nothing is padded.
            first: Position of the window's first id; or its column in each row, [B, 1], where the
                cache says what queries see, and positions count from a row's first real token.
            cache: Where keys and values come from and go, a transformers `Cache`.
            canvas: Column of the canvas's first token, [B] where rows differ. Families whose blocks
                are counted from there need it to see what the decoder shows them; without it
                their blocks count from a row's first real token, as in their training.

        Raises:
            MidspanError: If the family's logits are not a function of one sequence of ids.
        """
        if self.family.noise == "uniform":
            raise MidspanError(
                f"family {self.family.name} has no logits of a masked sequence: a causal encoder "
                "reads the prompt and a decoder conditioned on its last guess the canvas"
            )
        mask = attention_mask_BT
        if self.block_length is not None:
            mask = self._block_mask(input_ids_BQ, mask, first, cache, canvas)
        position_ids = self._position_ids(input_ids_BQ, attention_mask_BT, first)
        hidden_BQD = lean_states(self.base, input_ids_BQ, mask, position_ids, cache)
        if hidden_BQD is not None:
            return hidden_BQD
        caches = {"past_key_values": cache} if self.family.caches else {}
        output = self.base.model(
            input_ids=input_ids_BQ, attention_mask=mask, position_ids=position_ids, **caches
        )
        hidden_BQD = output.last_hidden_state
        if isinstance(self.base, PredictionHeadMixin):
            return self.base.output_states(hidden_BQD)
        return hidden_BQD

    def _block_mask(
        self,
        input_ids_BQ: Tensor,
        attention_mask_BT: Tensor | None,
        first: int | Tensor,
        cache: Any,
        canvas: int | Tensor | None,
    ) -> Tensor:
        """What each position of a window sees under block-causal attention."""
        batch, num_queries = input_ids_BQ.shape
        queries: int | Tensor = num_queries
        if isinstance(first, int):
            last = first + num_queries
        else:
            queries = first + torch.arange(num_queries, device=input_ids_BQ.device)
            last = cache.layers[0].get_mask_sizes(num_queries)[0]
        # Later blocks are not seen, and need not be in the mask.
        real_BT = input_ids_BQ.new_ones(batch, last)
        if attention_mask_BT is not None:
            real_BT = attention_mask_BT[:, :last]
        border = canvas if self.family.blocks_from == "canvas" else None
        assert self.block_length is not None
        return block_attention(self.base, real_BT, self.block_length, queries, border)

    def _position_ids(
        self, input_ids_BQ: Tensor, attention_mask_BT: Tensor | None, first: int | Tensor
    ) -> Tensor | None:
        """Position ids of a window, [B or 1, Q], as the family counts; None for 0, 1, 2, ..."""
        if isinstance(first, Tensor):
            column_BQ = first + torch.arange(input_ids_BQ.shape[1], device=first.device)
            if attention_mask_BT is None:
                return column_BQ
            return (column_BQ - attention_mask_BT.argmax(1, keepdim=True)).clamp(min=0)
        last = first + input_ids_BQ.shape[1]
        if self.family.cumulative_positions and attention_mask_BT is not None:
            position_BT = attention_mask_BT.long().cumsum(-1) - 1
            return position_BT.masked_fill(attention_mask_BT == 0, 1)[:, first:last]
        return torch.arange(first, last, device=input_ids_BQ.device)[None] if first else None

    def head(self, hidden_ND: Tensor) -> Tensor:
        """Raw logits of hidden states, [..., D] -> [..., V]; the logit shift is not applied."""
        return self.base.lm_head(hidden_ND)

    def logits(
        self,
        input_ids_BQ: Tensor,
        attention_mask_BT: Tensor | None = None,
        rows: Tensor | None = None,
        first: int | Tensor = 0,
        cache: Any = None,
        canvas: int | Tensor | None = None,
    ) -> Tensor:
        """Aligned logits: row i predicts position i, whatever the family's shift.

        Args:
            input_ids_BQ: See `hidden`.
            attention_mask_BT: See `hidden`.
            rows: Wanted positions, counted from the batch's first column, [R] or [B, R]; only
                these go through the head. Without them, all of the ids given.
            first: See `hidden`. With a logit shift, a window begins one position early.
            cache: See `hidden`.
            canvas: See `hidden`.

        Returns:
            [B, Q, V], or [B, R, V] where rows are given, on the device of the ids.
        """
        hidden_BQD = self.hidden(input_ids_BQ, attention_mask_BT, first, cache, canvas)
        if rows is None and not self.family.logit_shift:
            return self.head(hidden_BQD).to(input_ids_BQ.device)
        batch, length, width = hidden_BQD.shape
        if rows is None:
            rows = first + torch.arange(length, device=input_ids_BQ.device)
        index_BR = rows.to(hidden_BQD.device).expand(batch, -1) - int(self.family.logit_shift)
        index_BR = index_BR.clamp(min=0) - torch.as_tensor(first, device=index_BR.device)
        wanted_BRD = hidden_BQD.gather(1, index_BR[..., None].expand(-1, -1, width))
        return self.head(wanted_BRD).to(input_ids_BQ.device)

    def compile(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Let `torch.compile` fuse what lies between the large products, in place.

        That is norms and dense feed-forward blocks: one graph each for all layers and shapes.
        Attention stays as it is, since what a cache shows changes with every block, and so do
        experts. The first forward takes longer, and results differ by rounding.

        Args:
            backend: Of `torch.compile`.

        Raises:
            MidspanError: If the family's sampler is not midspan's.
        """
        if self.family.noise == "uniform":
            raise MidspanError(f"family {self.family.name} is not compiled here")
        parts = dict(self.base.model.named_children())
        compiled = [part for name, part in parts.items() if name in ("norm", "final_norm")]
        for layer in parts["layers"]:
            names = layer.named_children()
            compiled += [part for name, part in names if name not in ("self_attn", "attn")]
        for part in compiled:
            if not hasattr(part, "experts"):
                part.compile(dynamic=True, backend=backend)

    def merge_adapter(self) -> None:
        """Add the adapter, if there is one, to the weights for the time being, in place.

        A forward of a small model takes a third less time; results differ by rounding. Half
        precision and quantised weights would lose some of the adapter, a weight that two layers
        share would carry it into both: these are left as they are.
        """
        if self._can_merge and not any(layer.merged for layer in self.adapted_layers()):
            self.model.merge_adapter()

    @contextmanager
    def adapter_merged(self) -> Iterator[None]:
        """Within the context the adapter is merged as `merge_adapter` does it.

        Afterwards every weight is as it was, to the bit: subtracting the adapter would leave
        rounding behind, so the weights that it changes are kept meanwhile. An adapter that was
        merged before stays so.
        """
        layers = self.adapted_layers() if self._can_merge else []
        if not layers or any(layer.merged for layer in layers):
            yield
            return
        weights = [weight for layer in layers for weight in layer.get_base_layer().parameters()]
        before = [weight.detach().clone() for weight in weights]
        self.merge_adapter()
        try:
            yield
        finally:
            for layer in layers:
                if layer.merged:
                    layer.unmerge()
            with torch.no_grad():
                for weight, old in zip(weights, before, strict=True):
                    weight.copy_(old)

    @property
    def _can_merge(self) -> bool:
        whole = self.base.dtype == torch.float32 and not getattr(self.base, "is_quantized", False)
        return whole and hasattr(self.model, "merge_adapter") and not self.shares_adapted_weights

    @property
    def shares_adapted_weights(self) -> bool:
        """Whether a weight under the adapter is another layer's too, as of a head that is tied."""
        holders = Counter(
            id(weight)
            for module in self.base.modules()
            for weight in module.parameters(recurse=False)
        )
        bases = [layer.get_base_layer() for layer in self.adapted_layers()]
        return any(holders[id(weight)] > 1 for base in bases for weight in base.parameters())

    def adapted_layers(self) -> list[Any]:
        """Layers that carry weights of an adapter."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        return [layer for layer in self.model.modules() if isinstance(layer, BaseTunerLayer)]

    @contextmanager
    def adapter_disabled(self) -> Iterator[None]:
        """Within the context the adapter, if there is one, has no effect."""
        if not hasattr(self.model, "disable_adapter"):
            yield
            return
        # `PeftModel.disable_adapter` asks every parameter for its state first, in each step.
        tuner: Any = self.model.base_model
        tuner.disable_adapter_layers()
        try:
            yield
        finally:
            tuner.enable_adapter_layers()
