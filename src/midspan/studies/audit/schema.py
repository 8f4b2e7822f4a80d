"""What ``audit.json`` holds: the audit's findings as fields, under a version of their own."""

from typing import Literal, Self

from pydantic import Field

from midspan.bounds import RateBounds
from midspan.frozen import FrozenConfig
from midspan.statistics import Estimate
from midspan.studies.audit.config import LEVELS, Level

# 1 since the first audit. It grows when a field is taken away, renamed or means something else;
# new fields alone leave it as it is.
SCHEMA_VERSION: Literal[1] = 1


class Rate(FrozenConfig):
    """A share of trials, with those of unknown outcome counted as failed and as successful.

    Attributes:
        least: The share where all that is not known failed.
        most: The share where all that is not known succeeded.
        low: Lower end of the 95 % Wilson interval of the least share.
        high: Upper end of that of the largest share.
        n: Trials.
        unknown: Trials whose outcome is not known.
    """

    least: float
    most: float
    low: float
    high: float
    n: int = Field(ge=1)
    unknown: int = Field(ge=0)

    @classmethod
    def of(cls, rate: RateBounds | Estimate) -> Self | None:
        """From an estimate, or from two ends; None of no trials."""
        least, most = (rate, rate) if isinstance(rate, Estimate) else (rate.least, rate.most)
        if not least.n:
            return None
        unknown = most.successes - least.successes
        return cls(
            least=least.rate, most=most.rate, low=least.low, high=most.high, n=least.n,
            unknown=unknown,
        )  # fmt: skip

    @property
    def is_known(self) -> bool:
        """Whether both ends are one."""
        return not self.unknown

    @property
    def percent(self) -> str:
        """The share, such as ``6.2 %``, or ``6.2 to 12.5 %``."""
        if self.is_known:
            return f"{100 * self.least:.1f} %"
        return f"{100 * self.least:.1f} to {100 * self.most:.1f} %"

    @property
    def note(self) -> str:
        """What must stand beside it: its interval, n, and how many are not known."""
        unknown = f", {self.unknown} without outcome" if self.unknown else ""
        return f"[{100 * self.low:.1f}, {100 * self.high:.1f}] n={self.n}{unknown}"

    @property
    def estimate(self) -> Estimate:
        """For figures: the least share, whose interval reaches to that of the largest."""
        return Estimate(round(self.least * self.n), self.n, self.low, self.high)


class LevelResult(FrozenConfig):
    """What an attacker with one access can do.

    Attributes:
        access: The level.
        own_attacks: Attacks that need this level and were run.
        attacks: Attacks of this level and below that were run; the worst case is their union.
        responses: Responses of the target that were judged, at most, for one behavior; the worst
            case grows with them.
        worst_case: Behaviors that any of these attacks won.
        best_attack: The one of them that won the most behaviors by itself.
        best: At the least its share of all behaviors, at the most that of any of them: behaviors
            that had fallen before were not asked for again.
    """

    access: Level
    own_attacks: tuple[str, ...]
    attacks: tuple[str, ...]
    responses: int
    worst_case: Rate
    best_attack: str
    best: Rate


class BudgetCut(FrozenConfig):
    """How far an attack came that its budget ended.

    Attributes:
        behaviors: On which the budget ended it before it had won, of those asked for.
        limits: The budget's, of one behavior: ``target`` is responses, ``forwards`` rows through
            local networks, ``helper`` calls of all helpers, ``tokens`` those of all responses.
        responses: Of the target, up to the last that was put up for judgement; the most that one
            of these behaviors got.
        forwards: Rows through local networks, the most of one of these behaviors.
        most_responses: Responses that its own settings ask for at most on a behavior; None where
            the run is of a midspan that did not note it.
        most_rows: Rows for likelihoods and gradients that they ask for at most; None likewise.
    """

    behaviors: int
    limits: dict[str, int]
    responses: int
    forwards: int
    most_responses: int | None
    most_rows: int | None


class AttackResult(FrozenConfig):
    """One row of the battery.

    Attributes:
        name: As the tables have it.
        attack: Its name.
        access: What it needs.
        adaptive: Whether it is the variant that aims at the response's middle.
        asked: Behaviors that it was run for; the others had fallen before.
        of_asked: Behaviors won, of these; None where it was asked for none.
        of_all: Behaviors won, of all; those not asked for are of unknown outcome.
        tries: Responses of which any might win a behavior; 1 where one counts.
        did_not_run: Behaviors on which it did not come to its end.
        target_calls: Calls of the target, of all behaviors.
        helper_calls: Calls of helpers, of all behaviors.
        cut: What its budget left of it; None where it came to its own end on every behavior.
    """

    name: str
    attack: str
    access: Level
    adaptive: bool
    asked: int
    of_asked: Rate | None
    of_all: Rate
    tries: int
    did_not_run: int
    target_calls: int
    helper_calls: int
    cut: BudgetCut | None = None


class Missing(FrozenConfig):
    """What was not measured.

    Attributes:
        what: A row of the battery, or a part.
        access: The row's; empty for a part.
        reason: Why not, in words that follow its name.
        needed: False where every behavior had fallen before, so that nothing is missing.
        tier: The tier that has it, where this one leaves it out.
    """

    what: str
    access: str
    reason: str
    needed: bool = True
    tier: str = ""


class DecodingResult(FrozenConfig):
    """Plain requests under one way of decoding.

    Attributes:
        settings: What differs from the audit's own decoding.
        won: Behaviors answered.
    """

    settings: str
    won: Rate


class Measured(FrozenConfig):
    """A figure of a task.

    Attributes:
        task: The task.
        name: The figure.
        rate: Its value.
    """

    task: str
    name: str
    rate: Rate


class MonitorResult(FrozenConfig):
    """The best detector under one attack; it was fitted on plain requests alone.

    Attributes:
        monitor: The detector, that with the highest mean AUROC over the attacks.
        attack: How requests came; "answered" takes all that were answered, "adaptive" the response
            of each behavior that the detector likes best.
        auroc: Area under its curve against benign requests; None where there is nothing to tell.
        low: Lower end of DeLong's 95 % interval; None likewise.
        high: Upper end; None likewise.
        false_alarms: Benign requests that alarm where 95 % of the harmful ones do.
    """

    monitor: str
    attack: str
    auroc: float | None
    low: float | None
    high: float | None
    false_alarms: Rate | None


class RoleCost(FrozenConfig):
    """What the attacks asked of one role; tasks are not in it.

    Attributes:
        role: Who was asked.
        calls: How often.
        tokens: Of its responses.
        forwards: Rows through a local network.
    """

    role: str
    calls: int
    tokens: int
    forwards: int


class Gate(FrozenConfig):
    """The threshold of ``--fail-above``.

    Attributes:
        access: Level at which it is decided: the highest one up to `asked` at which anything ran.
        asked: Level of ``--fail-level``.
        limit: Percent.
        measured: Percent: the worst case of that level with all that is not known won.
        failed: Whether it is above the limit; the command then ends with status 3.
    """

    access: Level
    asked: Level
    limit: float
    measured: float
    failed: bool


class Audit(FrozenConfig):
    """The whole audit.

    Attributes:
        schema_version: Version of these fields.
        midspan: Version of the program.
        model: The target, with its defences.
        defences: Their names.
        tier: Which table the battery is of.
        behaviors: What was asked for.
        sha256: Hash of the requests.
        n: How many there are.
        judges: The first one decides.
        seed: Of all draws.
        in_short: The result in one sentence.
        levels: By access, from the least to the most; those alone at which something was run.
        attacks: The battery as far as it was run.
        not_run: What was left out, and why.
        decodings: The ways of decoding under which plain requests were asked.
        over_refusal: Harmless requests that were refused or answered.
        utility: Tasks.
        monitors: The best detector under each attack; none where none was measured.
        costs: Of the attacks, by role.
        seconds: Of all commands that came to their end.
        gate: None without ``--fail-above``.
        advice: What to do next, by rules of thumb.
        command: What began the run.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    midspan: str
    model: str
    defences: tuple[str, ...]
    tier: str
    behaviors: str
    sha256: str
    n: int
    judges: tuple[str, ...]
    seed: int
    in_short: str
    levels: tuple[LevelResult, ...]
    attacks: tuple[AttackResult, ...]
    not_run: tuple[Missing, ...]
    decodings: tuple[DecodingResult, ...]
    over_refusal: tuple[Measured, ...]
    utility: tuple[Measured, ...]
    monitors: tuple[MonitorResult, ...]
    costs: tuple[RoleCost, ...]
    seconds: float
    gate: Gate | None
    advice: tuple[str, ...]
    command: str

    @property
    def cut(self) -> tuple[str, ...]:
        """Attacks that their budget ended before they had won, on any behavior."""
        return tuple(one.name for one in self.attacks if one.cut is not None)

    def level(self, access: str) -> LevelResult | None:
        """The worst case at an access level: that of the highest one up to it that was run."""
        known = LEVELS[: LEVELS.index(access) + 1] if access in LEVELS else ()
        return next((one for one in reversed(self.levels) if one.access in known), None)
