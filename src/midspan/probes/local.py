"""A model that is decoded here, as a probe asks it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.journal.generation import generate
from midspan.probes.context import Answer, ProbeCase, ProbeContext

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class LocalContext(ProbeContext):
    """A model with its weights: probes may look into it.

    Attributes:
        lm: The model.
        decodings: How it decodes, by name.
        batch_size: Rows that go through the model together.
    """

    lm: "DiffusionLM"
    decodings: "Mapping[str, DecodingConfig]"
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuse rules that a probe would pass by.

        Raises:
            MidspanError: A rule acts on prompts, which a probe sends as they are.
        """
        for name, decoding in self.decodings.items():
            for rule in decoding.rules:
                if rule.rewrites_prompts or rule.screens_prompts:
                    raise MidspanError(
                        f"{name}.rules: {rule.rule} acts on prompts, and a probe sends its own as "
                        "they are; leave it out"
                    )

    @property
    def text(self) -> "DiffusionLM":
        """The model itself."""
        return self.lm

    @property
    def length(self) -> int:
        """Tokens of the shortest canvas."""
        return min(decoding.length for decoding in self.decodings.values())

    def settings(self, decoding: str) -> dict[str, Any]:
        """Fields of the decoding."""
        return self.decodings[decoding].model_dump(mode="json")

    def answers(self, cases: Sequence[ProbeCase]) -> Iterator[tuple[str, list[Answer]]]:
        """Every case decoded in every way."""
        requests = [self.encode(case.request.prompt, case.anchors) for case in cases]
        for name, decoding in self.decodings.items():
            made = self.generate(requests, decoding)
            yield name, [Answer(one.text, one.said, one.forwards) for one in made]

    def encode(self, prompt: str, anchors: Mapping[int, int] | None = None) -> "Request":
        """A user's message as a request to the model, with tokens fixed in the response."""
        from midspan.decoding import Request

        return Request(tuple(self.lm.encode_chat(prompt)), anchors or {})

    def generate(
        self, requests: "Sequence[Request]", decoding: "DecodingConfig"
    ) -> "list[Generation]":
        """Responses, from the journal where it has them."""
        with self.stage(f"{self.model}: generating", len(requests)) as stage:
            return generate(
                self.lm,
                requests,
                decoding,
                self.journal,
                batch_size=self.batch_size,
                on_batch=stage.advance,
            )
