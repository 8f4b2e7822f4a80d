"""From a study's names to objects, once: nothing behind this reads a spec again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from midspan.attacks import get_attack
from midspan.attacks.replay import ReplayConfig
from midspan.data.behaviors import Behavior, BehaviorSet
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.budget import Budget
from midspan.engine.capabilities import Need, lacks, refusal
from midspan.engine.roles import Role
from midspan.engine.scheduler import AttackJob
from midspan.errors import MidspanError
from midspan.judges.calibration import Calibration
from midspan.organism.worlds import check_one_world, world_of
from midspan.studies.defences import read_defences
from midspan.studies.given import NOTHING, Given
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.replay import Source
from midspan.studies.redteam.roles import (
    Participant,
    SpecReader,
    behavior_set,
    read_servers,
)


@dataclass(frozen=True)
class PreparedAttack:
    """One row of a study.

    Attributes:
        label: As records and tables have it.
        attack: What runs.
        config: Its settings.
        budget: Of each behavior.
    """

    label: str
    attack: Attack
    config: AttackConfig
    budget: Budget

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the target."""
        return self.attack.needs(self.config)


@dataclass(frozen=True)
class Target:
    """A model under attack, and the one whose gradients stand for its own."""

    model: Participant
    proxy: Participant | None = None

    @property
    def spec(self) -> str:
        """As users name it."""
        return self.model.spec

    def open(self) -> dict[str, Role]:
        """Load both; they are roles by the names under which attacks ask for them."""
        roles = {"target": self.model.open()}
        if self.proxy is not None:
            itself = self.proxy is self.model
            roles["proxy"] = roles["target"] if itself else self.proxy.open()
        return roles


@dataclass(frozen=True)
class PreparedRedteam:
    """A study that can start: nothing is left that a wrong name or field could stop.

    Attributes:
        config: As users wrote it.
        attacks: Rows.
        behaviors: What is asked for.
        targets: In the order of the tables; loaded one after the other.
        helpers: By name.
        judges: By spec; the first one leads.
        calibrations: By judge.
        given: What the caller had in hand.
    """

    config: RedteamConfig
    attacks: tuple[PreparedAttack, ...]
    behaviors: BehaviorSet
    targets: tuple[Target, ...]
    helpers: Mapping[str, Participant]
    judges: Mapping[str, Participant]
    calibrations: Mapping[str, Calibration]
    given: Given = NOTHING

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Everybody who may be asked something."""
        models = (target.model for target in self.targets)
        return (*models, *self.asked_helpers, *self.judges.values())

    @property
    def needs(self) -> dict[str, frozenset[Need]]:
        """What the attacks ask of the targets, by model."""
        asked: frozenset[Need] = frozenset[Need]().union(*(row.needs for row in self.attacks))
        return {target.model.model: asked for target in self.targets}

    def jobs(self, behaviors: Sequence[Behavior], roles: Mapping[str, Role]) -> list[AttackJob]:
        """Every attack on some behaviors, an attack at a time."""
        return [
            AttackJob(row.attack, row.config, behavior, roles, row.budget)
            for row in self.attacks
            for behavior in behaviors
        ]

    @property
    def asked_helpers(self) -> tuple[Participant, ...]:
        """Helpers that some attack asks."""
        roles = {role for row in self.attacks for role in row.attack.roles}
        return tuple(helper for name, helper in self.helpers.items() if name in roles)


def prepare(config: RedteamConfig, given: Given = NOTHING) -> PreparedRedteam:
    """Turn names into objects, and refuse whatever can be refused before a model is loaded.

    Args:
        config: The study.
        given: Models, judges and behaviors that the caller has in hand.

    Raises:
        MidspanError: A name or field means nothing, or data are missing.
    """
    attacks = tuple(prepare_attack(spec, config.budget) for spec in config.attacks)
    reader = SpecReader(read_servers(config.servers), given, read_defences(config.defences))
    judges = {spec: reader.judge(spec) for spec in config.judges}
    helpers = {
        name: reader.helper(name, spec, config.batch_size) for name, spec in config.helpers.items()
    }
    models = [reader.model(spec, config.batch_size, config.decoding) for spec in config.models]
    reader.check_servers((*models, *helpers.values(), *judges.values()))
    for model in models:
        _check_served(attacks, model)
    _check_weights(attacks, models, given)
    if not config.on_organism:
        _check_language(attacks, helpers, judges)
    _check_worlds(config, attacks)
    targets = _targets(config, attacks, models, reader)
    return PreparedRedteam(
        config=config,
        attacks=attacks,
        behaviors=given.behaviors or behavior_set(config.behaviors, config.seed, config.column),
        targets=targets,
        helpers=helpers,
        judges=judges,
        calibrations={
            judge: Calibration.read(Path(file)) for judge, file in config.calibrations.items()
        },
        given=given,
    )


def prepare_attack(spec: AttackSpec, budget: Budget) -> PreparedAttack:
    """A row with its attack and checked settings.

    Args:
        spec: The row.
        budget: Where the row has none of its own.

    Raises:
        MidspanError: There is no such attack, it has no such field or value, or what it replays
            cannot be replayed.
    """
    attack = get_attack(spec.attack)
    fields = spec.config | ({"adaptive": True} if spec.adaptive else {})
    config = attack.config.model_validate(fields, within=spec.attack)
    if isinstance(config, ReplayConfig) and not config.cases:
        config = config.model_copy(update={"cases": Source.open(config.run).cases(config)})
    if attack.check is not None:
        attack.check(config)
    return PreparedAttack(spec.name, attack, config, spec.budget or budget)


def _check_language(
    attacks: Sequence[PreparedAttack],
    helpers: Mapping[str, Participant],
    judges: Mapping[str, Participant],
) -> None:
    """The scripts and the exact judge know the organisms' worlds only."""
    roles = {role for row in attacks for role in row.attack.roles}
    for name, helper in helpers.items():
        if helper.knows_organism_alone and name in roles:
            raise MidspanError(f"{name}: the scripted one knows the organism's world; name a model")
    for judge in judges.values():
        if judge.knows_organism_alone:
            raise MidspanError(f"judge: {judge.spec} knows the organism's world; name another")


def _check_worlds(config: RedteamConfig, attacks: Sequence[PreparedAttack]) -> None:
    """Requests of one world mean nothing to models and helpers of the other."""
    world = world_of(config.behaviors)
    check_one_world(world, "models", config.models)
    roles = {role for row in attacks for role in row.attack.roles}
    for name, spec in config.helpers.items():
        if name in roles:
            check_one_world(world, name, (spec,))
    if any("proxy" in row.attack.roles for row in attacks):
        check_one_world(world, "proxies", config.proxies)


def _check_served(attacks: Sequence[PreparedAttack], model: Participant) -> None:
    """Refuse, before anything is spent, attacks that need what a server does not give."""
    if model.record is None:
        return
    for row in attacks:
        if missing := lacks(model.record, row.needs):
            raise refusal(row.label, missing, model.spec, model.record)


def _check_weights(
    attacks: Sequence[PreparedAttack], models: Sequence[Participant], given: Given
) -> None:
    """Attacks on weights need models that have any; those on an adapter, one that has one."""
    for row in (row for row in attacks if row.attack.changes):
        if row.attack.changes == "adapter" and not any(
            has_adapter(one.model, given) for one in models
        ):
            raise MidspanError(
                f"{row.label}: not applicable to {models[0].spec}, which has no adapter to scale"
            )


def has_adapter(model: str, given: Given) -> bool:
    """Whether a model has an adapter whose strength can be changed."""
    from midspan.models.sources import parse_spec

    if model in given.models:
        return hasattr(given.models[model].model, "peft_config")
    return parse_spec(model).adapter is not None


def _targets(
    config: RedteamConfig,
    attacks: Sequence[PreparedAttack],
    models: Sequence[Participant],
    reader: SpecReader,
) -> tuple[Target, ...]:
    """The models, each with the first proxy that is another model where an attack takes one."""
    takers = [row.attack.name for row in attacks if "proxy" in row.attack.roles]
    if not takers:
        return tuple(map(Target, models))
    proxies = [reader.model(spec, config.batch_size, config.decoding) for spec in config.proxies]
    targets = []
    for model in models:
        others = [proxy for proxy in proxies if proxy.spec != model.spec]
        if not others:
            raise MidspanError(
                f"proxies: {takers[0]} takes gradients of one; name one for each target"
            )
        targets.append(Target(model, others[0]))
    for proxy in proxies:
        if proxy.record is not None:
            raise refusal(f"{takers[0]}: proxy", ("gradients",), proxy.spec, proxy.record)
    return tuple(targets)
