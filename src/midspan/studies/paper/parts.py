"""The parts of the study, each an ordinary run in a folder of its own, and what they took."""

import json
import time
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import read_json, write_atomic
from midspan.journal.ranks import Rank, take_rank
from midspan.runs.executors import How
from midspan.runs.folder import FinishedRun, reading
from midspan.runs.progress import Reporter
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.prepare import PreparedPaper
from midspan.studies.probes import run as probes
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.redteam import run as redteam
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.tasks import run as tasks

TIME_FILE = "time.json"


def part_folder(config: PaperConfig, folder: Path, name: str) -> Path:
    """Where a part, or the adapter of a label, lies."""
    return folder / "adapters" / name if name in config.trainings else folder / name


def is_done(config: PaperConfig, folder: Path, name: str) -> bool:
    """Whether a part has come to its end."""
    return (part_folder(config, folder, name) / TIME_FILE).is_file()


def problems_of(config: PaperConfig, folder: Path, name: str) -> list[str]:
    """What makes a part that came to its end doubtful; it is then run again."""
    found: list[str] = _noted(config, folder, name).get("problems", [])
    return found


def run_part(prepared: PreparedPaper, name: str, how: How, shares: int = 0) -> None:
    """Run or continue one part, and note the seconds of the call that finished it.

    Args:
        prepared: The study.
        name: Of the part.
        how: How it is run.
        shares: How many shares of its behaviors were run before; their seconds count too.

    Raises:
        MidspanError: What the part's own run raises; an adapter that it needs is missing.
    """
    started = time.monotonic()
    problems: list[str] = []
    if name in prepared.config.trainings:
        _align(prepared, name)
    else:
        problems = _measure(prepared, name, how.command, how.fail_fast)
    folder = part_folder(prepared.config, prepared.folder, name)
    before = sum(read_json(_share_file(folder, index))["seconds"] for index in range(shares))
    notes: dict[str, Any] = {"seconds": round(time.monotonic() - started + before, 1)}
    write_atomic(
        folder / TIME_FILE, json.dumps(notes | ({"problems": problems} if problems else {}))
    )


def run_share(prepared: PreparedPaper, name: str, how: How, rank: Rank) -> None:
    """Run or continue one process's share of a part's behaviors, into its own journal.

    Its seconds stand beside that journal, for `run_part` to add up.
    """
    started = time.monotonic()
    take_rank(rank)
    part, folder = prepared.parts[name], prepared.folder / name
    assert isinstance(part, PreparedRedteam)
    redteam.run_prepared(part, folder, how.command, how.fail_fast)
    seconds = json.dumps({"seconds": time.monotonic() - started})
    write_atomic(_share_file(folder, rank.index), seconds)


def _share_file(folder: Path, index: int) -> Path:
    return folder / f"time.{index}.json"


def _align(prepared: PreparedPaper, label: str) -> None:
    from midspan.alignment import align
    from midspan.models import load

    config, data = prepared.config, prepared.data
    assert data is not None
    recipe, folder = config.trainings[label], part_folder(config, prepared.folder, label)
    with Reporter().training(label, recipe.num_steps) as show:
        result = align(load(config.base), data, recipe, folder, show)
    if result.stopped:
        raise MidspanError(f"{label}: {result.stopped}")


def _measure(prepared: PreparedPaper, name: str, command: str, fail_fast: bool) -> list[str]:
    """Run a part; what makes it doubtful."""
    config, folder, part = prepared.config, prepared.folder, prepared.parts[name]
    missing = [
        label
        for label in config.parts[name].models
        if label in config.trainings and not is_done(config, folder, label)
    ]
    if missing:
        raise MidspanError(f"{name}: there is no adapter of {missing[0]} yet; run that part first")
    if isinstance(part, PreparedRedteam):
        return redteam.run_prepared(part, folder / name, command, fail_fast).problems
    if isinstance(part, PreparedProbe):
        return probes.run_prepared(part, folder / name, command, fail_fast).problems
    return tasks.problems_of(tasks.run_prepared(part, folder / name, command, fail_fast))


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
    return float(_noted(config, folder, name)["seconds"])


def _noted(config: PaperConfig, folder: Path, name: str) -> dict[str, Any]:
    file = part_folder(config, folder, name) / TIME_FILE
    with reading(file):
        notes: dict[str, Any] = dict(read_json(file))
        float(notes["seconds"])
    return notes
