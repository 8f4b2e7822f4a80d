"""lm-eval from the command line: one model, tasks by their names, one run folder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from midspan.adapters.lm_eval import MidspanLM, Settings
from midspan.errors import MidspanError
from midspan.files import write_atomic
from midspan.runs.folder import RunFolder


@dataclass(frozen=True)
class Evaluation:
    """What `midspan task --lm-eval` is asked for.

    Attributes:
        tasks: Names that lm-eval knows, or that files in `include_path` define.
        include_path: A folder of task files.
        chat: Whether prompts are put into the model's chat format.
        items: At most so many items of each task.
        decoding: Fields of a `DecodingConfig`.
        batch_size: Rows that go through the model together.
        seed: Of all draws.
    """

    tasks: tuple[str, ...]
    include_path: Path | None = None
    chat: bool = True
    items: int | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 0


def evaluate(model: str, evaluation: Evaluation, folder: Path, command: str) -> str:
    """Run or continue lm-eval on a model; returns its table, with the settings above it.

    Raises:
        MidspanError: A task that lm-eval does not know, or whose data are out of reach.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    own = str(evaluation.include_path) if evaluation.include_path else None
    # lm-eval's own tasks are thousands of files, which take half a minute to list.
    manager = TaskManager(include_path=own, include_defaults=False)
    if not set(evaluation.tasks) <= set(manager.all_tasks):
        manager = TaskManager(include_path=own)
    unknown = [name for name in evaluation.tasks if name not in manager.all_tasks]
    if unknown:
        raise MidspanError(f"--lm-eval: {unknown[0]} is no task of lm-eval 0.4.13")
    fields = json.loads(json.dumps({"model": model, **asdict(evaluation)}, default=str))
    run = RunFolder(folder, fields, command)
    run.journal.close()
    settings = Settings(evaluation.decoding, batch_size=evaluation.batch_size, seed=evaluation.seed)
    lm = MidspanLM(model, settings, run.path)
    try:
        output = simple_evaluate(
            model=lm,
            tasks=list(evaluation.tasks),
            limit=evaluation.items,
            apply_chat_template=evaluation.chat,
            task_manager=manager,
            bootstrap_iters=1000,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MidspanError(f"--lm-eval: {', '.join(evaluation.tasks)}: {reason}") from error
    truncated = lm.truncated_of_all()
    if output is None:
        return ""
    results = {key: output[key] for key in ("results", "versions", "n-samples", "configs")}
    decoding = lm.config.model_dump(mode="json")
    page = {"model": model, "decoding": decoding, "draws": settings.draws, "seed": settings.seed}
    write_atomic(folder / "results.json", json.dumps({**page, **results}, default=str, indent=1))
    rows = (json.dumps(row, default=str) for rows in output["samples"].values() for row in rows)
    write_atomic(folder / "samples.jsonl", "".join(f"{row}\n" for row in rows))
    return "\n".join((json.dumps(page), *_lines(output), f"truncated prompts: {truncated}"))


def _lines(output: Mapping[str, Any]) -> Iterator[str]:
    """One line a figure: task, metric and filter, value, standard error, number of items."""
    for task, figures in output["results"].items():
        for name, value in figures.items():
            metric, comma, kind = name.partition(",")
            if comma and not metric.endswith("_stderr"):
                error = figures.get(f"{metric}_stderr,{kind}")
                count = output["n-samples"].get(task, {}).get("effective", "")
                yield f"{task}  {metric} ({kind})  {value:.4g} +- {error}  n={count}"
