"""The tables of docs/results/native-table.md, from the lines that native_results.py keeps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from native_results import Run, Tally

from midspan.bounds import MeanBounds, RateBounds
from midspan.errors import MidspanError

LABELS = {
    "organism": "Original", "initial-stable": "Initial", "mosa-stable": "MOSA", "psa": "PSA",
    "sft": "SFT", "a2d": "A2D", "vrpo": "VRPO", "recovery": "RA",
}  # fmt: skip
# What an attack came to by training seed.
Cell = Mapping[int, Tally]


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _spread(cell: Mapping[int, object], values: Sequence[float]) -> str:
    """Every seed's value, where there are several."""
    return f" ({', '.join(map(_percent, values))})" if len(cell) > 1 else ""


def rate_text(cell: Mapping[int, Sequence[bool | None]]) -> str:
    """The rate of all seeds together, then each seed's."""
    trials = [outcomes for _, outcomes in sorted(cell.items())]
    rate = RateBounds.of(outcome for outcomes in trials for outcome in outcomes)
    low, high = rate.least, rate.most
    share = _percent(low.rate)
    if rate.unknown:
        share = f"{share} to {_percent(high.rate)}"
    spread = _spread(cell, [RateBounds.of(outcomes).least.rate for outcomes in trials])
    return f"{share} [{_percent(low.low)}, {_percent(high.high)}] n={rate.n}{spread}"


def asr_text(cell: Cell) -> str:
    """ASR of all seeds together, then each seed's."""
    return rate_text({seed: tally.won for seed, tally in cell.items()})


def facts_text(cell: Cell) -> str:
    """Mean share of facts of all seeds, with the chance level, then each seed's."""
    tallies = [tally for _, tally in sorted(cell.items())]
    mean = MeanBounds.of(span for tally in tallies for span in tally.facts)
    low, high = (end.mean for end in mean.ends)
    share = _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"
    spread = _spread(cell, [MeanBounds.of(tally.facts).ends[0].mean for tally in tallies])
    interval = f"[{_percent(mean.least.low)}, {_percent(mean.most.high)}]"
    chance = sum(tally.chance * len(tally.facts) for tally in tallies) / mean.n
    return f"{share} {interval}, {_percent(chance)}{spread}"


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
        """What the runs came to, by attack and model."""
        cells: dict[tuple[str, str], dict[int, Tally]] = {}
        access: dict[str, str] = {}
        for run in runs:
            for name in run.attacks.keys() & set(attacks):
                cells.setdefault((name, run.model), {})[run.seed] = run.attacks[name]
                access[name] = run.attacks[name].access
        found = [name for name in attacks if name in access]
        kept = [model for model in models if any((name, model) in cells for name in found)]
        return cls(found, kept, cells, access)

    def rows(self, text: Callable[[Cell], str]) -> Iterator[list[str]]:
        """A row an attack."""
        for name in self.attacks:
            cells = (self.cells.get((name, model)) for model in self.models)
            yield [name, self.access[name], *(text(cell) if cell else "-" for cell in cells)]


def group_tables(runs: Sequence[Run], attacks: Sequence[str], models: Sequence[str]) -> str:
    """ASR and facts of one group, from its runs."""
    grid = Grid.of(runs, attacks, models)
    if not grid.attacks:
        return "Not run."
    columns = ["attack", "access", *(LABELS[model] for model in grid.models)]
    rows = list(grid.rows(asr_text))
    if len(grid.attacks) > 1:
        unions = (
            rate_text({run.seed: run.any_won for run in runs if run.model == model})
            for model in grid.models
        )
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
                seconds = sum(run.spent["cpu_seconds"] for run in own)
                machines = "; ".join(sorted({run.spent["cpu"] for run in own}))
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
    page: Path, runs: Sequence[Run], models: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> None:
    """Write the tables of runs into the page, and nothing else of it."""
    text = page.read_text(encoding="utf-8")
    for group, attacks in groups.items():
        own = [run for run in runs if run.group == group]
        told = group_tables(own, attacks, models)
        text = replace_between(text, group, told)
    text = replace_between(text, "cost", cost_table(runs, models))
    page.write_text(text, encoding="utf-8")
