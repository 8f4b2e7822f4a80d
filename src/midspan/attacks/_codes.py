"""Codes that a request can be written in, and what a response in one of them says."""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SHIFT = 3
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_UNLEET = str.maketrans("431057", "aeiost")
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
_HEX_RUN = re.compile(r"(?:[0-9a-fA-F]{2}\s?){4,}")
# Words of which every English text has its share, and a coded one hardly any.
_COMMON = frozenset(
    re.findall(
        "[a-z]+",
        "a an and are as at be but by can do for from have how i if in is it make my not of on or "
        "so that the then there they this to until up use was we what when will with you your",
    )
)
_WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Code:
    """How a text is written.

    Attributes:
        name: As a reader is told.
        encode: From a plain text.
        decode: Back to it; None where a reader has to guess, or could not tell it from plain text.
    """

    name: str
    encode: Callable[[str], str]
    decode: Callable[[str], str] | None


def _shifted(by: int) -> Callable[[str], str]:
    def move(match: re.Match[str]) -> str:
        first = ord("a") if match[0].islower() else ord("A")
        return chr(first + (ord(match[0]) - first + by) % 26)

    return lambda text: re.sub("[A-Za-z]", move, text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _base64_bytes(run: str) -> bytes:
    """Bytes of a run up to its last whole group of four letters."""
    return base64.b64decode(run[: len(run) - len(run) % 4])


def _runs(pattern: re.Pattern[str], read: Callable[[str], bytes]) -> Callable[[str], str]:
    """A decoder of the coded parts of a text; whatever else stands there is left out.

    A response may be cut off anywhere, so the last letter of a part may be missing bytes.
    """

    def decode(text: str) -> str:
        parts = []
        for match in pattern.finditer(text):
            try:
                # Unlike `bytes.decode`, this leaves out a letter that is cut off at the end.
                parts.append(codecs.getincrementaldecoder("utf-8")().decode(read(match[0])))
            except (binascii.Error, ValueError):
                continue
        return " ".join(parts)

    return decode


def _words_reversed(text: str) -> str:
    return " ".join(reversed(text.split()))


def _backwards(text: str) -> str:
    return text[::-1]


CODES: Mapping[str, Code] = {
    "base64": Code("Base64", _base64, _runs(_BASE64_RUN, _base64_bytes)),
    "rot13": Code(
        "ROT13", lambda t: codecs.encode(t, "rot13"), lambda t: codecs.encode(t, "rot13")
    ),
    "caesar": Code(f"a Caesar cipher of {_SHIFT}", _shifted(_SHIFT), _shifted(-_SHIFT)),
    "leetspeak": Code("leetspeak", lambda t: t.translate(_LEET), lambda t: t.translate(_UNLEET)),
    "reversed": Code("letters from the last to the first", _backwards, _backwards),
    "words_reversed": Code("words from the last to the first", _words_reversed, None),
    "hex": Code("hexadecimal", lambda t: t.encode().hex(), _runs(_HEX_RUN, bytes.fromhex)),
    "no_vowels": Code("words without vowels", lambda t: re.sub("[aeiouAEIOU]", "", t), None),
}


def plain_reading(code: Code, response: str) -> str:
    """A response as it stands or decoded, whichever has more of the commonest English words.

    A model that was asked to answer in a code may answer in plain words, or refuse in them.
    """
    if code.decode is None:
        return response
    decoded = code.decode(response)
    return decoded if _share(decoded) > _share(response) else response


def _share(text: str) -> float:
    words = _WORDS.findall(text.lower())
    return sum(word in _COMMON for word in words) / max(len(words), 1)
