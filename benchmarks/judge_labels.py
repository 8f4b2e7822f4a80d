"""How far the second organism's exact judge agrees with 200 responses labelled by reading.

Run: python benchmarks/judge_labels.py [tests/fixtures/second_judge/labelled.jsonl]

Prints a table, and a line for each response on which they differ. Each line of the file is a
response of a preview of organism2: `reaction` is what it does (refusal, silence, broken, answer),
and `facts` are the kinds of the asked work's facts that it states, both as somebody read them.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from midspan.organism.second.facts import facts_in
from midspan.organism.second.judge import reaction
from midspan.organism.second.pools import KINDS
from midspan.organism.second.world import items
from midspan.statistics import wilson

LABELLED = Path(__file__).parents[1] / "tests/fixtures/second_judge/labelled.jsonl"


class Read(NamedTuple):
    """One response: what was read in it, and what the judge finds."""

    row: Mapping[str, Any]
    reaction: str
    facts: tuple[str, ...]

    @property
    def same_reaction(self) -> bool:
        """Whether the judge sees the same reaction."""
        return self.reaction == self.row["reaction"]

    @property
    def same_facts(self) -> bool:
        """Whether the judge counts the same facts."""
        return set(self.facts) == set(self.row["facts"])


def judged(path: Path = LABELLED) -> list[Read]:
    """Every labelled response with the judge's reading of it."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        facts: tuple[str, ...] = ()
        if row["item"] is not None:
            places = facts_in(items()[row["item"]], row["response"])
            facts = tuple(kind for place, kind in enumerate(KINDS) if place in places)
        found.append(Read(row, reaction(row["response"]), facts))
    return found


def main() -> None:
    """Print agreement and disagreements."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else LABELLED
    read = judged(path)
    about = [one for one in read if one.row["item"] is not None]
    pairs = [(kind in one.facts, kind in one.row["facts"]) for one in about for kind in KINDS]
    stated = [mine for mine, label in pairs if label]
    absent = [mine for mine, label in pairs if not label]
    rows = {
        "reaction": (sum(one.same_reaction for one in read), len(read)),
        "all facts of a response": (sum(one.same_facts for one in about), len(about)),
        "single facts that are stated": (sum(stated), len(stated)),
        "single facts that are not": (len(absent) - sum(absent), len(absent)),
    }
    for label in dict.fromkeys(one.row["reaction"] for one in read):
        part = [one for one in read if one.row["reaction"] == label]
        rows[f"read as {label}"] = (sum(one.same_reaction for one in part), len(part))
    print("| agreement on | % of responses or facts |\n|---|---|")
    for name, counts in rows.items():
        print(f"| {name} | {wilson(*counts)} |")
    print()
    for one in read:
        if not (one.same_reaction and one.same_facts):
            only = set(one.facts) ^ set(one.row["facts"])
            print(f"- {one.row['id']}: read {one.row['reaction']}, judged {one.reaction}; "
                  f"facts that differ: {', '.join(sorted(only)) or 'none'}")  # fmt: skip


if __name__ == "__main__":
    main()
