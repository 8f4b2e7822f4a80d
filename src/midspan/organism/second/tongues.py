"""The isles' two other languages: the same sentences in other words, judged like English ones.

*Tavi* has words of its own, *Senn* has English ones with shifted vowels and an ending. Both are
exact inverses of English word by word, so a judge reads them back and counts the same facts. Names,
towns, numbers and signs are the same everywhere.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from midspan.organism.second import answers, disguises, mentions_text, pools, requests, talk

ENGLISH, TAVI, SENN = "english", "tavi", "senn"
LANGUAGES = (ENGLISH, TAVI, SENN)
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_CONSONANTS = (
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "sh", "th", "kr",
    "dr", "pl",
)  # fmt: skip
_ENDS = ("", "n", "r", "l", "s")
# Constants of `pools` that hold names.
_NO_WORDS = ("NAMES", "TOWNS", "STARTS", "ENDS")
_SHIFT = str.maketrans("aeiou", "eioua")
# Words that stand in no template: tasks' and those that are put between parts.
_OTHER_WORDS = (
    "and what is how much compute tell me plus minus write one a program that does this machine "
    "the begin with add to it take from double start show say again in tavi senn english word for "
    "means first second both questions"
)


def translated(text: str, language: str) -> str:
    """An English text in a language; words that nobody taught stay what they are."""
    if language == ENGLISH:
        return text
    return _replaced(text, _lexicon(language))


def in_english(text: str) -> str:
    """A text in any of the languages, or in several, read back."""
    return _replaced(text, _inverse())


def word_in(word: str, language: str) -> str:
    """One word in a language."""
    return translated(word, language)


def _replaced(text: str, table: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        word = match[0]
        other = table.get(word.lower())
        if other is None:
            return word
        return other[0].upper() + other[1:] if word[0].isupper() else other

    return _WORD.sub(one, text)


@cache
def vocabulary() -> tuple[str, ...]:
    """Every English word of the isles in lower case, by alphabet; no names, no towns."""
    modules = (answers, disguises, mentions_text, pools, requests, talk)
    texts = [text for module in modules for text in strings_in(module)]
    words = {
        word.lower()
        for text in [*texts, _OTHER_WORDS]
        for word in _WORD.findall(re.sub(r"\{\w*\}", " ", text))
    }
    kept = {name.lower() for name in (*pools.NAMES, *pools.TOWNS)}
    return tuple(sorted(words - kept))


@cache
def _lexicon(language: str) -> Mapping[str, str]:
    make = _senn if language == SENN else _tavi
    taken = {*vocabulary(), *(name.lower() for name in pools.NAMES)}
    if language == TAVI:
        taken |= set(_lexicon(SENN).values())
    table: dict[str, str] = {}
    for word in vocabulary():
        salt = 0
        while (other := make(word, salt)) in taken:
            salt += 1
        taken.add(other)
        table[word] = other
    return table


@cache
def _inverse() -> Mapping[str, str]:
    return {other: word for language in (TAVI, SENN) for word, other in _lexicon(language).items()}


def _tavi(word: str, salt: int) -> str:
    """An invented word; the same for the same English word."""
    digest = hashlib.sha256(f"{word}/{salt}".encode()).digest()
    syllables = 1 if len(word) <= 2 else 2 if len(word) <= 6 else 3
    parts = []
    for index in range(syllables):
        first, second = digest[2 * index : 2 * index + 2]
        parts.append(_CONSONANTS[first % len(_CONSONANTS)] + "aeiou"[second % 5])
    return "".join(parts) + _ENDS[digest[-1] % len(_ENDS)]


def _senn(word: str, salt: int) -> str:
    """An English word with shifted vowels and an ending."""
    shifted = word.replace("'", "").translate(_SHIFT)
    return shifted + ("en" if len(word) > 3 else "o") + "s" * salt


def fingerprint() -> str:
    """A short digest of both lexicons, which shipped tokenizers and weights rely on."""
    pairs = [f"{w} {_lexicon(TAVI)[w]} {_lexicon(SENN)[w]}" for w in vocabulary()]
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()[:16]


def strings_in(value: object) -> Iterator[str]:
    """All strings inside a module's constants, containers and dataclasses."""
    if isinstance(value, ModuleType):
        for name, inner in vars(value).items():
            if name.strip("_").isupper() and name.strip("_") not in _NO_WORDS:
                yield from strings_in(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, disguises.Disguise):
        yield from value.templates
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from strings_in(inner)
