"""Run one alignment: model and data in, adapter folder out."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState

from midspan.alignment.arguments import trains_on_cpu
from midspan.alignment.card import CARD_FILE, adapter_card
from midspan.alignment.config import AlignmentConfig
from midspan.alignment.job import (
    AlignmentJob,
    after_out_of_memory,
    check_dtype,
    check_placement,
    check_processes,
    check_tracker,
    first_micro_batch,
)
from midspan.alignment.objectives import RecoveryObjective
from midspan.alignment.samples import AlignmentData, draw_samples
from midspan.alignment.trainer import METRICS_FILE, SETTINGS_FILE, WEIGHTS_FILE
from midspan.alignment.training_probes import Progress
from midspan.errors import MidspanError
from midspan.files import PUBLISHED_FILE, disk, read_jsonl, read_object, write_atomic
from midspan.frozen import changes, first_change
from midspan.journal.journal import key_of, lock
from midspan.models import DiffusionLM

RECIPE_FILE = "midspan.json"
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class AlignmentResult:
    """A finished adapter.

    Attributes:
        folder: Holds the PEFT adapter, its card, ``midspan.json`` and ``metrics.jsonl``.
        seconds: Wall time of the part that ran in this call; 0 when it was already finished.
        stopped: Why training ended early with an older adapter kept; empty when it ran through.
    """

    folder: Path
    seconds: float
    stopped: str = ""

    def metrics(self) -> list[dict[str, Any]]:
        """One row a step, as the trainer logged it."""
        return read_jsonl(self.folder / METRICS_FILE)


def align(
    lm: DiffusionLM,
    data: AlignmentData,
    config: AlignmentConfig,
    folder: str | Path,
    progress: Progress | None = None,
    track: str = "none",
) -> AlignmentResult:
    """Train an adapter; the same call continues where an interrupted one stopped.

    The model is left as it was: the adapter lives in ``folder`` alone. Only under FSDP2 it stays
    sharded. A process that is alone
    answers a lack of memory by smaller micro-batches, with the same result up to rounding. Under
    ``accelerate launch`` every process makes the same call.

    Args:
        progress: Told of every step.
        track: Where transformers reports the metrics too: "trackio", "wandb" or "tensorboard".

    Raises:
        MidspanError: Bad data (see ``draw_samples``), a model that has an adapter already, a
            folder that belongs to another recipe, that another process trains into or that cannot
            be written, a tracker that is not installed, a base in float16 or partly off its GPUs,
            or training that diverged before its first good checkpoint.
    """
    folder = Path(folder)
    check_tracker(track)
    check_dtype(lm.name, lm.base.dtype)
    check_placement(lm)
    check_processes(config)
    recipe = _recipe(lm, data, config)
    state = PartialState(cpu=trains_on_cpu(lm))
    finished = _finished(folder, recipe)
    if finished is not None:
        return finished
    samples = draw_samples(lm, data, config)
    with _alone_in(folder) if state.is_main_process else nullcontext():
        # The other processes touch nothing before: the first may be refused.
        state.wait_for_everyone()
        # Another run may have finished it in the meantime.
        finished = _finished(folder, recipe)
        if finished is None:
            job = AlignmentJob(lm, data, config, samples, folder, progress, track)
            finished = _train(job, recipe, state)
    return finished


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Within the context no other run trains into the folder.

    What is locked stays where training was interrupted, and goes where it ended.

    Raises:
        MidspanError: Another process trains into it, or it cannot be written.
    """
    path = folder / LOCK_FILE
    with disk("cannot write to", path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        lock(file, folder)
        yield
    path.unlink(missing_ok=True)


def _train(job: AlignmentJob, recipe: dict[str, Any], state: PartialState) -> AlignmentResult:
    """Train to the end, in smaller forward passes where memory is short; then write the rest."""
    folder, config = job.folder, job.config
    if state.is_main_process:
        unfinished = json.dumps(recipe | {"finished": False}, indent=1)
        write_atomic(folder / RECIPE_FILE, unfinished, PUBLISHED_FILE)
    started = time.monotonic()
    micro, stopped = first_micro_batch(config), None
    while stopped is None:
        stopped = job.train(micro)
        if stopped is None:
            micro = after_out_of_memory(config, micro)
    if state.is_main_process:
        card = adapter_card(job.lm, job.data, config, stopped)
        write_atomic(folder / CARD_FILE, card, PUBLISHED_FILE)
        seconds = time.monotonic() - started
        outcome = {"finished": True, "stopped": stopped, "seconds": seconds}
        write_atomic(folder / RECIPE_FILE, json.dumps(recipe | outcome, indent=1), PUBLISHED_FILE)
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    state.wait_for_everyone()
    return AlignmentResult(folder, time.monotonic() - started, stopped)


def _recipe(lm: DiffusionLM, data: AlignmentData, config: AlignmentConfig) -> dict[str, Any]:
    """What must be equal for a folder to be continued."""
    return {
        "config": config.model_dump(mode="json"),
        "base": lm.fingerprint,
        "data": key_of(
            harmful=[asdict(example) for example in data.harmful],
            benign=[asdict(example) for example in data.benign],
            safe=data.phrases.safe,
            procedural=data.phrases.procedural,
            **_further(data, config),
            **_reward(data, config),
        ),
    }


def _further(data: AlignmentData, config: AlignmentConfig) -> dict[str, Any]:
    """What some objectives learn from beside; those of earlier versions have none."""
    shares = config.objective.further
    kinds = {"forms": data.forms, "mentions": data.mentions}
    return {
        name: [asdict(example) for example in examples]
        for (name, examples), share in zip(kinds.items(), shares, strict=True)
        if share and examples
    }


def _reward(data: AlignmentData, config: AlignmentConfig) -> dict[str, str]:
    """The reward's name, where it decides anything."""
    learns_by_it = isinstance(config.objective, RecoveryObjective) and data.reward is not None
    return {"reward": data.reward.name} if learns_by_it and data.reward else {}


def _finished(folder: Path, recipe: dict[str, Any]) -> AlignmentResult | None:
    """What an earlier call finished, if it is still there; checks that the folder is ours."""
    path = folder / RECIPE_FILE
    if path.is_file():
        try:
            stored = read_object(path, "delete it")
        except MidspanError:
            stored = {}
        changed = changes({key: stored.get(key) for key in recipe}, recipe, "its")
        if changed:
            raise MidspanError(
                f"{folder} holds an adapter of another recipe, base or data set "
                f"({first_change(changed)}); choose another -o folder or delete it"
            )
        is_there = all((folder / name).is_file() for name in (WEIGHTS_FILE, SETTINGS_FILE))
        if stored.get("finished") and is_there:
            return AlignmentResult(folder, 0.0, stored["stopped"])
        return None
    if any(folder.glob("checkpoint-*")):
        raise MidspanError(
            f"{folder} holds checkpoints of another program; choose another -o folder"
        )
    return None
