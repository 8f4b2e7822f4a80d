"""Loading: from a spec to a `DiffusionLM`, with everything checked before weights are read."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.core_model_loading import revert_weight_conversion

from midspan.errors import MidspanError
from midspan.models.adapters import (
    Adapter,
    apply_adapter,
    check_adapter,
    combine_fingerprint,
    read_adapter,
)
from midspan.models.border import border, check_template, read_tokenizer
from midspan.models.checkpoint import (
    TensorFile,
    check_not_quantized,
    check_parts,
    compare_shapes,
    read_json,
    read_weights,
    resolve_folder,
)
from midspan.models.digest import fingerprint, unusual
from midspan.models.family import Family, SpecialTokens, family_for, family_of
from midspan.models.model import DiffusionLM
from midspan.models.native import empty_model
from midspan.models.placement import WeightFormat, WeightOptions, check_attention, placement
from midspan.models.sources import base_name, parse_spec
from midspan.models.tokens import name_special_tokens, special_tokens

_NAME_OF_BLOCKS = "bd3lm"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load(
    spec: str | Path,
    *,
    adapter: str | Path | None = None,
    device: str | torch.device | None = None,
    device_map: str | dict[str, Any] | None = None,
    **options: Unpack[WeightOptions],
) -> DiffusionLM:
    """Load a model, its tokenizer and possibly an adapter.

    Examples:
        >>> lm = midspan.load("organism")
        >>> aligned = midspan.load("GSAI-ML/LLaDA-8B-Instruct", adapter="adapters/mosa")

    Args:
        spec: A folder, a hub id, a registered name such as "organism", or "BASE+ADAPTER".
        adapter: A PEFT adapter, as a folder or hub id.
        device: Where the model goes; by default the process's own GPU, or else the CPU. Under
            FSDP the CPU, until training shards the weights.
        device_map: accelerate's placement over several devices, instead of `device`.
        **options: `dtype` ("auto" takes the checkpoint's), `quantization` ("4bit" is nf4, or
            "8bit"; with bitsandbytes), `attn_implementation` ("sdpa" by default, "eager",
            "flex_attention", "flash_attention_2", "flash_attention_3" or "flash_attention_4").

    Raises:
        MidspanError: One line saying what is missing or does not fit, before weights are read.
    """
    source = parse_spec(spec, adapter)
    folder = resolve_folder(source.base)
    checkpoint = _check_folder(folder, source.base)
    plan = _plan_adapter(source.adapter, base_name(spec), checkpoint)
    form = WeightFormat(**options)
    check_attention(form.attn_implementation, checkpoint.family)
    arguments = placement(device, device_map, form)
    model = _load_weights(folder, checkpoint.family, checkpoint.config, arguments)
    # Adapters trained from here name their base by it; a cache folder would mean nothing elsewhere.
    model.name_or_path = str(source.base)
    fingerprint = _fingerprint(checkpoint, model, form)
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
    checkpoint = _check_folder(resolve_folder(source.base), source.base)
    _plan_adapter(source.adapter, base_name(spec), checkpoint)
    return checkpoint.family


def stored_dtype(spec: str | Path) -> torch.dtype | None:
    """The number format that a checkpoint's config.json states, before any weight is read.

    Raises:
        MidspanError: There is no such checkpoint.
    """
    dtype = load_config(resolve_folder(parse_spec(spec).base)).get_text_config().dtype
    return dtype if isinstance(dtype, torch.dtype) else None


class _Checkpoint(NamedTuple):
    """A folder that was found whole, read but for its weights."""

    family: Family
    config: Any
    tokenizer: PreTrainedTokenizerFast
    tokens: SpecialTokens
    files: list[TensorFile]


def _check_folder(folder: Path, base: str | Path) -> _Checkpoint:
    config = load_config(folder)
    _choose_blocks(config, folder, base)
    # Families may share a published model type; the config knows which one it is.
    family = family_of(config)
    tokenizer = load_tokenizer(folder, family)
    tokens = special_tokens(tokenizer, config, family)
    _check_generation_config(folder / "generation_config.json")
    files = read_weights(folder)
    check_weights(files, family, config)
    return _Checkpoint(family, config, tokenizer, tokens, files)


def _plan_adapter(adapter: str | Path | None, base: str, checkpoint: _Checkpoint) -> Adapter | None:
    if adapter is None:
        return None
    model_class = checkpoint.family.model_class
    plan = read_adapter(adapter, model_class, base)
    check_adapter(plan, empty_model(model_class, checkpoint.config))
    return plan


def load_config(folder: Path, weights: bool = True) -> Any:
    """A checkpoint's config, of its family's class.

    Args:
        folder: The checkpoint's.
        weights: Whether its weights will be read, which must not be quantised.

    Raises:
        MidspanError: It is missing or wrong, or no family has its type.
    """
    fields = read_json(folder / "config.json")
    if weights:
        check_not_quantized(folder, fields)
    check_parts(folder / "config.json", fields)
    family = family_for(str(fields.get("model_type")))
    with border(folder / "config.json", "correct or remove that field"):
        return family.config_class.from_pretrained(folder)


def _check_generation_config(file: Path) -> None:
    """What transformers would say after the weights are read."""
    if file.exists():
        read_json(file)
        with border(file, "correct or remove that field; midspan decodes by none of them"):
            GenerationConfig.from_pretrained(file.parent)


def _choose_blocks(config: Any, folder: Path, base: str | Path) -> None:
    """Take a checkpoint for one of blocks by its name, where its config.json does not say.

    dllm's masked and block diffusion models differ in nothing but the name.
    """
    in_blocks = family_for(config.model_type).in_blocks
    if in_blocks is None or "block_size" in read_json(folder / "config.json"):
        return
    if _NAME_OF_BLOCKS in Path(base).name.lower():
        config.block_size = in_blocks.block_length
        warnings.warn(
            f"{base}: taken for block diffusion with blocks of {config.block_size} by its name; "
            "block_size in config.json says otherwise (null for full attention)",
            stacklevel=4,
        )


def _load_weights(folder: Path, family: Family, config: Any, arguments: dict[str, Any]) -> Any:
    with border(f"the weights in {folder} do not load"):
        model, info = family.model_class.from_pretrained(
            folder, config=config, output_loading_info=True, **arguments
        )
    if info["missing_keys"] or info["mismatched_keys"]:
        raise MidspanError(f"{folder}: weights did not load in full: {info['missing_keys']}")
    return model


def load_tokenizer(folder: Path, family: Family) -> PreTrainedTokenizerFast:
    """A checkpoint's tokenizer, padding on the left, with the family's special tokens.

    Raises:
        MidspanError: It is missing, or no fast one.
    """
    if not any((folder / name).exists() for name in _TOKENIZER_FILES):
        raise MidspanError(f"no tokenizer in {folder}: it needs {' or '.join(_TOKENIZER_FILES)}")
    tokenizer = read_tokenizer(folder)
    if not tokenizer.is_fast:
        raise MidspanError(f"the tokenizer in {folder} is not a fast tokenizer (tokenizer.json)")
    tokenizer.padding_side = "left"
    name_special_tokens(tokenizer, family.special_tokens)
    if family.template_first and tokenizer.chat_template:
        check_template(tokenizer, folder)
    return tokenizer


def check_weights(files: list[TensorFile], family: Family, config: Any) -> None:
    """Check names and shapes of all tensors against the model that the config describes.

    Raises:
        MidspanError: Naming a missing, superfluous or wrongly shaped tensor.
    """
    stored = {key: shape for file in files for key, shape in file.shapes.items()}
    file = files[0].path.parent / "config.json"
    with border(file, "correct or remove that field (of attention, _attn_implementation)"):
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


def _fingerprint(checkpoint: _Checkpoint, model: Any, form: WeightFormat) -> str:
    """See `digest.fingerprint`; number formats, blocks, attention and settings count too."""
    others = [str(form.quantization)]
    if form.attn_implementation not in (None, "sdpa"):
        others.append(form.attn_implementation)
    family, blocks = checkpoint.family, getattr(checkpoint.config, "block_size", None)
    is_told_apart = family is family_for(checkpoint.config.model_type).in_blocks
    if is_told_apart or blocks not in (None, family.block_length):
        others.append(f"blocks of {blocks}")
    if not getattr(model.config, "rope_full_precision", True):
        others.append("rope in the model's precision")
    others += unusual(vars(checkpoint.config), family)
    rope = model.config.get_text_config().rope_parameters
    return fingerprint(checkpoint.files, rope, model.dtype, *others)
