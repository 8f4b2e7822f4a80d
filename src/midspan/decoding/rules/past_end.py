"""Read a response past its first end token."""

from typing import Literal

from midspan.decoding.hooks import Hook, View
from midspan.decoding.rule import Rule
from midspan.models.model import DiffusionLM


class PastEnd(Rule):
    """The whole canvas is decoded and its text read, end tokens left out; ours.

    What a model hides behind an early end token is then judged too.
    """

    rule: Literal["past_end"] = "past_end"

    def hook(self, lm: DiffusionLM, length: int) -> Hook:
        """See `Rule`."""
        return _PastEnd()


class _PastEnd(Hook):
    def on_canvas(self, view: View) -> None:
        view.read_past_end()


RULE = PastEnd
