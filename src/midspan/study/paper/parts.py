"""The parts of the study, each an ordinary run in a folder of its own, and what they took."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import write_atomic
from midspan.runs.folder import FinishedRun
from midspan.runs.progress import Reporter
from midspan.study.paper.config import ORIGINAL, PaperConfig, located
from midspan.study.paper.metrics import metrics
from midspan.study.probes.config import ProbePlan
from midspan.study.probes.run import run_probe
from midspan.study.redteam import run as redteam
from midspan.study.redteam.config import RedteamConfig
from midspan.study.tasks import config as task_config
from midspan.study.tasks import run as tasks
from midspan.study.training import load_training_data

TIME_FILE = "time.json"


def check(config: PaperConfig, folder: Path) -> None:
    """Everything that can be refused before a model is loaded: names, files, data sets.

    Raises:
        MidspanError: Naming the part and its field.
    """
    known = metrics(config)
    for hypothesis in config.hypotheses:
        if hypothesis.metric not in known:
            raise MidspanError(
                f"hypotheses: metric must be one of {', '.join(known)}; got {hypothesis.metric!r}"
            )
    specs = config.specs(folder)
    load_training_data(config.data, config.base)
    for name, part in config.parts.items():
        try:
            _check_part(located(part, specs))
        except MidspanError as error:
            raise MidspanError(f"{name}: {error}") from error


def _check_part(part: Any) -> None:
    if isinstance(part, RedteamConfig):
        redteam.check(part)
    elif isinstance(part, ProbePlan):
        part.config()
        part.material()
    else:
        task_config.build_tasks(part)


def part_folder(config: PaperConfig, folder: Path, name: str) -> Path:
    """Where a part, or the adapter of a label, lies."""
    return folder / "adapters" / name if name in config.recipes else folder / name


def is_done(config: PaperConfig, folder: Path, name: str) -> bool:
    """Whether a part has come to its end."""
    return (part_folder(config, folder, name) / TIME_FILE).is_file()


def run_part(config: PaperConfig, folder: Path, name: str, command: str) -> None:
    """Run or continue one part, and note the seconds of the call that finished it.

    Raises:
        MidspanError: What the part's own run raises; an adapter that it needs is missing.
    """
    started = time.monotonic()
    place = part_folder(config, folder, name)
    if name in config.recipes:
        _align(config, name, place)
    else:
        _measure(config, folder, name, command)
    seconds = round(time.monotonic() - started, 1)
    write_atomic(place / TIME_FILE, json.dumps({"seconds": seconds}))


def _align(config: PaperConfig, label: str, folder: Path) -> None:
    from midspan.alignment import align
    from midspan.models import load

    recipe = config.recipes[label]
    data = load_training_data(config.data, config.base)
    with Reporter().stage(f"training {label}", recipe.num_steps) as stage:

        def show(step: int, total: int, row: Mapping[str, Any]) -> None:
            stage.advance(step - stage.done, f"loss {row['loss']:.2f}")

        result = align(load(config.base), data, recipe, folder, show)
    if result.stopped:
        raise MidspanError(f"{label}: {result.stopped}")


def _measure(config: PaperConfig, folder: Path, name: str, command: str) -> None:
    part = config.parts[name]
    missing = [
        label
        for label in part.models
        if label in config.recipes and not is_done(config, folder, label)
    ]
    if missing:
        raise MidspanError(f"{name}: there is no adapter of {missing[0]} yet; run that part first")
    found = located(part, config.specs(folder))
    runners: dict[type, Callable[[Any, Path, str], Any]] = {
        RedteamConfig: redteam.run_redteam,
        ProbePlan: run_probe,
        task_config.TaskConfig: tasks.run_tasks,
    }
    runners[type(found)](found, folder / name, command)


def open_part(config: PaperConfig, folder: Path, name: str) -> FinishedRun:
    """A finished part, in which models have the study's labels.

    Raises:
        MidspanError: It is not finished.
    """
    specs = FinishedRun.open(folder / name).specs
    # An adapter is called as where the study ran; the whole folder may have moved since.
    labels = {spec: ORIGINAL if spec == config.base else Path(spec).name for spec in specs}
    return FinishedRun.open(folder / name, labels)


def seconds_of(config: PaperConfig, folder: Path, name: str) -> float:
    """Of the call that finished a part."""
    text = (part_folder(config, folder, name) / TIME_FILE).read_text(encoding="utf-8")
    return float(json.loads(text)["seconds"])
