"""Where a model's weights go and in which form: devices, launchers, number formats, attention."""

import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import torch
from accelerate.utils import parse_flag_from_env

from midspan.errors import MidspanError, not_one_of
from midspan.models.attention import MASKED
from midspan.models.family import Family

Quantization = Literal["4bit", "8bit"]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
# accelerate's placements over all GPUs that a process sees.
_SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
# What transformers computes attention with, and the package that it takes.
_ATTENTION = {
    "sdpa": None,
    "eager": None,
    "flex_attention": None,
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn",
}


class WeightOptions(TypedDict, total=False):
    """Keyword arguments of `load` that `WeightFormat` explains."""

    dtype: str | torch.dtype
    quantization: Quantization | None
    attn_implementation: str | None


@dataclass(frozen=True)
class WeightFormat:
    """In which form weights are held, and what reads them.

    Attributes:
        dtype: Number format of the weights; "auto" takes the checkpoint's.
        quantization: Linear layers in 4 bits (nf4) or 8 bits with bitsandbytes.
        attn_implementation: transformers' attention: "sdpa", "eager", "flex_attention",
            "flash_attention_2", ...; None for "sdpa" where the family has it.
    """

    dtype: str | torch.dtype = "auto"
    quantization: Quantization | None = None
    attn_implementation: str | None = None


def own_device() -> torch.device:
    """The device that this process computes on: its own GPU under a launcher, or else the CPU.

    It also becomes the current device, for kernels and libraries that name none.

    Raises:
        MidspanError: The launcher started more processes on this machine than there are GPUs.
    """
    if parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available():
        return torch.device("cpu")
    rank, count = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    index = torch.cuda.current_device() if rank is None else int(rank)
    if index >= count:
        raise MidspanError(
            f"LOCAL_RANK={index}, but this machine shows {count} GPU(s): start at most as many "
            "processes on it (accelerate's --num_processes counts those of all machines)"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def is_sharded() -> bool:
    """Whether the launcher asked for FSDP, which accelerate does on GPUs alone."""
    return parse_flag_from_env("ACCELERATE_USE_FSDP") and own_device().type != "cpu"


def is_spread(model: Any) -> bool:
    """Whether accelerate placed a model's parts on several devices, or off them."""
    return len(set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))) > 1


def placement(
    device: str | torch.device | None, device_map: str | dict[str, Any] | None, form: WeightFormat
) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained`.

    Under FSDP the weights rest on the CPU until training shards them. Those that are stored as they
    are computed with are mapped from their files there, so a machine's processes share one copy.

    Raises:
        MidspanError: Naming an argument that does not fit.
    """
    if device is not None and device_map is not None:
        raise MidspanError("give device or device_map, not both")
    dtype = _number_format(form.dtype)
    arguments: dict[str, Any] = {"dtype": dtype, "device_map": device_map}
    if device_map is None:
        arguments["device_map"] = {"": _device(device, form)}
    elif device_map in _SPREADS and int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        raise MidspanError(
            f"device_map={device_map!r} spreads every process's model over the same GPUs: start "
            "one process a machine, or leave device_map out"
        )
    if form.attn_implementation is not None:
        arguments["attn_implementation"] = form.attn_implementation
    if form.quantization is not None:
        arguments["quantization_config"] = _quantized(form.quantization, dtype)
    return arguments


def check_attention(name: str | None, family: Family) -> None:
    """Check that an attention implementation is known, installed and fit for the family.

    Raises:
        MidspanError: Naming what is missing.
    """
    if name is None:
        return
    if name not in _ATTENTION:
        raise not_one_of("attn_implementation", name, _ATTENTION)
    package = _ATTENTION[name]
    if package is not None and importlib.util.find_spec(package) is None:
        raise MidspanError(
            f"attn_implementation={name!r} needs {package}, which is not installed; sdpa needs none"
        )
    if family.attention == "block_causal" and name not in MASKED:
        raise MidspanError(
            f"attn_implementation={name!r} takes no block-causal mask, which family {family.name} "
            f"needs; use {' or '.join(MASKED)}"
        )


def _device(device: str | torch.device | None, form: WeightFormat) -> str:
    try:
        asked = None if device is None else torch.device(device)
    except RuntimeError:
        raise MidspanError(f"device={device!r} is none; use cpu, cuda or cuda:N") from None
    if asked is not None and asked.type == "cuda":
        _check_gpu(asked)
    if asked not in (None, torch.device("cuda")):
        return str(device)
    if device is None and is_sharded():
        if form.quantization is not None:
            raise MidspanError(
                f"quantization={form.quantization!r} cannot be sharded by FSDP: accelerate launch "
                "--multi_gpu, or leave quantization out"
            )
        return "cpu"
    return str(own_device())


def _check_gpu(asked: torch.device) -> None:
    """Refuse a GPU where there is none; the launcher's CPU option alone stands above the name."""
    if not (torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU")):
        raise MidspanError(
            f"device='{asked}': torch finds no usable GPU here; leave device out for the CPU, or "
            "install a driver and a build of torch for CUDA"
        )


def _number_format(dtype: str | torch.dtype) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype) or dtype == "auto":
        return dtype
    if dtype not in _DTYPES:
        raise not_one_of("dtype", dtype, ("auto", *_DTYPES))
    return _DTYPES[dtype]


def _quantized(quantization: str, dtype: str | torch.dtype) -> Any:
    if quantization not in ("4bit", "8bit"):
        raise MidspanError(f"quantization must be '4bit' or '8bit', not {quantization!r}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MidspanError("quantization needs bitsandbytes: pip install 'midspan[quantization]'")
    from transformers import BitsAndBytesConfig

    four: dict[str, Any] = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    if isinstance(dtype, torch.dtype):
        four["bnb_4bit_compute_dtype"] = dtype
    chosen = four if quantization == "4bit" else {"load_in_8bit": True}
    return BitsAndBytesConfig(**chosen)
