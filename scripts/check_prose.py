"""Checks the prose of README, documents and CONTRIBUTING: words, spelling, sentence length.

`python scripts/check_prose.py` fails on a word of `AVOIDED` and on a sentence of more than
`LONGEST` words or more than `NUMBERS` numbers. `--table` prints sentences, median length and the
share of sentences over 30 words for each page. Code, tables, headings, the log, and the changelog
(which keep what was written at the time) are not read.
"""

import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 45
LONG = 30
NUMBERS = 8
# Pages of results, whose captions state settings, and of the organism, whose world is counted.
COUNTING = {"results", "organism.md"}
AVOIDED = {
    r"\bless (?:the|that|its|those)\b": "minus",
    r"\bbehaviours?\b": "behavior",
    r"\bis none of\b": "must be one of",
    r"\bof then\b": "at that time",
    r"\bthe which\b": "which",
    r"\blikewise\b": "also, or in the same way",
    r"\bas asked\b": "in the requested form",
    r"\bsuch as it is\b": "(nothing)",
}
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_END = re.compile(r"(?<=[.!?:])[\"')*]*\s+(?=[\"'(*]*[A-Z0-9`])")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*")


def pages() -> list[Path]:
    """The pages whose prose is checked."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if page.name not in {"log.md"} and "reference" not in page.parts]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a Markdown page, one line each; code stands as the word CODE."""
    text = _COMMENT.sub("", _FENCE.sub("\n\n", text))
    text = _CODE.sub("CODE", _LINK.sub(r"\1", text))
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.) )", text):
        line = " ".join(block.split())
        if line and line[0] not in "#|<!:":
            yield from (part.strip() for part in _END.split(line) if len(part.split()) > 2)


def words(sentence: str) -> int:
    """How many words a sentence has."""
    return len(re.findall(r"[A-Za-z][\w'’-]*", sentence))


def faults(page: Path) -> Iterator[str]:
    """What is wrong with a page's prose, one line each."""
    for sentence in sentences(page.read_text(encoding="utf-8")):
        start = f"{page.relative_to(ROOT)}: {sentence[:70]!r}"
        if words(sentence) > LONGEST:
            yield f"{start}: {words(sentence)} words; at most {LONGEST}"
        if not COUNTING & {*page.parts} and len(_NUMBER.findall(sentence)) > NUMBERS:
            yield f"{start}: more than {NUMBERS} numbers; make a table of them"
        for pattern, better in AVOIDED.items():
            for found in re.findall(pattern, sentence):
                yield f"{start}: {found!r}; write {better}"


def row(name: str, lengths: list[int]) -> str:
    """One line of the table of sentence lengths."""
    share = 100 * sum(length > LONG for length in lengths) / len(lengths)
    return f"| {name} | {len(lengths)} | {statistics.median(lengths):.0f} | {share:.0f} |"


def main() -> None:
    """Print the faults, or the table."""
    if "--table" in sys.argv:
        print(f"| page | sentences | median words | over {LONG} words, % |\n|---|---|---|---|")
        counted = {
            page: [words(part) for part in sentences(page.read_text(encoding="utf-8"))]
            for page in pages()
        }
        for page, lengths in counted.items():
            if lengths:
                print(row(str(page.relative_to(ROOT)), lengths))
        print(row("all", [length for lengths in counted.values() for length in lengths]))
        return
    found = [fault for page in pages() for fault in faults(page)]
    print("\n".join(found) or "prose: nothing to mend")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
