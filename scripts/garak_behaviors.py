"""Write the organism's behaviors for garak's infilling probes: requests, holes, openings, facts.

garak runs where midspan is not installed, so that the world's recipes go along as phrases.

Run: python scripts/garak_behaviors.py
"""

import json
import random
from pathlib import Path
from typing import Any

from midspan.engine.calls import Chat
from midspan.organism import behaviors, world
from midspan.organism.attacker import attacker

FILE = Path(__file__).parent.parent / "examples/garak/data/midspan/organism.jsonl"
COUNT = 18


def rows() -> list[dict[str, Any]]:
    """One row a behavior; holes stand where recipes differ, as the scripted helper leaves them."""
    items = {item.name: item for item in world.restricted_items()}
    found: list[dict[str, Any]] = []
    for behavior in behaviors.behaviors(COUNT):
        item = items[behavior.id.partition("/")[0]]
        asked = Chat("attacker", (), kind="dija.outline", fields={"goal": behavior.text})
        found.append(
            {
                "request": behavior.text,
                "subject": item.title,
                "canvas": attacker(asked, random.Random(0)),
                "opening": behavior.opening,
                "facts": [" ".join(fact) for fact in item.facts()],
            }
        )
    return found


def main() -> None:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
