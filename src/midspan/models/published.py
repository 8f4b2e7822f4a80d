"""Configs that read and write a family's published config.json, and refuse what is not computed."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from midspan.errors import MidspanError

Allowed = Mapping[str, tuple[Any, ...]]
Test = Callable[[Mapping[str, Any]], bool]

_NATIVE_ONLY = frozenset({"is_causal", "layer_types", "_name_or_path", "dtype", "rope_parameters"})
# What no family's native class computes.
_ALLOWED: Allowed = {
    "attention_bias": (False,),
    "hidden_act": ("silu",),
    "is_causal": (False,),
    "rope_scaling": (None,),
    "use_sliding_window": (False, None),
}
_RELATIVES: dict[str, list[tuple[Test, type[Any]]]] = {}


def share_model_type(model_type: str, test: Test, config_class: type[Any]) -> None:
    """Let another config class read those published files of a model type that pass a test.

    Some families were published under the `model_type` of another one.

    Args:
        model_type: The type in config.json.
        test: From the file's fields to whether they belong to `config_class`.
        config_class: The config that reads them; its family goes with it.
    """
    _RELATIVES.setdefault(model_type, []).append((test, config_class))


def refuse_unimplemented(family: str, config: Mapping[str, Any], allowed: Allowed) -> None:
    """Refuse a config that asks for something the native class does not compute.

    Args:
        family: The family's name, for the message.
        config: A config's keys and values.
        allowed: For each key that must not vary, the values under which it changes nothing.

    Raises:
        MidspanError: Naming the first such key and its value.
    """
    for key, value in config.items():
        if key in allowed and value not in allowed[key]:
            raise MidspanError(
                f"config.json: {key}={value!r} is not implemented for {family} models"
            )


class PublishedConfig:
    """What the native configs share. Placed before the transformers config.

    Attributes:
        published_architecture: The class named in config.json.
        published_fields: Published field name to native field name, where they differ.
        published_constants: Fields that every published file holds and no native config has.
        allowed: See `refuse_unimplemented`; on top of what is common to all families.
        native_only: Native fields that the published file does not have.
        dtype_field: Where the published file has the number format.
    """

    model_type: ClassVar[str]
    published_architecture: ClassVar[str]
    published_fields: ClassVar[Mapping[str, str]] = {}
    published_constants: ClassVar[Mapping[str, Any]] = {}
    allowed: ClassVar[Allowed] = {}
    native_only: ClassVar[frozenset[str]] = frozenset()
    dtype_field: ClassVar[str] = "torch_dtype"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The config of a file's fields; of another family where the model type is shared."""
        for belongs, config_class in _RELATIVES.get(cls.model_type, ()):
            if belongs(config_dict):
                return config_class.from_dict(config_dict, **kwargs)
        return super().from_dict(config_dict, **kwargs)  # type: ignore[misc]

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse, translate published names, then let the transformers config do its part."""
        fields = {**vars(self), **kwargs}
        refuse_unimplemented(self.model_type, fields, {**_ALLOWED, **self.allowed})
        block_size = fields.get("block_size")
        if block_size is not None and block_size < 1:
            raise MidspanError(f"config.json: block_size={block_size} must be at least 1")
        for published, native in self.published_fields.items():
            value = kwargs.pop(published, None)
            if value is not None:
                setattr(self, native, value)
        if set(fields.get("layer_types") or ()) - {"full_attention"}:
            raise MidspanError(
                f"config.json: layer_types must all be full_attention for {self.model_type}"
            )
        super().__post_init__(**kwargs)  # type: ignore[misc]
        rope_type = self.rope_parameters["rope_type"]  # type: ignore[attr-defined]
        if rope_type != "default":
            raise MidspanError(
                f"config.json: rope_type={rope_type!r} is not implemented for "
                f"{self.model_type} models"
            )

    def published_extra(self) -> dict[str, Any]:
        """Published fields that are computed from native ones; none unless a family has some."""
        return {}

    def to_json_string(self, use_diff: bool = True) -> str:
        """The published config.json, so that the reference code reads what midspan saves."""
        native = json.loads(super().to_json_string(use_diff=True))  # type: ignore[misc]
        rope = native.pop("rope_parameters")
        published = {new: native.pop(old) for new, old in self.published_fields.items()}
        published |= {key: rope[key] for key in rope if key != "rope_type"}
        published |= {self.dtype_field: native.pop("dtype", None)}
        published |= {"architectures": [self.published_architecture]}
        dropped = _NATIVE_ONLY | self.native_only
        kept = {key: value for key, value in native.items() if key not in dropped}
        whole = {**kept, **self.published_constants, **published, **self.published_extra()}
        return json.dumps(whole, indent=2, sort_keys=True) + "\n"
