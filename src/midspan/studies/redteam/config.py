"""What a red-team study attacks, with what, judged by whom."""

from typing import Any, Self

from pydantic import Field, model_validator

from midspan.engine.budget import Budget
from midspan.frozen import FrozenConfig
from midspan.organism.worlds import FIRST, world_of
from midspan.studies.defences import Defences
from midspan.studies.redteam.roles import HELPERS


class AttackSpec(FrozenConfig):
    """One row of a study: an attack in one setting.

    Attributes:
        attack: Its name.
        config: Fields of its config; the rest is its paper's.
        adaptive: Whether this is the variant that knows of MOSA.
        label: As records and tables have it, where one attack has several rows.
        budget: Instead of the study's.
    """

    attack: str
    config: dict[str, Any] = Field(default_factory=dict)
    adaptive: bool = False
    label: str = ""
    budget: Budget | None = None

    @property
    def name(self) -> str:
        """As records and tables have it."""
        return self.label or (f"{self.attack} adaptive" if self.adaptive else self.attack)


class RedteamConfig(FrozenConfig):
    """One study.

    Attributes:
        models: Targets; comparisons are with the first. ``MODEL with DEFENCE`` is one behind a
            defence.
        attacks: Rows.
        behaviors: What is asked for; ``organism:N``, ``organism2:N`` or a data set.
        column: Column of the requests in a file of one's own, or several of which it has one.
        helpers: Model of attacker, evaluator and translator; an organism's name is its script.
        judges: Judge every attempt afterwards; the first one's ASR leads, and it also answers
            attacks that ask for verdicts.
        proxies: Models that gradients are taken of, for PAL; the first that is not the target.
        budget: Of each attack on each behavior.
        decoding: Changes of each target family's published settings.
        decoding_choice: How `midspan probe fidelity --choose` came to the decoding: the reference,
            the judge, agreement and speed-ups.
        defences: Rules of decoding, by a name for ``with``; a rule's own name needs no entry.
        batch_size: Rows of a local model.
        seed: Of all draws.
        paper_models: Which model of the paper a target is: Original, Initial or MOSA.
        calibrations: Files of `midspan judge calibrate`, by judge.
        servers: Fields of `EndpointConfig`, such as prices and limits, by model. They do not change
            what is said, so that a run goes on under others.
    """

    models: tuple[str, ...] = Field(min_length=1)
    attacks: tuple[AttackSpec, ...] = Field(min_length=1)
    behaviors: str
    column: str | tuple[str, ...] | None = None
    helpers: dict[str, str] = Field(default_factory=lambda: dict.fromkeys(HELPERS, FIRST))
    judges: tuple[str, ...] = Field(min_length=1)
    proxies: tuple[str, ...] = ()
    budget: Budget = Budget()
    decoding: dict[str, Any] = Field(default_factory=dict)
    # Left out where nothing was chosen, so that runs of an earlier version go on.
    decoding_choice: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda made: not made)
    # Left out where there are none, so that runs of an earlier version go on.
    defences: Defences = Field(default_factory=dict, exclude_if=lambda defences: not defences)
    batch_size: int = Field(32, ge=1)
    seed: int = 0
    paper_models: dict[str, str] = Field(default_factory=dict)
    calibrations: dict[str, str] = Field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)

    @property
    def labels(self) -> tuple[str, ...]:
        """The targets, as the tables name them."""
        return self.models

    @model_validator(mode="after")
    def _rows_have_names(self) -> Self:
        names = [spec.name for spec in self.attacks]
        if len(set(names)) < len(names) or len(set(self.models)) < len(self.models):
            raise ValueError("attacks and models must differ; give rows of one attack labels")
        for judge in self.calibrations:
            if judge not in self.judges:
                raise ValueError(f"calibrations: {judge} is not among the judges")
        return self

    @property
    def on_organism(self) -> bool:
        """Whether the behaviors are of an organism's world."""
        return bool(world_of(self.behaviors))
