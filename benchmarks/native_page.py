"""The tables of docs/results/native-table.md, from the runs of native_table.py."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from midspan.bounds import MeanBounds
from midspan.engine.attack import Access
from midspan.engine.outcomes import Outcomes, chance_of_facts, facts, union
from midspan.errors import MidspanError
from midspan.runs.folder import FinishedRun

JUDGE = "exact"
LABELS = {
    "organism": "Original", "initial-stable": "Initial", "mosa-stable": "MOSA", "psa": "PSA",
    "sft": "SFT", "a2d": "A2D", "vrpo": "VRPO", "recovery": "RA",
}  # fmt: skip
Record = Mapping[str, Any]


class Run(NamedTuple):
    """A finished run of one group of attacks on one model."""

    model: str
    seed: int
    group: str
    info: Mapping[str, Any]
    records: Sequence[Record]


# Records by seed.
Cell = Mapping[int, Sequence[Record]]


def read_runs(folder: Path) -> list[Run]:
    """All finished runs."""
    runs = []
    for note in sorted(folder.glob("*/*/table.json")):
        info = json.loads(note.read_text())
        records = FinishedRun.open(note.parent).rows("records.jsonl")
        runs.append(Run(info["model"], info["seed"], info["group"], info, records))
    return runs


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _spread(cell: Cell, value: Callable[[Sequence[Record]], float]) -> str:
    """Every seed's value, where there are several."""
    if len(cell) < 2:
        return ""
    return f" ({', '.join(_percent(value(records)) for _, records in sorted(cell.items()))})"


def _pooled(cell: Cell) -> list[Record]:
    return [record for _, records in sorted(cell.items()) for record in records]


def asr_text(cell: Cell) -> str:
    """ASR of all seeds together, then each seed's."""
    outcomes = Outcomes.from_records(_pooled(cell), JUDGE)
    least, most = outcomes.least, outcomes.most
    rate = _percent(least.rate)
    if least != most:
        rate = f"{rate} to {_percent(most.rate)}"
    spread = _spread(cell, lambda records: Outcomes.from_records(records, JUDGE).least.rate)
    return f"{rate} [{_percent(least.low)}, {_percent(most.high)}] n={least.n}{spread}"


def facts_text(cell: Cell) -> str:
    """Mean share of facts of all seeds together, with the chance level, then each seed's."""
    records = _pooled(cell)
    mean = MeanBounds.of(facts(record, JUDGE) for record in records)
    low, high = (end.mean for end in mean.ends)
    share = _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"
    spread = _spread(cell, lambda rows: MeanBounds.of(facts(r, JUDGE) for r in rows).ends[0].mean)
    interval = f"[{_percent(mean.least.low)}, {_percent(mean.most.high)}]"
    return f"{share} {interval}, {_percent(chance_of_facts(records, JUDGE))}{spread}"


def union_text(cell: Cell) -> str:
    """Behaviors that any attack won, a seed each."""
    several = [
        {**record, "behavior": f"{seed}/{record['behavior']}"}
        for seed, records in cell.items()
        for record in records
    ]
    rate = union(several, JUDGE)
    spread = _spread(cell, lambda records: union(records, JUDGE).least.rate)
    low, high = rate.least, rate.most
    return f"{_percent(low.rate)} [{_percent(low.low)}, {_percent(high.high)}] n={low.n}{spread}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Grid(NamedTuple):
    """Cells of one group of attacks."""

    attacks: Sequence[str]
    models: Sequence[str]
    cells: Mapping[tuple[str, str], Cell]
    access: Mapping[str, str]

    @classmethod
    def of(cls, runs: Sequence[Run], attacks: Sequence[str], models: Sequence[str]) -> "Grid":
        """The runs' records by attack and model."""
        cells: dict[tuple[str, str], dict[int, list[Record]]] = {}
        access: dict[str, str] = {}
        for run in runs:
            own: dict[str, list[Record]] = {}
            for record in run.records:
                own.setdefault(record["attack_label"], []).append(record)
            for name in own.keys() & set(attacks):
                cells.setdefault((name, run.model), {})[run.seed] = own[name]
                access[name] = max(
                    (record["access"] for record in own[name]), key=get_args(Access).index
                )
        found = [name for name in attacks if name in access]
        kept = [model for model in models if any((name, model) in cells for name in found)]
        return cls(found, kept, cells, access)

    def rows(self, text: Callable[[Cell], str]) -> Iterator[list[str]]:
        """A row an attack."""
        for name in self.attacks:
            cells = (self.cells.get((name, model)) for model in self.models)
            yield [name, self.access[name], *(text(cell) if cell else "-" for cell in cells)]

    def all_of(self, model: str) -> Cell:
        """Every attack's records by seed."""
        merged: dict[int, list[Record]] = {}
        for (_, other), cell in self.cells.items():
            for seed, records in cell.items() if other == model else ():
                merged.setdefault(seed, []).extend(records)
        return merged


def group_tables(runs: Sequence[Run], attacks: Sequence[str], models: Sequence[str]) -> str:
    """ASR and facts of one group."""
    grid = Grid.of(runs, attacks, models)
    if not grid.attacks:
        return "Not run."
    columns = ["attack", "access", *(LABELS[model] for model in grid.models)]
    rows = list(grid.rows(asr_text))
    if len(grid.attacks) > 1:
        unions = (union_text(grid.all_of(model)) for model in grid.models)
        rows.append([f"any of the {len(grid.attacks)}", "", *unions])
    parts = [
        "**ASR** in % [95 % Wilson interval] n (each training seed)",
        table(columns, rows),
        "**Facts recovered**: mean share in % [95 % interval], what chance brings (each training "
        "seed)",
        table(columns, list(grid.rows(facts_text))),
    ]
    return "\n\n".join(parts)


def cost_table(runs: Sequence[Run], models: Sequence[str]) -> str:
    """Which seeds were run, and CPU minutes."""
    rows = []
    for group in dict.fromkeys(run.group for run in runs):
        for model in models:
            own = [run for run in runs if (run.group, run.model) == (group, model)]
            if own:
                seeds = ", ".join(str(run.seed) for run in sorted(own, key=lambda one: one.seed))
                seconds = sum(run.info["cpu_seconds"] for run in own)
                machines = ", ".join(sorted({run.info["cpu"] for run in own}))
                seconds_text = f"{seconds / 60:.1f}"
                rows.append([group, LABELS[model], seeds, seconds_text, machines])
    return table(["group", "model", "training seeds", "CPU minutes", "processor"], rows)


def replace_between(text: str, name: str, content: str) -> str:
    """A page with what stands between two marks replaced.

    Raises:
        MidspanError: The page lacks the marks.
    """
    start, end = f"<!-- {name}: written by a command -->", f"<!-- {name}: end -->"
    if start not in text or end not in text:
        raise MidspanError(f"the page lacks the marks {start} and {end}")
    head, rest = text.split(start, 1)
    return f"{head}{start}\n\n{content}\n\n{end}{rest.split(end, 1)[1]}"


def write_docs(
    page: Path, folder: Path, models: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> None:
    """Write the tables of all finished runs into the page, and nothing else of it."""
    runs, text = read_runs(folder), page.read_text(encoding="utf-8")
    for group, attacks in groups.items():
        told = group_tables(runs, attacks, models)
        text = replace_between(text, group, told)
    text = replace_between(text, "cost", cost_table(runs, models))
    page.write_text(text, encoding="utf-8")
