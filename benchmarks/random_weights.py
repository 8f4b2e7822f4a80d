"""LLaDA models with random weights, for what does not depend on the weights' values."""

import torch

from midspan.models import DiffusionLM
from midspan.models.family import SpecialTokens
from midspan.models.llada import LLADA, LladaConfig, LladaForMaskedDiffusion

CONTEXT = 4096
HEAD_SIZE = 64


def random_llada(
    sizes: dict[str, int], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> DiffusionLM:
    """A model of seed 0; its special tokens are the last three of the vocabulary.

    Args:
        sizes: Fields of the configuration, such as :func:`trunk` gives.
        device: Where the weights are made.
        dtype: What they are made in.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        config = LladaConfig(max_position_embeddings=CONTEXT, **sizes)
        model = LladaForMaskedDiffusion(config).eval()
    torch.set_default_dtype(torch.float32)
    last = sizes["vocab_size"] - 1
    tokens = SpecialTokens(mask=last, bos=last - 1, eos=last - 2, eot=None, pad=last - 2)
    return DiffusionLM(model, None, LLADA, tokens, "random", CONTEXT, "")


def trunk(layers: int, hidden: int, mlp: int, vocabulary: int) -> dict[str, int]:
    """A configuration with attention heads of 64."""
    heads = max(1, hidden // HEAD_SIZE)
    return {
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": mlp,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
    }  # fmt: skip
