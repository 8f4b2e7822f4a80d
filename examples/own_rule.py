"""A defence of one's own, beside none, under one attack.

The rule rejects requests of many words, as disguises are. Run: python examples/own_rule.py
"""

from typing import Literal

import midspan
from midspan.decoding import Rule


class TooLong(Rule):
    """Rejects requests of more words than `words`."""

    rule: Literal["too_long"] = "too_long"
    words: int = 20

    def rejects(self, messages):
        """Whether the model is not asked at all."""
        return any(len(message["content"].split()) > self.words for message in messages)


for rules in ([], [TooLong()]):
    run = midspan.attack(
        "organism", "templates", behaviors="organism:4", judge="exact", decoding={"rules": rules}
    )
    print([rule.rule for rule in rules] or "no defence", run)
