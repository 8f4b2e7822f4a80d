"""Loading: from a spec to a `DiffusionLM`, with everything checked before weights are read."""

import hashlib
import importlib.util
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.core_model_loading import revert_weight_conversion

from midspan.errors import MidspanError
from midspan.models.adapters import (
    Adapter,
    apply_adapter,
    check_adapter,
    combine_fingerprint,
    read_adapter,
)
from midspan.models.checkpoint import (
    HUB_ID,
    TensorFile,
    compare_shapes,
    read_json,
    read_weights,
    resolve_folder,
    weights_digest,
)
from midspan.models.family import Family, SpecialTokens, family_for
from midspan.models.model import DiffusionLM
from midspan.models.native import empty_model
from midspan.models.tokens import special_tokens

Resolver = Callable[[str], tuple[str | Path, str | Path | None]]
Quantization = Literal["4bit", "8bit"]

# Functions are named, not imported: this room knows no model that ships with midspan.
_ALIASES: dict[str, Resolver | str] = {"organism": "midspan.organism.weights:resolve"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def register_alias(prefix: str, resolver: Resolver | str) -> None:
    """Let `prefix` and `prefix:ANYTHING` name models.

    Args:
        prefix: The name, without a colon.
        resolver: From the whole name to a model folder and an adapter folder or None; as
            ``"module:function"``, which is imported when the name is first loaded.
    """
    _ALIASES[prefix] = resolver


def _resolver(name: str) -> Resolver | None:
    """The resolver of a registered name; None for a folder or a hub id."""
    resolver = _ALIASES.get(name.partition(":")[0])
    if isinstance(resolver, str):
        module, _, function = resolver.partition(":")
        return getattr(import_module(module), function)
    return resolver


class Source(NamedTuple):
    """Where a model and its adapter come from."""

    base: str | Path
    adapter: str | Path | None


def parse_spec(spec: str | Path, adapter: str | Path | None = None) -> Source:
    """Split "BASE+ADAPTER" and resolve registered names.

    Args:
        spec: A folder, a hub id, a registered name, or one of these + an adapter.
        adapter: An adapter given apart.

    Raises:
        MidspanError: If there is more than one adapter.
    """
    base, _, right = str(spec).rpartition("+")
    looks_like_adapter = right.startswith(("./", "../", "/", "~")) or bool(HUB_ID.fullmatch(right))
    looks_like_adapter |= bool(right) and Path(right).is_dir()
    split = base and looks_like_adapter and not Path(spec).is_dir()
    name, named = (base, right) if split else (str(spec), None)
    resolver = None if Path(name).is_dir() else _resolver(name)
    folder, implied = resolver(name) if resolver else (name, None)
    adapters = [one for one in (adapter, named, implied) if one is not None]
    if len(adapters) > 1:
        raise MidspanError(f"{spec} has more than one adapter: {', '.join(map(str, adapters))}")
    return Source(folder, adapters[0] if adapters else None)


def load(
    spec: str | Path,
    *,
    adapter: str | Path | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    device_map: str | dict[str, Any] | None = None,
    quantization: Quantization | None = None,
) -> DiffusionLM:
    """Load a model, its tokenizer and possibly an adapter.

    Examples:
        >>> lm = midspan.load("organism")
        >>> aligned = midspan.load("GSAI-ML/LLaDA-8B-Instruct", adapter="adapters/mosa")

    Args:
        spec: A folder, a hub id, a registered name such as "organism", or "BASE+ADAPTER".
        adapter: A PEFT adapter, as a folder or hub id.
        dtype: Number format of the weights; "auto" takes the checkpoint's.
        device: Where the model goes; by default the first GPU, or else the CPU.
        device_map: accelerate's placement over several devices, instead of `device`.
        quantization: Load the linear layers in 4 bits (nf4) or 8 bits with bitsandbytes.

    Raises:
        MidspanError: One line saying what is missing or does not fit, before weights are read.
    """
    source = parse_spec(spec, adapter)
    folder = resolve_folder(source.base)
    checkpoint = _check_folder(folder)
    plan = _plan_adapter(source, checkpoint.family, checkpoint.config)
    placement = _placement(dtype, device, device_map, quantization)
    model = _load_weights(folder, checkpoint.family, checkpoint.config, placement)
    # Adapters trained from here name their base by it; a cache folder would mean nothing elsewhere.
    model.name_or_path = str(source.base)
    fingerprint = _fingerprint(checkpoint.files, model, quantization)
    longest = checkpoint.config.get_text_config().max_position_embeddings
    return DiffusionLM(
        model=apply_adapter(model, plan) if plan else model.eval(),
        tokenizer=checkpoint.tokenizer,
        family=checkpoint.family,
        tokens=checkpoint.tokens,
        name=str(spec) if adapter is None else f"{spec}+{adapter}",
        max_length=min(checkpoint.family.max_length, longest),
        fingerprint=combine_fingerprint(fingerprint, plan) if plan else fingerprint,
    )


def check_spec(spec: str | Path, *, adapter: str | Path | None = None) -> Family:
    """All that `load` checks before it reads weights; returns the model's family.

    Raises:
        MidspanError: One line saying what is missing or does not fit.
    """
    source = parse_spec(spec, adapter)
    checkpoint = _check_folder(resolve_folder(source.base))
    _plan_adapter(source, checkpoint.family, checkpoint.config)
    return checkpoint.family


class _Checkpoint(NamedTuple):
    """A folder that was found whole, read but for its weights."""

    family: Family
    config: Any
    tokenizer: PreTrainedTokenizerFast
    tokens: SpecialTokens
    files: list[TensorFile]


def _check_folder(folder: Path) -> _Checkpoint:
    config = _load_config(folder)
    # Two families may share a published model type; the config knows which one it is.
    family = family_for(config.model_type)
    tokenizer = _load_tokenizer(folder, family)
    tokens = special_tokens(tokenizer, config, family)
    files = read_weights(folder)
    check_weights(files, family, config)
    return _Checkpoint(family, config, tokenizer, tokens, files)


def _plan_adapter(source: Source, family: Family, config: Any) -> Adapter | None:
    if source.adapter is None:
        return None
    plan = read_adapter(source.adapter, family.model_class, str(source.base))
    check_adapter(plan, empty_model(family.model_class, config))
    return plan


def _load_config(folder: Path) -> Any:
    family = family_for(str(read_json(folder / "config.json").get("model_type")))
    try:
        return family.config_class.from_pretrained(folder)
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())
        raise MidspanError(f"{folder / 'config.json'}: {reason}") from error


def _load_weights(folder: Path, family: Family, config: Any, placement: dict[str, Any]) -> Any:
    model, info = family.model_class.from_pretrained(
        folder, config=config, output_loading_info=True, **placement
    )
    if info["missing_keys"] or info["mismatched_keys"]:
        raise MidspanError(f"{folder}: weights did not load in full: {info['missing_keys']}")
    return model


def _load_tokenizer(folder: Path, family: Family) -> PreTrainedTokenizerFast:
    if not any((folder / name).exists() for name in _TOKENIZER_FILES):
        raise MidspanError(f"no tokenizer in {folder}: it needs {' or '.join(_TOKENIZER_FILES)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MidspanError(f"the tokenizer in {folder} does not load: {reason}") from error
    if not tokenizer.is_fast:
        raise MidspanError(f"the tokenizer in {folder} is not a fast tokenizer (tokenizer.json)")
    tokenizer.padding_side = "left"
    # Published tokenizers leave out the mask, or name another pad than their config.
    vocabulary, table = tokenizer.get_vocab(), family.special_tokens
    if table.pad.text in vocabulary:
        tokenizer.pad_token = table.pad.text
    if table.mask is not None and table.mask.text in vocabulary:
        tokenizer.mask_token = table.mask.text
    return tokenizer


def check_weights(files: list[TensorFile], family: Family, config: Any) -> None:
    """Check names and shapes of all tensors against the model that the config describes.

    Raises:
        MidspanError: Naming a missing, superfluous or wrongly shaped tensor.
    """
    stored = {key: shape for file in files for key, shape in file.shapes.items()}
    model = empty_model(family.model_class, config)
    native = model.state_dict()
    published = revert_weight_conversion(model, native)
    # Names of merged tensors tell a folder saved in native format.
    is_native = bool(stored.keys() & (native.keys() - published.keys()))
    expected = native if is_native else published
    for tied in model.all_tied_weights_keys:
        for key in (tied,) if is_native else revert_weight_conversion(model, {tied: native[tied]}):
            stored.setdefault(key, tuple(expected[key].shape))
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    compare_shapes(stored, shapes, f"weights in {files[0].path.parent}")


def _placement(
    dtype: str | torch.dtype,
    device: str | torch.device | None,
    device_map: str | dict[str, Any] | None,
    quantization: Quantization | None,
) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained` for number format and devices."""
    if device is not None and device_map is not None:
        raise MidspanError("give device or device_map, not both")
    if device_map is None:
        device_map = {"": str(device or ("cuda" if torch.cuda.is_available() else "cpu"))}
    arguments: dict[str, Any] = {"dtype": dtype, "device_map": device_map}
    if quantization is None:
        return arguments
    if quantization not in ("4bit", "8bit"):
        raise MidspanError(f"quantization must be '4bit' or '8bit', not {quantization!r}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MidspanError("quantization needs bitsandbytes: pip install midspan[quantization]")
    from transformers import BitsAndBytesConfig

    four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    if isinstance(dtype, torch.dtype):
        four["bnb_4bit_compute_dtype"] = dtype
    chosen = four if quantization == "4bit" else {"load_in_8bit": True}
    return {**arguments, "quantization_config": BitsAndBytesConfig(**chosen)}


def _fingerprint(files: list[TensorFile], model: Any, quantization: Quantization | None) -> str:
    """Hash what decides the logits: weights, rotary base and precision, number format."""
    rope = sorted(model.config.get_text_config().rope_parameters.items())
    parts = [weights_digest(files), repr(rope), str(model.dtype), str(quantization)]
    if not getattr(model.config, "rope_full_precision", True):
        parts.append("rope in the model's precision")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
