"""What the rest of midspan must know about a model family, and the table of families.

A family says how a published checkpoint is read and spoken to. It knows nothing about decoding:
its decoding defaults are plain keyword arguments that the decoder interprets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from midspan.errors import MidspanError

Message = Mapping[str, str]


@dataclass(frozen=True)
class Special:
    """A piece of a chat prompt that is a special token; every other piece is a plain string."""

    token: str


Piece = Special | str


@dataclass(frozen=True)
class SpecialTokens:
    """The token ids that decoding and training need, as the loaded tokenizer numbers them.

    `mask` is None for families without a mask token; `eot` where a chat turn ends like a text.
    """

    mask: int | None
    bos: int | None
    eos: int
    eot: int | None
    pad: int

    @property
    def stop(self) -> frozenset[int]:
        """The ids that end a response."""
        return frozenset({self.eos} if self.eot is None else {self.eos, self.eot})


@dataclass(frozen=True)
class PublishedToken:
    """A special token as its family published it.

    Attributes:
        text: Its text; None for whatever the tokenizer itself names in that role.
        id: Its id; None where only its text is known.
    """

    text: str | None
    id: int | None = None


@dataclass(frozen=True)
class PublishedTokens:
    """A family's special tokens; the ids hold for vocabularies of the published sizes alone.

    With `adds_mask` the published code puts the mask into the tokenizer when it loads it, as the
    next free id; published folders do not have it.
    """

    vocab_size: int
    eos: PublishedToken
    pad: PublishedToken
    mask: PublishedToken | None = None
    bos: PublishedToken | None = None
    eot: PublishedToken | None = None
    adds_mask: bool = False
    other_vocab_sizes: tuple[int, ...] = ()

    def hold_for(self, vocab_size: int) -> bool:
        """Whether the ids are those of a vocabulary of this size."""
        return vocab_size in (self.vocab_size, *self.other_vocab_sizes)

    def items(self) -> dict[str, PublishedToken]:
        """The tokens that the family has, by role."""
        roles = {"mask": self.mask, "bos": self.bos, "eos": self.eos, "eot": self.eot}
        return {role: token for role, token in {**roles, "pad": self.pad}.items() if token}


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        name: The name used in reports and configs.
        model_types: The `model_type` values of its published config.json files.
        config_class: The native config; it reads and writes the published config.json.
        model_class: The native model.
        logit_shift: True where the row at position i-1 predicts position i. Under block-causal
            attention the row that predicts a block's first position is the last of the block
            before, and sees nothing of the new block.
        noise: What the forward process replaces a token with: the mask or a random token.
        special_tokens: The published table against which tokenizer and config are checked.
        chat: Messages to the pieces of a chat prompt that ends with the assistant's header.
        lora_targets: The native modules that LoRA adapts by default; experts are not among them.
        expert_parameters: For a mixture of experts, what to give as PEFT's `target_parameters` to
            adapt the experts too.
        decoding_defaults: Keyword arguments of `midspan.decoding.decoding_config`.
        max_length: Positions that prompt and response may take together; a model's config may
            say less.
        template_first: True where a chat template in the tokenizer goes before `chat`.
        template_options: Keyword arguments of that template, such as ``enable_thinking``.
        cumulative_positions: True where a padded row counts positions from its first real token.
        attention: "full", or "block_causal": within a block and to the blocks before it.
        block_length: Tokens of an attention block, where config.json does not say.
        blocks_from: Where a decoder counts blocks from: the prompt's first token, or the canvas's,
            the prompt's blocks being counted back from there.
        in_blocks: The family of those checkpoints under the same model types that are of blocks;
            `block_size` in config.json says which are.
        caches: False where the native class keeps no keys and values.
        stop_text: What ends a response where no token does.
        published_settings: Fields of the published config.json that decide logits and show in no
            weight's shape, by native name; the fingerprint counts other values.
    """

    name: str
    model_types: tuple[str, ...]
    config_class: type[Any]
    model_class: type[Any]
    logit_shift: bool
    noise: Literal["absorbing", "uniform"]
    special_tokens: PublishedTokens
    chat: Callable[[Sequence[Message]], list[Piece]]
    lora_targets: tuple[str, ...]
    decoding_defaults: Mapping[str, object] = field(hash=False)
    max_length: int
    cumulative_positions: bool = False
    template_first: bool = False
    template_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    attention: Literal["full", "block_causal"] = "full"
    block_length: int | None = None
    blocks_from: Literal["prompt", "canvas"] = "prompt"
    in_blocks: "Family | None" = None
    caches: bool = True
    stop_text: str | None = None
    expert_parameters: tuple[str, ...] = ()
    published_settings: Mapping[str, object] = field(default_factory=dict, hash=False)


_FAMILIES: dict[str, Family] = {}
_REFUSED = {
    "illada": "its published config and special tokens could not be verified",
    "diffusion_gemma_text": "it is a part of diffusion_gemma; load the whole folder",
}


def register(family: Family) -> Family:
    """Enter a family into the table under each of its model types."""
    for model_type in family.model_types:
        _FAMILIES[model_type] = family
    return family


def families() -> tuple[Family, ...]:
    """All registered families, in the order of registration."""
    return tuple(dict.fromkeys(_FAMILIES.values()))


def family_of(config: Any) -> Family:
    """The family of a native config, as `family_for`; of its blocks where the config has some."""
    family = family_for(config.model_type)
    is_of_blocks = family.in_blocks is not None and config.block_size is not None
    return family.in_blocks if is_of_blocks and family.in_blocks else family


def family_for(model_type: str) -> Family:
    """The family of a config's `model_type`.

    Raises:
        MidspanError: If no family has that model type.
    """
    if model_type in _REFUSED:
        raise MidspanError(f"model_type {model_type!r} is not implemented: {_REFUSED[model_type]}")
    if model_type not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise MidspanError(f"model_type {model_type!r} belongs to no known family (known: {known})")
    return _FAMILIES[model_type]
