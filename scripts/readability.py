"""How long the sentences of the documents are, before and now: a table and a figure.

Run: python scripts/readability.py docs/results/readability.md --before 500d929

Counts what scripts/check_prose.py reads: README, CONTRIBUTING and the documents without the log and
the reference; code, tables and headings are left out. "Before" is a revision of this repository,
"now" the working tree.
"""

import argparse
import re
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path

from check_prose import LONG, ROOT, pages, sentences, words

from midspan.report.figures import bars
from midspan.report.svg import standalone
from midspan.statistics import Estimate, wilson

BLOCK = re.compile(r"(<!-- readability -->\n).*?(<!-- end of readability -->)", re.DOTALL)
TITLE = f"Sentences over {LONG} words"


def git(*arguments: str) -> str:
    """What a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def texts_at(revision: str) -> dict[str, str]:
    """The pages of a revision, by their paths."""
    paths = git("ls-tree", "-r", "--name-only", revision).split("\n")
    read = [
        path
        for path in paths
        if path in ("README.md", "CONTRIBUTING.md")
        or (path.startswith("docs/") and path.endswith(".md"))
    ]
    kept = [path for path in read if "/reference/" not in path and path != "docs/log.md"]
    return {path: git("show", f"{revision}:{path}") for path in kept}


def texts_now() -> dict[str, str]:
    """The pages of the working tree, by their paths."""
    return {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in pages()}


def group(path: str) -> str:
    """Which bar a page counts for; method and results pages are newer than the first revision."""
    return "README" if path == "README.md" else "documents"


def lengths(texts: Mapping[str, str]) -> dict[str, list[int]]:
    """Words of every sentence, by group."""
    found: dict[str, list[int]] = {"README": [], "documents": []}
    for path, text in texts.items():
        found[group(path)] += [words(part) for part in sentences(text)]
    return found


def share(counts: list[int]) -> Estimate:
    """The share of long sentences."""
    return wilson(sum(count > LONG for count in counts), len(counts))


def block(before: Mapping[str, list[int]], now: Mapping[str, list[int]], revision: str) -> str:
    """The generated part of the page."""
    rows = [
        "| text | when | sentences | median words | over 30 words |",
        "|---|---|---:|---:|---:|",
    ]
    for name in before:
        for when, found in ((f"revision `{revision}`", before[name]), ("now", now[name])):
            middle = statistics.median(found)
            rows.append(f"| {name} | {when} | {len(found)} | {middle:.0f} | {share(found)} |")
    picture = f"![{TITLE}: before and now](figures/readability.svg)\n"
    return "\n" + picture + "\n" + "\n".join(rows) + "\n\n"


def main() -> None:
    """Write the page's block and its figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--before", default="500d929", help="a revision of this repository")
    args = parser.parse_args()
    before, now = lengths(texts_at(args.before)), lengths(texts_now())
    series = [
        (args.before, [share(before[name]) for name in before]),
        ("now", [share(now[name]) for name in before]),
    ]
    folder = args.page.parent / "figures"
    folder.mkdir(exist_ok=True)
    picture = bars(TITLE, list(before), series, "share of sentences, %")
    (folder / "readability.svg").write_text(standalone(picture), encoding="utf-8")
    made = block(before, now, args.before)
    text = BLOCK.sub(lambda found: found[1] + made + found[2], args.page.read_text("utf-8"))
    args.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
