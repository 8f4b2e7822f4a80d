"""Red-team studies: attacks on models, judged, in one resumable run folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from midspan.attacks import find
from midspan.data.behaviours import Behaviour, BehaviourSet
from midspan.engine.attack import AttackConfig
from midspan.engine.budget import Budget
from midspan.engine.journal import Journal, write_jsonl
from midspan.engine.records import assess
from midspan.engine.roles import Role
from midspan.engine.waves import Job, Turn, run
from midspan.errors import MidspanError
from midspan.frozen import first_fault
from midspan.judges.calibration import Calibration
from midspan.organism import twin
from midspan.organism.behaviours import is_organism
from midspan.study.folder import RunFolder
from midspan.study.given import NOTHING, Given
from midspan.study.kinds import write_page
from midspan.study.progress import Reporter, Stage
from midspan.study.roles import (
    HELPERS,
    TWIN,
    behaviour_set,
    chat_role,
    check_servers,
    check_specs,
    helper_role,
    is_server,
    judge_role,
)


class Plan(BaseModel):
    """One row of a study: an attack in one setting.

    Attributes:
        attack: Its name.
        fields: Of its config; the rest is its paper's.
        adaptive: Whether this is the variant that knows of MOSA.
        label: As records and tables have it, where one attack has several rows.
        budget: Instead of the study's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    fields: dict[str, Any] = Field(default_factory=dict)
    adaptive: bool = False
    label: str = ""
    budget: Budget | None = None

    @property
    def name(self) -> str:
        """As records and tables have it."""
        return self.label or (f"{self.attack} adaptive" if self.adaptive else self.attack)

    def config(self) -> AttackConfig:
        """The attack's config.

        Raises:
            MidspanError: There is no such attack, or it has no such field or value.
        """
        changes = self.fields | ({"adaptive": True} if self.adaptive else {})
        try:
            return find(self.attack).config.model_validate(changes)
        except ValidationError as error:
            raise MidspanError(f"{self.attack}: {first_fault(error)}") from error


class RedteamConfig(BaseModel):
    """One study.

    Attributes:
        models: Targets; comparisons are with the first.
        plans: Rows.
        behaviours: What is asked for; ``organism:N`` or a data set.
        helpers: Model of attacker, evaluator and translator; ``organism`` is scripted.
        judges: Judge every attempt afterwards; the first one's ASR leads, and it also answers
            attacks that ask for verdicts.
        proxies: Models that gradients are taken of, for PAL; the first that is not the target.
        budget: Of each attack on each behaviour.
        decoding: Changes of each target family's published settings.
        batch_size: Rows of a local model.
        seed: Of all draws.
        stands_for: Which model of the paper a target is: Original, Initial or MOSA.
        calibrations: Files of `midspan judge calibrate`, by judge.
        servers: Fields of `EndpointConfig`, such as prices and limits, by model. They do not change
            what is said, so that a run goes on under others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)
    plans: tuple[Plan, ...] = Field(min_length=1)
    behaviours: str
    helpers: dict[str, str] = Field(default_factory=lambda: dict.fromkeys(HELPERS, TWIN))
    judges: tuple[str, ...] = Field(min_length=1)
    proxies: tuple[str, ...] = ()
    budget: Budget = Budget()
    decoding: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(32, ge=1)
    seed: int = 0
    stands_for: dict[str, str] = Field(default_factory=dict)
    calibrations: dict[str, str] = Field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="after")
    def _rows_have_names(self) -> Self:
        names = [plan.name for plan in self.plans]
        if len(set(names)) < len(names) or len(set(self.models)) < len(self.models):
            raise ValueError("plans and models must differ; give plans of one attack labels")
        for judge in self.calibrations:
            if judge not in self.judges:
                raise ValueError(f"calibrations: {judge} is not among the judges")
        return self

    @property
    def on_twin(self) -> bool:
        """Whether the behaviours are the organism's world's."""
        return self.behaviours.partition(":")[0] == TWIN


# Sizes under which every attack can spend what the budget of twelve responses gives it.
_TWIN_SIZES: Mapping[str, dict[str, Any]] = {
    "direct": {},
    "best_of_n": {"n": 12},
    "pair": {"streams": 4, "depth": 3},
    "tap": {"branching": 2, "width": 3, "depth": 4},
    "avatar": {"tries": 4},
    "speakeasy": {"questions": 2},
    "aos": {"rounds": 3, "batch": 4},
    "pal": {"steps": 12, "candidates": 24, "ranked": 8, "check_every": 6},
    "ept": {"rounds": 6, "samples": 4},
    "dia": {},
    "advprefix": {"draws": (3, 3), "kept": 3, "completions": 3, "completion_tokens": 128},
}
# EPT's tree grows by blocks of 32 tokens, a quarter of a response each.
_TWIN_BUDGETS = {"ept": Budget(target=48)}
_ADAPTIVE = ("tap", "ept", "advprefix")


def organism_plan(attack: str, adaptive: bool = False, **fields: Any) -> Plan:
    """An attack in the organism's language and at its size."""
    known = twin.texts(attack) | _TWIN_SIZES.get(attack, {})
    return Plan(
        attack=attack,
        fields=known | fields,
        adaptive=adaptive,
        budget=_TWIN_BUDGETS.get(attack),
    )


def organism_redteam(behaviours: int = 18) -> RedteamConfig:
    """Eight attacks, three floors and three adaptive variants on three models, offline."""
    return RedteamConfig(
        models=("organism", "organism:initial", "organism:mosa"),
        plans=(
            *(organism_plan(attack) for attack in _TWIN_SIZES),
            organism_plan("dia", variant="II").model_copy(update={"label": "dia II"}),
            *(organism_plan(attack, adaptive=True) for attack in _ADAPTIVE),
        ),
        behaviours=f"{TWIN}:{behaviours}",
        judges=("exact", "exact-strongreject", "refusal-keywords"),
        proxies=("organism", "organism:mosa"),
        budget=Budget(target=12),
        decoding={"length": 128, "block_length": 32, "steps": 32},
        stands_for={
            "organism": "Original", "organism:initial": "Initial", "organism:mosa": "MOSA",
        },
    )  # fmt: skip


def attack_config(
    model: str, methods: Sequence[str], adaptive: bool, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Fields of a study of one model, for the command that attacks it.

    Args:
        model: The target.
        methods: Attacks.
        adaptive: Their adaptive variants.
        fields: Fields of the study, and by an attack's name fields of its config.
    """
    own = {method: dict(fields.get(method, {})) for method in methods}
    study = {name: value for name, value in fields.items() if name not in own}
    base: dict[str, Any] = {"helpers": dict.fromkeys(HELPERS, TWIN)}
    if is_organism(model):
        twin_study = organism_redteam()
        base |= twin_study.model_dump(exclude={"stands_for", "plans", "models"})
        plans = [organism_plan(method, adaptive, **own[method]) for method in methods]
    else:
        plans = [Plan(attack=method, fields=own[method], adaptive=adaptive) for method in methods]
    return base | {"models": (model,), "plans": tuple(plans)} | study


PRESETS = {"organism-redteam": organism_redteam}


@dataclass(frozen=True)
class RedteamResult:
    """What a finished study leaves behind.

    Attributes:
        cells: Records by model and plan.
        report: The page; None for one process of several.
        seconds: Of this command.
    """

    cells: Mapping[tuple[str, str], list[dict[str, Any]]]
    report: Path | None
    seconds: float


def run_redteam(
    config: RedteamConfig, folder: str | Path, command: str = "", given: Given = NOTHING
) -> RedteamResult:
    """Run or continue a study in a folder.

    Args:
        config: The study.
        folder: Its run folder.
        command: What started it; by default the program's own command line.
        given: Models, judges and behaviours that the caller has already.

    Raises:
        MidspanError: A name or field of the config means nothing, or the folder is another run's.
    """
    started = time.monotonic()
    behaviours = check(config, given)
    calibrations = [
        {"name": judge, "counts": Calibration.read(Path(file)).to_dict()}
        for judge, file in config.calibrations.items()
    ]
    said = config.model_dump(mode="json")
    study = RunFolder(folder, said, command, "red-team", behaviours.summary())
    with study.journal, given.merged():
        shared = study.rank.share(behaviours.behaviours)
        cells = _attack_all(config, shared, study.journal, given)
    report = None
    if study.rank.count == 1:
        write_jsonl(study.path / "calibrations.jsonl", calibrations)
        rows = (row for records in cells.values() for row in records)
        write_jsonl(study.path / "records.jsonl", rows)
        report = write_page(study.path)
    return RedteamResult(cells, report, time.monotonic() - started)


def check(config: RedteamConfig, given: Given = NOTHING) -> BehaviourSet:
    """Everything that can be refused before a model is loaded; returns what is asked for.

    Raises:
        MidspanError: A name or field of the config means nothing, or data are missing.
    """
    for plan in config.plans:
        plan.config()
    check_specs([name for name in config.judges if name not in given.judges], config.helpers)
    check_servers(config.servers, (*config.models, *config.helpers.values(), *config.judges))
    _check_language(config)
    _check_access(config)
    return given.behaviours or behaviour_set(config.behaviours, config.seed)


def _attack_all(
    config: RedteamConfig, behaviours: Sequence[Behaviour], journal: Journal, given: Given
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every plan on every model, a model at a time; their records."""
    reporter = Reporter()
    judges = {
        spec: given.judges.get(spec) or judge_role(spec, servers=config.servers)
        for spec in config.judges
    }
    helpers = {
        name: helper_role(name, spec, config.batch_size, config.servers, given)
        for name, spec in config.helpers.items()
    }
    cells = {}
    for model in config.models:
        reporter.say(f"loading {model}")
        roles = {**helpers, "judge": judges[config.judges[0]], **_models(model, config, given)}
        target = roles["target"].fingerprint
        jobs = [
            Job(find(plan.attack), plan.config(), behaviour, roles, plan.budget or config.budget)
            for plan in config.plans
            for behaviour in behaviours
        ]
        with reporter.stage(f"replies of {model}", None) as stage:

            def show(turn: Turn, stage: Stage = stage, target: str = target) -> None:
                stage.advance(turn.replies if turn.role == target else 0)

            results = run(jobs, journal, config.seed, show)
        judged = assess(jobs, results, judges, journal, config.seed)
        for place, plan in enumerate(config.plans):
            start = place * len(behaviours)
            cells[model, plan.name] = [
                {"model": model, "plan": plan.name} | item.record()
                for item in judged[start : start + len(behaviours)]
            ]
    return cells


def _check_language(config: RedteamConfig) -> None:
    """The scripts and the exact judge know one world only."""
    if config.on_twin:
        return
    asked = {role for plan in config.plans for role in find(plan.attack).roles}
    scripted = [name for name, spec in config.helpers.items() if spec == TWIN and name in asked]
    if scripted:
        raise MidspanError(
            f"{scripted[0]}: the scripted one knows the organism's world; name a model"
        )
    if exact := [judge for judge in config.judges if judge.startswith("exact")]:
        raise MidspanError(f"judge: {exact[0]} knows the organism's world; name another")


def _check_access(config: RedteamConfig) -> None:
    """Attacks that need more than text cannot be run on servers."""
    needy = [plan.attack for plan in config.plans if "proxy" in find(plan.attack).roles]
    if needy and not all(set(config.proxies) - {model} for model in config.models):
        raise MidspanError(f"proxies: {needy[0]} takes gradients of one; name one for each target")
    if needy and any(is_server(model) for model in (*config.models, *config.proxies)):
        raise MidspanError(f"{needy[0]}: reads likelihoods and gradients; servers give text alone")


def _models(model: str, config: RedteamConfig, given: Given) -> dict[str, Role]:
    """The target, and a proxy where an attack takes one."""
    target = chat_role(model, config.decoding, config.batch_size, config.servers, given)
    roles = {"target": target}
    if any("proxy" in find(plan.attack).roles for plan in config.plans):
        proxy = next(spec for spec in config.proxies if spec != model)
        roles["proxy"] = chat_role(proxy, config.decoding, config.batch_size, given=given)
    return roles
