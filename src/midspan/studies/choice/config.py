"""What settings are chosen for: a model, its reference decoding and the requests that choose."""

from typing import Any

from pydantic import Field

from midspan.frozen import FrozenConfig
from midspan.organism.worlds import FIRST, world_in
from midspan.probes.choice import ChoiceConfig

EXACT_JUDGE, KEYWORDS = "exact judge", "refusal keywords"


class ChoiceSpec(FrozenConfig):
    """One choice.

    Attributes:
        model: Spec of a local model.
        behaviors: File or registered set of requests; None for the organism's own.
        column: Column of the requests in a file of one's own.
        decoding: Fields of the reference decoding that replace the family's.
        choice: How the search goes.
        seed: Of the organism's requests.
    """

    model: str = Field(min_length=1)
    behaviors: str | None = None
    column: str | tuple[str, ...] | None = None
    decoding: dict[str, Any] = Field(default_factory=dict)
    choice: ChoiceConfig = ChoiceConfig()
    seed: int = 0

    @property
    def on_organism(self) -> bool:
        """Whether the model brings its own requests and judge."""
        return self.behaviors is None and world_in(self.model) == FIRST
