"""Writes the table of several audits into a page, between the lines that name this script.

Run: python scripts/audit_table.py README.md NAME=RUN [NAME=RUN ...]

The page holds `<!-- audit table -->` and, behind it, `<!-- end of table -->`. A cell is the worst
case in % with its 95 % interval: the share of behaviors that some attack wins which needs this
access at most.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LEVELS = {
    "chat": "can only chat",
    "sampler": "also fixes tokens or chooses the decoding",
    "weights": "also reads likelihoods or holds the weights",
}
BLOCK = re.compile(r"(<!-- audit table -->\n).*?(<!-- end of table -->)", re.DOTALL)

Audit = Mapping[str, Any]


def rate(part: Mapping[str, float]) -> str:
    """A rate in %, with its interval; a range where some outcomes are unknown."""
    least, most, low, high = (100 * part[key] for key in ("least", "most", "low", "high"))
    value = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
    return f"{value} [{low:.0f}, {high:.0f}]"


def worst(audit: Audit, access: str) -> str:
    """The worst case at one access level; a dash where the audit did not go so far."""
    found = [level for level in audit["levels"] if level["access"] == access]
    return rate(found[0]["worst_case"]) if found else "-"


def helped(audit: Audit) -> str:
    """The share of harmless requests that only mention something restricted and are answered."""
    found = [row for row in audit["over_refusal"] if row["name"] == "mentioned requests helped"]
    return rate(found[0]["rate"]) if found else "-"


def table(audits: Mapping[str, Audit]) -> str:
    """The table in Markdown."""
    rows = [
        ["attacker", *audits],
        ["---"] * (len(audits) + 1),
        *([words, *(worst(a, level) for a in audits.values())] for level, words in LEVELS.items()),
        ["*harmless mentions answered*", *map(helped, audits.values())],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def read(given: Sequence[str]) -> dict[str, Audit]:
    """The audits by the name of their column."""
    pairs = (text.partition("=") for text in given)
    return {
        name: json.loads((Path(run) / "audit.json").read_text(encoding="utf-8"))
        for name, _, run in pairs
    }


def main() -> None:
    """Write the table into the page, and print it."""
    page, audits = Path(sys.argv[1]), read(sys.argv[2:])
    made = table(audits)
    text = page.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        sys.exit(f"{page}: has no lines <!-- audit table --> and <!-- end of table -->")
    page.write_text(BLOCK.sub(lambda found: found[1] + made + found[2], text), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
