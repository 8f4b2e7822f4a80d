"""What a user says about decoding, checked before any work starts: one config a sampler.

A sampler's config has the fields that the sampler has, and no others. What a sampler does not vary
is a constant of its class, so that the rest of the package reads every config in the same way.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

Remasking = Literal["low_confidence", "random", "margin", "entropy"]
EosPolicy = Literal["model", "suppress_logits", "suppress_confidence"]

# Dream's published names of the same four rules.
_DREAM_RULES = {"origin": "random", "maskgit_plus": "low_confidence", "topk_margin": "margin"}
_CONFIDENCE_RULES = ("low_confidence", "margin")


class Sampler(FrozenConfig):
    """What every sampler's config has. Frozen; a wrong field is a `MidspanError` of one line.

    Attributes:
        sampler: The published sampler to follow: "llada", "dream" or "block".
        length: Tokens of the canvas.
        steps: Steps over the whole canvas, a multiple of the number of blocks. A step that would
            commit nothing is left out and costs no forward.
        temperature: 0 takes the likeliest token, else tokens are sampled.
        remasking: Which positions a step commits: those of the highest token probability
            ("low_confidence", Dream's "maskgit_plus"), of the largest gap between the two best
            tokens ("margin", "topk_margin"), of the lowest entropy ("entropy"), or any
            ("random", "origin").
        eos_policy: "model" leaves the model alone. "suppress_logits" forbids EOS altogether
            (published as logits_eos_inf). "suppress_confidence" lets EOS and EOT be chosen as
            tokens, but takes them out of the distribution that confidence comes from and commits
            them after every other position of the block (published as confidence_eos_eot_inf).
        early_stop: A row leaves once everything up to its first end token is committed; its text
            is that of the full canvas, and later positions stay masked.
    """

    group: ClassVar[str] = "decoding"

    sampler: str
    length: int = Field(128, ge=1)
    steps: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
    remasking: Remasking = "low_confidence"
    eos_policy: EosPolicy = "model"
    early_stop: bool = True

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        """Fields that contradict each other."""
        if self.steps % self.num_blocks and not self.commits_by_confidence:
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
    def commits_by_confidence(self) -> bool:
        """Whether confidence alone, and no schedule, says how many positions a step commits."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether the result depends on a request's seed."""
        return self.temperature > 0 or self.remasking == "random"

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
        return self.steps // self.num_blocks

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 1


class LladaSampler(Sampler):
    """LLaDA's sampler, and Fast-dLLM's accelerations of it.

    Blocks from left to right, an even number of tokens a step, confidence from the model's own
    distribution.

    Attributes:
        block_length: Tokens of a block, a divisor of the length; None for one block.
        guidance: Weight w of classifier-free guidance, u + (w + 1) * (c - u), with u the logits
            under a masked prompt; costs a second forward a step.
        cache: Which keys and values a forward takes from an earlier one. "prefix": those left of
            the block; "dual": those on both sides of it. Approximate.
        refresh_every: With a cache, a full forward at least every so many forwards of a block;
            None for one at each block's first forward alone.
        threshold: A step commits every position at least so confident, and at least one; `steps`
            then has no effect.
        factor: A step commits the n most confident positions, for the largest n at which the
            n-th has a confidence of at least 1 - factor / (n + 1); `steps` then has no effect.
        ties: Below the threshold, "left" commits the best position, "together" all positions
            within 1e-5 of it (dInfer).
        compatibility: The published sampler to the letter: its faults, its draws from torch's
            global random state, full canvas, no request seeds, no early stop. For reproduction.
    """

    top_p: ClassVar[None] = None
    top_k: ClassVar[None] = None
    alg_temp: ClassVar[float] = 0.0
    sub_block_length: ClassVar[None] = None
    editing_threshold: ClassVar[None] = None

    sampler: Literal["llada"] = "llada"
    block_length: int | None = Field(None, ge=1)
    guidance: float = Field(0.0, ge=0, allow_inf_nan=False)
    cache: Literal["none", "prefix", "dual"] = "none"
    refresh_every: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, gt=0, le=1)
    factor: float | None = Field(None, gt=0, allow_inf_nan=False)
    ties: Literal["left", "together"] = "left"
    compatibility: bool = False

    def _problems(self) -> list[str]:
        if self.length % self.block:
            return [f"block_length={self.block} must divide length={self.length}"]
        rule = "threshold" if self.factor is None else "factor"
        wrong = {
            "give threshold or factor, not both": None not in (self.threshold, self.factor),
            f"{rule} needs remasking='low_confidence' or 'margin'": self.commits_by_confidence
            and self.remasking not in _CONFIDENCE_RULES,
            "ties needs threshold": self.ties == "together" and self.threshold is None,
            "guidance needs cache='none'": self.guidance > 0 and self.cache != "none",
            "refresh_every needs a cache": self.refresh_every is not None and self.cache == "none",
        }
        problems = super()._problems() + [text for text, is_wrong in wrong.items() if is_wrong]
        return problems + (self._unpublished() if self.compatibility else [])

    def _unpublished(self) -> list[str]:
        wrong = {
            "early_stop must be false where compatibility is true": self.early_stop,
            f"remasking={self.remasking!r} is not in LLaDA's published sampler": self.remasking
            in ("margin", "entropy"),
            "compatibility is for LLaDA's sampler, not accelerated": not self.exact,
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]

    @property
    def approximations(self) -> tuple[str, ...]:
        """What makes the result differ from the sampler's own, one reason each."""
        reasons = []
        if self.cache != "none" and self.refresh_every != 1:
            reasons.append(f"cache={self.cache}: keys and values outside the block are not renewed")
        if self.commits_by_confidence:
            reasons.append("threshold or factor: tokens committed together do not see each other")
        return tuple(reasons)

    @property
    def commits_by_confidence(self) -> bool:
        """Whether confidence alone, and no schedule, says how many positions a step commits."""
        return self.threshold is not None or self.factor is not None

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return self.length if self.block_length is None else self.block_length

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 2 if self.guidance else 1


class _Tempered(Sampler):
    """Samplers whose confidence comes from the tempered and filtered distribution."""

    factor: ClassVar[None] = None

    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    alg_temp: float = Field(0.0, ge=0, allow_inf_nan=False)

    @field_validator("alg_temp", mode="before")
    @classmethod
    def _accept_published_none(cls, alg_temp: Any) -> Any:
        return 0.0 if alg_temp is None else alg_temp

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.alg_temp and self.remasking == "random":
            problems.append("alg_temp has no effect with remasking='random'; leave it out")
        return problems

    @property
    def is_random(self) -> bool:
        """Whether the result depends on a request's seed."""
        return super().is_random or self.alg_temp > 0


class DreamSampler(_Tempered):
    """Dream's sampler: the whole canvas at once on a linear time schedule.

    Attributes:
        top_p: Nucleus filter. It acts on the confidence too, also at temperature 0.
        top_k: Filter to the k likeliest tokens.
        alg_temp: Above 0, positions are sampled by softmax(confidence / alg_temp).
        eps: Where the time schedule ends.
        guidance: See `LladaSampler`.
        compatibility: See `LladaSampler`.
    """

    block_length: ClassVar[None] = None
    sub_block_length: ClassVar[None] = None
    cache: ClassVar[Literal["none"]] = "none"
    threshold: ClassVar[None] = None
    editing_threshold: ClassVar[None] = None

    sampler: Literal["dream"] = "dream"
    eps: float = Field(1e-3, gt=0, lt=1)
    guidance: float = Field(0.0, ge=0, allow_inf_nan=False)
    compatibility: bool = False

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.compatibility and self.early_stop:
            problems.append("early_stop must be false where compatibility is true")
        if self.compatibility and (self.guidance or self.eos_policy != "model"):
            problems.append("guidance and eos_policy are not in Dream's published sampler")
        return problems

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 2 if self.guidance else 1


class BlockSampler(_Tempered):
    """Block diffusion for block-causal models (LLaDA2, SDAR, Fast-dLLM v2).

    Blocks count from the prompt's first token, and each sees itself and those before it. The last
    block is filled to its end and cut. Where the model's logits are shifted, a block's first token
    is the likeliest one after the block before, at any temperature, in a step of its own.

    Attributes:
        top_p: See `DreamSampler`.
        top_k: See `DreamSampler`.
        alg_temp: See `DreamSampler`.
        block_length: Tokens of a block; None for one block of the whole length.
        sub_block_length: A block is filled in parts of so many tokens, a divisor of the block
            length, from left to right (Fast-dLLM v2); None for the block at once.
        cache: "prefix" keeps the keys and values of finished blocks, and is exact.
        threshold: A step commits every position above it, where these are no fewer than the step's
            own number.
        editing_threshold: Committed tokens of the current block give way to another token of a
            higher probability than this; anchors do not (LLaDA2.1).
    """

    guidance: ClassVar[float] = 0.0
    compatibility: ClassVar[bool] = False

    sampler: Literal["block"] = "block"
    block_length: int | None = Field(None, ge=1)
    sub_block_length: int | None = Field(None, ge=1)
    cache: Literal["none", "prefix"] = "prefix"
    threshold: float | None = Field(None, gt=0, le=1)
    editing_threshold: float | None = Field(None, gt=0, lt=1)

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.threshold is not None and self.remasking not in _CONFIDENCE_RULES:
            problems.append("threshold needs remasking='low_confidence' or 'margin'")
        part = self.sub_block_length
        if part is not None and self.block % part:
            problems.append(f"sub_block_length={part} must divide block_length={self.block}")
        if part is not None and self.editing_threshold is not None:
            problems.append("editing_threshold needs sub_block_length=None: blocks at once")
        return problems

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return self.length if self.block_length is None else self.block_length


DecodingConfig = Annotated[
    LladaSampler | DreamSampler | BlockSampler, Field(discriminator="sampler")
]
SAMPLERS: dict[str, type[LladaSampler] | type[DreamSampler] | type[BlockSampler]] = {
    "llada": LladaSampler,
    "dream": DreamSampler,
    "block": BlockSampler,
}


def _not_a_field(sampler: type[Sampler], name: str) -> str:
    """Why a sampler does not take a field, and what does."""
    own = sampler.model_fields["sampler"].default
    others = [other for other, config in SAMPLERS.items() if name in config.model_fields]
    if others:
        return f"not a field of sampler {own!r}; use sampler {listed(others, ' or ')}"
    return f"not a field; those of sampler {own!r} are {', '.join(sampler.model_fields)}"


def listed(names: Iterable[str], between: str = ", ") -> str:
    """Names in quotes."""
    return between.join(map(repr, names))
