"""Where other libraries read a user's files: what they raise becomes one line that names the file.

Each library has errors of its own, and lets those of Python through that a wrong value happens to
cause (`ZeroDivisionError` of 0 heads). Only single calls that read one named file stand inside.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import OutOfMemoryError, Tensor

from midspan.errors import MidspanError
from midspan.files import publish

_BUILT_IN = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(EOFError, RuntimeError, TypeError, UnpicklingError, ValueError),
)
_LONGEST = 300


@contextmanager
def border(what: object, remedy: str = "") -> Iterator[None]:
    """Within the context a library's error becomes a `MidspanError`; ours stay as they are.

    Args:
        what: The file or name that is being read, first in the message.
        remedy: What to do about it, last in the message.

    Raises:
        MidspanError: In place of the library's error. Memory that runs out is no fault of a file.
    """
    try:
        yield
    except (MidspanError, OutOfMemoryError):
        raise
    except Exception as error:
        if not isinstance(error, _library_errors()):
            raise
        raise MidspanError(_line(what, error, remedy)) from error


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file to be passed on, and return once it is on disk.

    Raises:
        MidspanError: The disk does not take it.
    """
    with border(f"cannot write {path}", "make room, and give the same command again"):
        save_file(dict(tensors), path, metadata={"format": "pt"})
        publish(path)


def read_tokenizer(source: str | Path, **options: Any) -> Any:
    """`AutoTokenizer.from_pretrained` without remote code.

    Raises:
        MidspanError: The files do not load, a newer version of tokenizers wrote them, or they
            encode no text.
    """
    from transformers import AutoTokenizer

    what = f"the tokenizer in {source} does not load"
    remedy = "download its files again, or upgrade transformers and tokenizers"
    try:
        with border(what, remedy):
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
            longest = getattr(tokenizer, "model_max_length", 0)
            if not isinstance(longest, int | float):
                raise TypeError(f"model_max_length must be a number; got {longest!r}")
            # Settings that contradict the vocabulary show when a text is encoded.
            _ = tokenizer.all_special_ids, tokenizer("a \u2603", add_special_tokens=False)
            return tokenizer
    except Exception as error:
        # tokenizers, a Rust library, raises `Exception` itself of a file that it does not know.
        if type(error) is not Exception:
            raise
        raise MidspanError(_line(what, error, remedy)) from error


def check_template(tokenizer: Any, source: str | Path) -> None:
    """Whether a tokenizer's chat template can be compiled; nothing is rendered.

    Raises:
        MidspanError: It is no Jinja template, or there are several and none is the default.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    remedy = "correct chat_template.jinja, or chat_template in tokenizer_config.json"
    with border(f"the chat template in {source} is no Jinja template", remedy):
        render_jinja_template([], chat_template=tokenizer.get_chat_template())


def _library_errors() -> tuple[type[Exception], ...]:
    """What may be wrong with a file; the libraries are imported where something is."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError

    return (*_BUILT_IN, HTTPError, SafetensorError, StrictDataclassError, TemplateError)


def _line(what: object, error: Exception, remedy: str) -> str:
    reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
    if isinstance(error, LookupError | ArithmeticError):
        reason = f"{type(error).__name__} {reason}"
    if len(reason) > _LONGEST:
        reason = reason[:_LONGEST] + "..."
    return f"{what}: {reason}; {remedy}" if remedy else f"{what}: {reason}"
