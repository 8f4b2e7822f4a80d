"""Red-team studies: attacks on models, judged, in one resumable run folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.attacks import find
from midspan.data.behaviors import Behavior, BehaviorSet
from midspan.engine.records import assess
from midspan.engine.roles import Role
from midspan.engine.waves import Job, Turn, run
from midspan.errors import MidspanError
from midspan.files import write_jsonl
from midspan.journal.journal import Journal
from midspan.judges.calibration import Calibration
from midspan.runs.folder import RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter, Stage
from midspan.study.given import NOTHING, Given
from midspan.study.redteam.config import RedteamConfig
from midspan.study.redteam.roles import (
    TWIN,
    behavior_set,
    chat_role,
    check_servers,
    check_specs,
    helper_role,
    is_server,
    judge_role,
)


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
        given: Models, judges and behaviors that the caller has already.

    Raises:
        MidspanError: A name or field of the config means nothing, or the folder is another run's.
    """
    started = time.monotonic()
    behaviors = check(config, given)
    calibrations = [
        {"name": judge, "counts": Calibration.read(Path(file)).to_dict()}
        for judge, file in config.calibrations.items()
    ]
    said = config.model_dump(mode="json")
    study = RunFolder(folder, said, command, "red-team", behaviors.summary())
    with study.journal, given.merged():
        shared = study.rank.share(behaviors.behaviors)
        cells = _attack_all(config, shared, study.journal, given)
    report = None
    if study.rank.count == 1:
        write_jsonl(study.path / "calibrations.jsonl", calibrations)
        rows = (row for records in cells.values() for row in records)
        write_jsonl(study.path / "records.jsonl", rows)
        report = write_page(study.path)
    return RedteamResult(cells, report, time.monotonic() - started)


def check(config: RedteamConfig, given: Given = NOTHING) -> BehaviorSet:
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
    return given.behaviors or behavior_set(config.behaviors, config.seed)


def _attack_all(
    config: RedteamConfig, behaviors: Sequence[Behavior], journal: Journal, given: Given
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
            Job(find(plan.attack), plan.config(), behavior, roles, plan.budget or config.budget)
            for plan in config.plans
            for behavior in behaviors
        ]
        with reporter.stage(f"replies of {model}", None) as stage:

            def show(turn: Turn, stage: Stage = stage, target: str = target) -> None:
                stage.advance(turn.replies if turn.role == target else 0)

            results = run(jobs, journal, config.seed, show)
        judged = assess(jobs, results, judges, journal, config.seed)
        for place, plan in enumerate(config.plans):
            start = place * len(behaviors)
            cells[model, plan.name] = [
                {"model": model, "plan": plan.name} | item.record()
                for item in judged[start : start + len(behaviors)]
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
