"""What every sampler's config has; `config.py` has the samplers.

A sampler's config has the fields that the sampler has, and no others. What a sampler does not vary
is a constant of its class, so that the rest of the package reads every config in the same way.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from midspan.decoding.rule import AnyRule
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

Remasking = Literal["low_confidence", "random", "margin", "entropy"]
EosPolicy = Literal["model", "suppress_logits", "suppress_confidence"]
Schedule = Literal["even", "linear"]
Shapes = Literal["ragged", "fixed", "compiled"]

# Dream's published names of the same four rules.
_DREAM_RULES = {"origin": "random", "maskgit_plus": "low_confidence", "topk_margin": "margin"}


class Sampler(FrozenConfig):
    """What every sampler's config has. Frozen; a wrong field is a `MidspanError` of one line.

    Attributes:
        sampler: The published sampler to follow: "llada", "dream" or "block".
        length: Tokens of the canvas.
        steps: Steps over the whole canvas, a multiple of the number of blocks unless the schedule
            is "linear". A step that would commit nothing is left out and costs no forward.
        temperature: 0 takes the likeliest token, else tokens are sampled.
        remasking: Which positions a step commits: those of the highest token probability
            ("low_confidence", Dream's "maskgit_plus"), of the largest gap between the two best
            tokens ("margin", "topk_margin"), of the lowest entropy ("entropy"), or any
            ("random", "origin").
        eos_policy: "model" leaves the model alone. "suppress_logits" forbids EOS altogether
            (published as logits_eos_inf). "suppress_confidence" lets EOS and EOT be chosen as
            tokens, but takes them out of the distribution that confidence comes from and commits
            them after every other position of the block (published as confidence_eos_eot_inf).
        rules: What changes decoding at the decoder's points, in the order in which they act.
        early_stop: A row leaves once everything up to its first end token is committed; its text
            is that of the full canvas, and later positions stay masked.
        shapes: "ragged" feeds what rows need. "fixed" fills rows and lengths up to a few sizes: the
            same tokens in float32, and in half precision the same bits whatever stands beside a
            row. "compiled" does so as one graph (`torch.compile`; CUDA graphs on a GPU). Both take
            no hooks.
    """

    group: ClassVar[str] = "decoding"
    # Fields of a later version; see `_as_before`.
    later: ClassVar[tuple[str, ...]] = ()

    sampler: str
    length: int = Field(128, ge=1)
    steps: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    remasking: Remasking = "low_confidence"
    eos_policy: EosPolicy = "model"
    early_stop: bool = True
    rules: tuple[AnyRule, ...] = ()

    def __init__(self, **fields: Any) -> None:
        for name in fields:
            if name not in type(self).model_fields:
                raise MidspanError(f"decoding.{name}: {_not_a_field(type(self), name)}")
        super().__init__(**fields)

    @field_validator("remasking", mode="before")
    @classmethod
    def _accept_published_name(cls, rule: Any) -> Any:
        return _DREAM_RULES.get(rule, rule) if isinstance(rule, str) else rule

    @model_validator(mode="before")
    @classmethod
    def _published_runs_to_the_end(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and fields.get("compatibility"):
            return {"early_stop": False, **fields}
        return fields

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave later fields out at their defaults, so that the keys of earlier replies hold."""
        fields: dict[str, Any] = handler(self)
        for name in ("rules", *self.later):
            if name in fields and getattr(self, name) == type(self).model_fields[name].default:
                del fields[name]
        return fields

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        """Fields that contradict each other."""
        uneven = self.steps % self.num_blocks and not self.rounds
        if uneven and not self.commits_by_confidence:
            return [
                f"steps={self.steps} must be a multiple of the {self.num_blocks} blocks "
                f"(length={self.length} / block_length={self.block})"
            ]
        return []

    @property
    def approximations(self) -> tuple[str, ...]:
        """What makes the result differ from the sampler's own, one reason each."""
        return ()

    @property
    def exact(self) -> bool:
        """Whether the result is that of the sampler without acceleration."""
        return not self.approximations

    @property
    def is_fixed(self) -> bool:
        """Whether steps have fixed shapes."""
        return getattr(self, "shapes", "ragged") != "ragged"

    @property
    def short(self) -> Self:
        """What tells the time of a step: two a block, or the whole canvas where confidence decides.

        Nothing stops early, so that all rows take part in each.
        """
        steps = self.steps
        if not self.commits_by_confidence:
            steps = min(steps, 2 * self.num_blocks)
        return self.model_copy(update={"steps": steps, "early_stop": False})

    @property
    def commits_by_confidence(self) -> bool:
        """Whether confidence alone, and no schedule, says how many positions a step commits."""
        return False

    @property
    def rounds(self) -> bool:
        """Whether the schedule takes steps and blocks that do not divide."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether the result depends on a request's seed."""
        ruled = any(rule.draws for rule in self.rules)
        return self.temperature > 0 or self.remasking == "random" or ruled

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return self.length

    @property
    def num_blocks(self) -> int:
        """Blocks of the canvas."""
        return -(-self.length // self.block)

    @property
    def steps_per_block(self) -> int:
        """Steps of each block."""
        if self.rounds:
            return -(-self.steps // self.num_blocks)
        return self.steps // self.num_blocks

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 1


def _concrete(sampler: type[Sampler]) -> Iterator[type[Sampler]]:
    """The samplers that a user can name, in the order of their definition."""
    for config in sampler.__subclasses__():
        if isinstance(config.model_fields["sampler"].default, str):
            yield config
        yield from _concrete(config)


def _not_a_field(sampler: type[Sampler], name: str) -> str:
    """Why a sampler does not take a field, and what does."""
    own = sampler.model_fields["sampler"].default
    others = [
        repr(config.model_fields["sampler"].default)
        for config in _concrete(Sampler)
        if name in config.model_fields
    ]
    if others:
        return f"not a field of sampler {own!r}; use sampler {' or '.join(others)}"
    return f"not a field; those of sampler {own!r} are {', '.join(sampler.model_fields)}"
