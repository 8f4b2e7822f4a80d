"""The network of both organisms, as LLaDA's published checkpoints state theirs."""

from typing import Any, Protocol

ROPE_THETA = 10000.0


class Shape(Protocol):
    """Sizes of a network; a training's configuration has them."""

    @property
    def hidden_size(self) -> int:
        """Width."""

    @property
    def layers(self) -> int:
        """Blocks."""

    @property
    def heads(self) -> int:
        """Attention heads of a block."""

    @property
    def mlp_size(self) -> int:
        """Width of a block's feed-forward part."""


def llada_config(shape: Shape, vocabulary: int, mask: int, positions: int) -> dict[str, Any]:
    """The checkpoint's ``config.json`` in LLaDA's published format.

    Args:
        shape: The sizes.
        vocabulary: Tokens.
        mask: Id of the mask token; the end-of-text token is 0.
        positions: The longest sequence.
    """
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "block_type": "llama",
        "layer_norm_type": "rms",
        "rms_norm_eps": 1e-5,
        "rope": True,
        "rope_theta": ROPE_THETA,
        "weight_tying": False,
        "include_bias": False,
        "include_qkv_bias": False,
        "d_model": shape.hidden_size,
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "n_kv_heads": shape.heads,
        "mlp_hidden_size": shape.mlp_size,
        "max_sequence_length": positions,
        "vocab_size": vocabulary,
        "embedding_size": vocabulary,
        "mask_token_id": mask,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }
