"""The page of a folder that lm-eval wrote: results_*.json and samples_*.jsonl of any model."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import Record, read_jsonl, read_object
from midspan.report import Cell, Headline, Number, Report, Section, Table
from midspan.report.model import MOST_NUMBERS
from midspan.runs.folder import RUN_FILE, reading

_REMEDY = "run lm_eval again with --output_path"
_RESULTS = "results_*.json"
# The file of `midspan task --lm-eval`.
_OWN = "results.json"
_SHOWN_SAMPLES = 20  # of a task
_SHOWN_CHARACTERS = 300
_LIMITS = (
    "Standard errors are lm-eval's own. A score holds for its prompt, shots and decoding alone.",
    "Continuations of several tokens are scored by a bound (docs/lm-eval.md).",
)


@dataclass(frozen=True)
class _Output:
    """What one run of lm-eval wrote for one model.

    Attributes:
        model: Its name.
        results: The file's object.
        samples: Rows of the samples' files by task; empty without ``--log_samples``.
    """

    model: str
    results: Mapping[str, Any]
    samples: Mapping[str, Sequence[Record]]


def is_lm_eval(folder: Path) -> bool:
    """Whether lm-eval wrote here, or in a folder of a model below."""
    if (folder / RUN_FILE).exists() or (folder / _OWN).is_file():
        return (folder / _OWN).is_file()
    return any(folder.rglob(_RESULTS))


def report_of(folder: Path) -> Report:
    """The page, from the newest results of each model.

    Raises:
        MidspanError: A file is damaged.
    """
    with reading(folder):
        outputs = list(_outputs(folder))
        sections = [Section("Scores", "", tables=(_scores(outputs),))]
        tasks = dict.fromkeys(task for output in outputs for task in output.samples)
        for task in tasks:
            tables = tuple(_samples(output, task) for output in outputs if task in output.samples)
            sections.append(Section(task, _describe(outputs, task), tables=tables))
        return Report(
            title="lm-eval",
            subtitle=f"{', '.join(output.model for output in outputs)}: what lm-eval measured.",
            headline=_headline(outputs),
            sections=tuple(sections),
            settings={name: text for output in outputs for name, text in _settings(output)},
            limits=_LIMITS,
        )


def _headline(outputs: Sequence[_Output]) -> Headline:
    """The first scores; what is good or bad lm-eval does not say."""
    found = [
        (output.model, task, metric, cell)
        for output in outputs
        for (task, metric, _), cell in _figures(output).items()
    ]
    numbers = tuple(
        Number(f"{model}, {task}, {metric}", cell.text, cell.note)
        for model, task, metric, cell in found[:MOST_NUMBERS]
    )
    told = "; ".join(f"{task} {metric} {cell.text}" for _, task, metric, cell in found[:1])
    models = ", ".join(output.model for output in outputs)
    return Headline(
        numbers,
        text="The first scores with lm-eval's standard errors; all stand below.",
        sentence=f"{models}: {len(found)} scores{f', the first {told}' if told else ''}.",
    )


def _outputs(folder: Path) -> Iterator[_Output]:
    if (folder / _OWN).is_file():
        found = read_object(folder / _OWN, _REMEDY)
        yield _Output(str(found["model"]), found, {})
        return
    newest: dict[Path, Path] = {}
    for file in sorted(folder.rglob(_RESULTS)):
        newest[file.parent] = file  # Their names end in the date.
    if not newest:
        raise MidspanError(f"{folder}: no {_RESULTS} of lm-eval; {_REMEDY}")
    for place, file in newest.items():
        results = read_object(file, _REMEDY)
        model = str(results.get("model_name") or results["config"]["model"])
        date = file.stem.removeprefix("results_")
        samples = {
            path.stem.removeprefix("samples_").removesuffix(f"_{date}"): read_jsonl(path)
            for path in sorted(place.glob(f"samples_*_{date}.jsonl"))
        }
        yield _Output(model, results, samples)


def _figures(output: _Output) -> dict[tuple[str, str, str], Cell]:
    """By task, metric and filter: the value with its standard error and n."""
    cells = {}
    for task, figures in output.results["results"].items():
        count = output.results.get("n-samples", {}).get(task, {}).get("effective")
        for name, value in figures.items():
            metric, comma, kind = name.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            error = figures.get(f"{metric}_stderr,{kind}")
            known = isinstance(error, int | float) and math.isfinite(error)
            note = f"+- {error:.3g}" if known else ""
            note += f" n={count}" if count is not None else ""
            shown = f"{value:.4g}" if isinstance(value, int | float) else str(value)
            cells[task, metric, kind] = Cell(shown, note.strip())
    return cells


def _scores(outputs: Sequence[_Output]) -> Table:
    by_output = [_figures(output) for output in outputs]
    places = dict.fromkeys(place for figures in by_output for place in figures)
    rows: list[tuple[Cell | str, ...]] = []
    for place in places:
        task, metric, kind = place
        shots = next(
            (
                str(o.results["n-shot"][task])
                for o in outputs
                if task in o.results.get("n-shot", {})
            ),
            "",
        )
        cells = (figures.get(place, Cell("not run", tone="muted")) for figures in by_output)
        rows.append((task, metric, kind, shots, *cells))
    return Table(
        title="Scores",
        columns=("Task", "Metric", "Filter", "shots", *(output.model for output in outputs)),
        rows=tuple(rows),
        caption="As lm-eval counted them, with its standard errors.",
        name="lm_eval",
    )


def _describe(outputs: Sequence[_Output], task: str) -> str:
    configs = (output.results.get("configs", {}).get(task, {}) for output in outputs)
    config: Mapping[str, Any] = next(filter(None, configs), {})
    kind = config.get("output_type", "")
    return f"The first {_SHOWN_SAMPLES} items; the samples' file has all." + (
        f" Answers: {kind}." if kind else ""
    )


def _samples(output: _Output, task: str) -> Table:
    rows = output.samples[task]
    metrics = list(dict.fromkeys(name for row in rows for name in row.get("metrics", ())))
    lines: list[tuple[Cell | str, ...]] = []
    for row in rows[:_SHOWN_SAMPLES]:
        answer = Cell(_short(row.get("filtered_resps", "")), generated=True)
        values = (_short(row[name]) if name in row else "" for name in metrics)
        lines.append(
            (str(row["doc_id"]), row.get("filter", ""), _short(row["target"]), answer, *values)
        )
    return Table(
        title=f"{task}, {output.model}",
        columns=("Item", "Filter", "Target", "Answer", *metrics),
        rows=tuple(lines),
        caption=f"{len(lines)} of {len(rows)} rows.",
        name=f"samples_{task}_{output.model}",
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " ..."


def _settings(output: _Output) -> Iterator[tuple[str, str]]:
    """What stood on lm-eval's command line, and what its model says of itself."""
    results = output.results
    told = dict(results.get("config", {}))
    told |= {name: results[name] for name in ("decoding", "draws", "seed") if name in results}
    told["lm_eval"] = results.get("lm_eval_version")
    for name, value in told.items():
        if value not in (None, "", {}, []):
            yield f"{output.model}: {name}", _short(value)
