"""What an audit puts to one model: rows of attacks by access, over-refusal, utility, a gate."""

from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from midspan.engine.budget import Budget
from midspan.frozen import FrozenConfig
from midspan.organism.worlds import world_of
from midspan.studies.defences import Defences
from midspan.studies.redteam.config import AttackSpec

# From least to most; whoever has one has all before it.
Level = Literal["chat", "infill", "sampler", "logprobs", "white-box", "weights"]
LEVELS: tuple[Level, ...] = get_args(Level)
# In place of a tier, where somebody wrote the battery.
OWN = "own"
OVER_REFUSAL, UTILITY, MONITORS = "over-refusal", "utility", "monitors"


class AuditRow(AttackSpec):
    """One row of the battery.

    Attributes:
        access: What of the target whoever runs it must have.
        on_all: Whether it asks for behaviors that have fallen already, since its parts are
            reported.
    """

    access: Level
    on_all: bool = False


class TaskPart(FrozenConfig):
    """Tasks beside the attacks.

    Attributes:
        tasks: Names, as `midspan task` has them.
        items: At most so many items of each.
        data: Local files instead of the published ones, by name.
        judge: Of over-refusal; see `TaskConfig`.
        benign: Harmless requests of one's own, each of which should be answered: a file or data
            set, as behaviors are read. They take the place of the published ones.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    items: int | None = Field(None, ge=1)
    data: dict[str, str] = Field(default_factory=dict)
    judge: str | None = None
    benign: str | None = None


class MonitorPart(FrozenConfig):
    """Detectors that read the model while it decodes: `midspan probe monitors`.

    Attributes:
        n: Requests of each kind; None takes the probe's own number.
        benign: Harmless requests for models other than the organism; a file or data set.
        fields: Of the probe's config.
    """

    n: int | None = Field(None, ge=1)
    benign: str | None = None
    fields: dict[str, Any] = Field(default_factory=dict)


class AuditConfig(FrozenConfig):
    """One audit.

    Attributes:
        model: The target.
        behind: Defences in front of it, in their order: names of `defences` or of rules.
        tier: From which table the battery was taken; a word for the page.
        attacks: The battery.
        stop_early: Ask for no behavior that has fallen to a row before, at its access or below.
        behaviors: What is asked for; an organism's or a data set.
        column: See `RedteamConfig`, as with all that is not explained here.
        helpers: By role; attacks that need one that is not there are not run.
        judges: The first one decides.
        proxies: Models that gradients are taken of.
        examples: Requests and answers that the model is tuned on, a file.
        budget: Of each attack on each behavior.
        decoding: Changes of the family's published settings.
        decoding_choice: How `midspan probe fidelity --choose` came to the decoding: the reference,
            the judge, agreement and speed-ups.
        defences: Rules of decoding, by a name for `behind`.
        batch_size: Rows of a local model.
        seed: Of all draws.
        over_refusal: Harmless requests.
        utility: Benchmarks.
        monitors: Detectors; they watch the model without its defences.
        servers: Settings of servers; they do not change what is said.
        fail_above: Percent of behaviors above which the audit has failed; None for no gate.
        fail_level: Access at which it is decided.
    """

    model: str = Field(min_length=1)
    behind: tuple[str, ...] = ()
    tier: str = OWN
    attacks: tuple[AuditRow, ...] = Field(min_length=1)
    stop_early: bool = True
    behaviors: str
    column: str | tuple[str, ...] | None = None
    helpers: dict[str, str] = Field(default_factory=dict)
    judges: tuple[str, ...] = Field(min_length=1)
    proxies: tuple[str, ...] = ()
    examples: str | None = None
    budget: Budget = Budget()
    decoding: dict[str, Any] = Field(default_factory=dict)
    # Left out where nothing was chosen, so that runs of an earlier version go on.
    decoding_choice: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda made: not made)
    defences: Defences = Field(default_factory=dict)
    batch_size: int = Field(32, ge=1)
    seed: int = 0
    over_refusal: TaskPart | None = None
    utility: TaskPart | None = None
    monitors: MonitorPart | None = None
    # None of these changes what is measured, so a run goes on under others.
    servers: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)
    fail_above: float | None = Field(None, ge=0, le=100, exclude=True)
    fail_level: Level = Field("infill", exclude=True)

    @property
    def target(self) -> str:
        """The model with its defences, as tables name it."""
        return " with ".join((self.model, *self.behind))

    @property
    def rows(self) -> tuple[AuditRow, ...]:
        """The battery from the least access to the most."""
        rows = (self._with_examples(row) for row in self.attacks)
        return tuple(sorted(rows, key=lambda row: LEVELS.index(row.access)))

    def _with_examples(self, row: AuditRow) -> AuditRow:
        if row.attack != "finetune" or self.examples is None:
            return row
        return row.model_copy(update={"config": {"examples": self.examples, **row.config}})

    @property
    def on_organism(self) -> bool:
        """Whether the behaviors are of an organism's world."""
        return bool(world_of(self.behaviors))

    @property
    def tasks(self) -> dict[str, TaskPart]:
        """The tasks beside the attacks, by the name of their folder."""
        named = {OVER_REFUSAL: self.over_refusal, UTILITY: self.utility}
        return {name: part for name, part in named.items() if part is not None}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [row.name for row in self.attacks]
        if len(set(names)) < len(names):
            raise ValueError("attacks must differ; give rows of one attack labels")
        if " with " in self.model:
            raise ValueError("model: name its defences apart, with --defence")
        return self
