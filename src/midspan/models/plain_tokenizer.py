"""A tokenizer.json read without transformers, where its settings change nothing in it.

transformers adds tokens, processors and repairs to some tokenizers when it loads them. Those whose
settings ask for none of this are read here as they are; of all others nothing is known.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer

from midspan import files

# In transformers' order.
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_NAMES = tuple(f"{role}_token" for role in _ROLES)
_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Of older tools, which transformers reads too.
_OTHER_FILES = ("added_tokens.json", "special_tokens_map.json")
# From this many words on transformers looks for a faulty pattern of Mistral's and mends it.
_MOST_WORDS = 100_000


class Encoded(dict[str, list[int]]):
    """Ids under "input_ids", and the encoding that they are of."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__(input_ids=encoding.ids)
        self.encodings = [encoding]


class PlainTokenizer:
    """What decoding asks of transformers' `PreTrainedTokenizerFast`, under the same names.

    Args:
        backend: The tokenizer.
        named: Special tokens by the names of `_NAMES`.
        extra: Other special tokens.
    """

    is_fast = True
    padding_side = "left"
    chat_template = None

    def __init__(self, backend: Tokenizer, named: dict[str, str], extra: Sequence[str]) -> None:
        self.backend_tokenizer = backend
        self._extra = extra
        self.bos_token, self.eos_token = named.get("bos_token"), named.get("eos_token")
        self.unk_token, self.sep_token = named.get("unk_token"), named.get("sep_token")
        self.pad_token, self.cls_token = named.get("pad_token"), named.get("cls_token")
        self.mask_token = named.get("mask_token")

    @property
    def unk_token_id(self) -> int | None:
        """The id of the unknown word."""
        return None if self.unk_token is None else self._id(self.unk_token)

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of all special tokens, the named ones first."""
        named = [getattr(self, name) for name in _NAMES]
        texts = dict.fromkeys([*(text for text in named if text is not None), *self._extra])
        return [self._id(text) for text in texts]

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens by id."""
        found: dict[int, AddedToken] = self.backend_tokenizer.get_added_tokens_decoder()
        return found

    def _id(self, text: str) -> int | None:
        found: int | None = self.backend_tokenizer.token_to_id(text)
        return found

    def get_vocab(self) -> dict[str, int]:
        """Ids by word."""
        found: dict[str, int] = self.backend_tokenizer.get_vocab(with_added_tokens=True)
        return found

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> Any:
        """The word of an id, or the words of several."""
        if isinstance(ids, int):
            return self.backend_tokenizer.id_to_token(ids)
        return [self.backend_tokenizer.id_to_token(int(one)) for one in ids]

    def __call__(
        self, text: str, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> Encoded:
        """Ids of a text.

        Args:
            text: The text.
            add_special_tokens: Whether the processor adds its own.
            split_special_tokens: Whether the name of a special token is text.
        """
        self.backend_tokenizer.encode_special_tokens = split_special_tokens
        encoding = self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return Encoded(encoding)

    def decode(self, ids: Any, clean_up_tokenization_spaces: bool = False) -> str:
        """The text of ids, special tokens included; spaces are never cleaned up."""
        text: str = self.backend_tokenizer.decode([int(one) for one in ids], False)
        return text

    def batch_decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each row of ids."""
        return [self.decode(row) for row in rows]


def read_plain(folder: Path) -> PlainTokenizer | None:
    """A folder's tokenizer; None where transformers may make another one of its files.

    Raises:
        MidspanError: A file holds no JSON object.
    """
    if any((folder / name).exists() for name in _OTHER_FILES):
        return None
    settings = files.read_json(folder / "tokenizer_config.json")
    stored = files.read_json(folder / "tokenizer.json")
    if not isinstance(settings, dict) or not isinstance(stored, dict) or not _is_known(settings):
        return None
    named = {name: settings[name] for name in _NAMES if settings.get(name) is not None}
    extra = settings.get("extra_special_tokens", [])
    if stored.get("truncation") or stored.get("padding") or not _has(stored, named, extra):
        return None
    try:
        backend = Tokenizer.from_str(json.dumps(stored))
    except Exception as error:
        # tokenizers, a Rust library, raises `Exception` itself of a file that it does not know.
        if type(error) is not Exception:
            raise
        return None
    if backend.get_vocab_size() > _MOST_WORDS:
        return None
    return PlainTokenizer(backend, named, extra)


def _is_known(settings: dict[str, Any]) -> bool:
    """Whether all settings are such that the file of the tokenizer says everything."""
    extra = settings.get("extra_special_tokens", [])
    tests = {
        "backend": lambda value: value == "tokenizers",
        "clean_up_tokenization_spaces": lambda value: value is False,
        "extra_special_tokens": lambda value: isinstance(value, list),
        "model_max_length": lambda value: isinstance(value, int | float),
        "padding_side": lambda value: value in ("left", "right"),
        "tokenizer_class": lambda value: value in _CLASSES,
        **dict.fromkeys(_NAMES, lambda value: value is None or isinstance(value, str)),
    }
    is_stated = settings.keys() >= {"clean_up_tokenization_spaces", "tokenizer_class"}
    return (
        is_stated
        and all(key in tests and tests[key](value) for key, value in settings.items())
        and all(isinstance(text, str) for text in extra)
    )


def _has(stored: dict[str, Any], named: dict[str, str], extra: Sequence[str]) -> bool:
    """Whether each special token is an added, special one of the file already."""
    added = stored.get("added_tokens") or []
    special = {token.get("content") for token in added if token.get("special") is True}
    return {*named.values(), *extra} <= special
