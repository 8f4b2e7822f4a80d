"""What a user says about decoding, checked before any work starts: one config a sampler.

A sampler's config has the fields that the sampler has, and no others. What a sampler does not vary
is a constant of its class, so that the rest of the package reads every config in the same way.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from midspan.decoding.sampler import Sampler, Schedule, Shapes

_CONFIDENCE_RULES = ("low_confidence", "margin")
# Fields by which confidence alone says what a step commits.
_RULES = ("threshold", "factor", "doubt")


class LladaSampler(Sampler):
    """LLaDA's sampler, and Fast-dLLM's accelerations of it.

    Blocks from left to right, confidence from the model's own distribution. With the schedule
    "linear" it is dllm's sampler of masked models (MDLM).

    Attributes:
        block_length: Tokens of a block, a divisor of the length; None for one block. With the
            schedule "linear" the last block may be shorter.
        schedule: How many tokens a step commits: "even" spreads what is open over the block's
            steps, the remainder on the first ones; "linear" takes at every step what is open
            divided by the steps left, halves rounded to even (dllm).
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
        doubt: A step commits the n most confident positions, for the largest n at which those
            before the n-th have together at most this much doubt, 1 - confidence; `steps` then has
            no effect.
        revise: Tokens of a full block that were committed at less confidence than this, or stand
            beside the same token, are masked and decided again, once a block.
        ties: Below the threshold, "left" commits the best position, "together" all positions
            within 1e-5 of it (dInfer).
        trim: With the dual cache, a forward computes a row from its first to its last position
            that is open or has just been committed, and not its block. Approximate.
        refresh_blocks: With trim, a full forward at the first of every so many blocks.
        compatibility: The published sampler to the letter: its faults, its draws from torch's
            global random state, full canvas, no request seeds, no early stop. For reproduction.
    """

    top_p: ClassVar[None] = None
    top_k: ClassVar[None] = None
    alg_temp: ClassVar[float] = 0.0
    sub_block_length: ClassVar[None] = None
    editing_threshold: ClassVar[None] = None
    later: ClassVar[tuple[str, ...]] = (
        *("schedule", "trim", "refresh_blocks", "shapes"),
        *("doubt", "revise"),
    )

    sampler: Literal["llada"] = "llada"
    block_length: int | None = Field(None, ge=1)
    schedule: Schedule = "even"
    guidance: float = Field(0.0, ge=0, allow_inf_nan=False)
    cache: Literal["none", "prefix", "dual"] = "none"
    refresh_every: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, gt=0, le=1)
    factor: float | None = Field(None, gt=0, allow_inf_nan=False)
    doubt: float | None = Field(None, gt=0, allow_inf_nan=False)
    revise: float | None = Field(None, gt=0, le=1)
    ties: Literal["left", "together"] = "left"
    trim: bool = False
    refresh_blocks: int = Field(1, ge=1)
    compatibility: bool = False
    shapes: Shapes = "ragged"

    def _problems(self) -> list[str]:
        if self.length % self.block and not self.rounds:
            return [f"block_length={self.block} must divide length={self.length}"]
        rules = [name for name in _RULES if getattr(self, name) is not None]
        rule = "".join(rules[:1])
        wrong = {
            f"give {' or '.join(rules)}, not both": len(rules) > 1,
            f"{rule} needs remasking='low_confidence' or 'margin'": self.commits_by_confidence
            and self.remasking not in _CONFIDENCE_RULES,
            "ties needs threshold": self.ties == "together" and self.threshold is None,
            f"revise needs {' or '.join(_RULES)}": self.revise is not None and not rules,
            "guidance needs cache='none'": self.guidance > 0 and self.cache != "none",
            "trim needs cache='dual'": self.trim and self.cache != "dual",
            "refresh_blocks needs trim=True": self.refresh_blocks > 1 and not self.trim,
            "refresh_every needs a cache": self.refresh_every is not None and self.cache == "none",
            f"shapes={self.shapes!r} needs a block_length that divides the length": self.is_fixed
            and self.length % self.block > 0,
            f"shapes={self.shapes!r} needs compatibility=False": self.is_fixed
            and self.compatibility,
            f"shapes={self.shapes!r} needs trim=False": self.is_fixed and self.trim,
            f"shapes={self.shapes!r} needs revise=None": self.is_fixed and self.revise is not None,
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
            what = "of what has been committed" if self.trim else "outside the block"
            reasons.append(f"cache={self.cache}: keys and values {what} are not renewed")
        if self.commits_by_confidence:
            reasons.append(
                "threshold, factor or doubt: tokens committed together do not see each other"
            )
        return tuple(reasons)

    @property
    def rounds(self) -> bool:
        """Whether the schedule takes steps and blocks that do not divide."""
        return self.schedule == "linear"

    @property
    def commits_by_confidence(self) -> bool:
        """Whether confidence alone, and no schedule, says how many positions a step commits."""
        return any(getattr(self, name) is not None for name in _RULES)

    @property
    def block(self) -> int:
        """Tokens of a block."""
        block = self.length if self.block_length is None else self.block_length
        return min(block, self.length) if self.rounds else block

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 2 if self.guidance else 1


class _Tempered(Sampler):
    """Samplers whose confidence comes from the tempered and filtered distribution."""

    factor: ClassVar[None] = None
    doubt: ClassVar[None] = None
    revise: ClassVar[None] = None

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
    schedule: ClassVar[Schedule] = "even"
    cache: ClassVar[Literal["none"]] = "none"
    threshold: ClassVar[None] = None
    editing_threshold: ClassVar[None] = None
    later: ClassVar[tuple[str, ...]] = ("shapes",)

    sampler: Literal["dream"] = "dream"
    eps: float = Field(1e-3, gt=0, lt=1)
    guidance: float = Field(0.0, ge=0, allow_inf_nan=False)
    compatibility: bool = False
    shapes: Shapes = "ragged"

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.is_fixed and self.compatibility:
            problems.append(f"shapes={self.shapes!r} needs compatibility=False")
        if self.shapes == "compiled" and self.top_p is not None and self.top_p < 1:
            problems.append("shapes='compiled' needs top_p=None: the filter's work varies")
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
    """Block diffusion for block-causal models (LLaDA2, SDAR, A2D, Fast-dLLM v2).

    Each block sees itself and those before it. Blocks count from the prompt's first token, and the
    last one is filled to its end and cut; for A2D they begin with the canvas, the prompt's are
    counted back from there, and the last one may be shorter. Where the model's logits are shifted,
    a block's first token is the likeliest one after the block before, at any temperature, in a
    step of its own.

    Attributes:
        top_p: See `DreamSampler`.
        top_k: See `DreamSampler`.
        alg_temp: See `DreamSampler`; only without a threshold.
        block_length: Tokens of a block; None for one block of the whole length.
        sub_block_length: A block is filled in parts of so many tokens, a divisor of the block
            length, from left to right (Fast-dLLM v2); None for the block at once.
        cache: "prefix" keeps the keys and values of finished blocks, and is exact.
        schedule: "even" spreads a block's tokens over its steps, open or not; "linear" is
            `LladaSampler`'s, as in dllm's sampler of block diffusion (BD3LM).
        guidance: See `LladaSampler`; only without a cache.
        threshold: A step commits every position above it, where these are no fewer than the step's
            own number.
        editing_threshold: Committed tokens of the current block give way to another token of a
            higher probability than this; anchors do not (LLaDA2.1).
        compatibility: dllm's sampler to the letter, see `LladaSampler`; for the schedule "linear".
    """

    shapes: ClassVar[Shapes] = "ragged"
    later: ClassVar[tuple[str, ...]] = (
        *("schedule", "guidance", "compatibility"),
        "sub_block_length",
    )

    sampler: Literal["block"] = "block"
    block_length: int | None = Field(None, ge=1)
    sub_block_length: int | None = Field(None, ge=1)
    schedule: Schedule = "even"
    guidance: float = Field(0.0, ge=0, allow_inf_nan=False)
    cache: Literal["none", "prefix"] = "prefix"
    threshold: float | None = Field(None, gt=0, le=1)
    editing_threshold: float | None = Field(None, gt=0, lt=1)
    compatibility: bool = False

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.threshold is not None and self.remasking not in _CONFIDENCE_RULES:
            problems.append("threshold needs remasking='low_confidence' or 'margin'")
        if self.threshold is not None and self.alg_temp:
            problems.append("alg_temp needs threshold=None: a drawn score is no confidence")
        part = self.sub_block_length
        if part is not None and self.block % part:
            problems.append(f"sub_block_length={part} must divide block_length={self.block}")
        if part is not None and self.editing_threshold is not None:
            problems.append("editing_threshold needs sub_block_length=None: blocks at once")
        if self.guidance and self.cache != "none" and not self.compatibility:
            problems.append("guidance needs cache='none'")
        return problems + (self._unpublished() if self.compatibility else [])

    def _unpublished(self) -> list[str]:
        plain = BlockSampler(length=self.length, early_stop=False)
        own: tuple[str, ...] = ("eos_policy", "top_p", "top_k", "alg_temp", "threshold")
        own += ("editing_threshold", "sub_block_length")
        wrong = {
            "compatibility needs schedule='linear'": not self.rounds,
            "early_stop must be false where compatibility is true": self.early_stop,
            f"remasking={self.remasking!r} is not in dllm's published sampler": self.remasking
            in ("margin", "entropy"),
            **{
                f"{name} is not in dllm's published sampler": getattr(self, name)
                != getattr(plain, name)
                for name in own
            },
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]

    @property
    def rounds(self) -> bool:
        """Whether the schedule takes steps and blocks that do not divide."""
        return self.schedule == "linear"

    @property
    def forwards_per_step(self) -> int:
        """Forward passes that a step costs."""
        return 2 if self.guidance else 1

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
