"""A comparison of two runs as a page: how many cells changed, by how much, and every cell."""

from collections import Counter
from collections.abc import Sequence

from midspan.report import Figure, Headline, Number, Report, Section, Verdict, figures
from midspan.report.tables import as_cell
from midspan.runs.compare import Change, change_table, difference
from midspan.runs.folder import FinishedRun
from midspan.statistics import Interval

_MOST_DRAWN = 20
_NOT_COMPARED = "not compared"
LIMITS = (
    "A change is of the second run against the first. Whether higher is better depends on the "
    "cell: an attack's success should fall, a task's score should not.",
    "A cell without a change shown may still differ: its interval says by how much at most.",
)


def comparison_page(
    first: FinishedRun, second: FinishedRun, changes: Sequence[Change], command: str = ""
) -> Report:
    """The page of `midspan.runs.compare.compare_runs`' cells."""
    whole = change_table(changes, everything=True)
    results = [as_cell(row[-1]).text.split(":")[0] for row in whole.rows]
    changed = change_table(changes)
    sections = [Section("All cells", "", tables=(whole,))]
    if 0 < len(changed.rows) < len(whole.rows):
        sections.insert(0, Section("What changed", "", tables=(changed,)))
    return Report(
        title="Two runs compared",
        subtitle=f"{second.path} against {first.path}",
        headline=_headline(first, second, changes, results),
        sections=tuple(sections),
        settings={
            "command": command,
            "first run": first.info.get("command", ""),
            "second run": second.info.get("command", ""),
        },
        limits=LIMITS,
        redact=False,
    )


def _headline(
    first: FinishedRun, second: FinishedRun, changes: Sequence[Change], results: Sequence[str]
) -> Headline:
    counts = Counter(results)
    higher, lower = counts["higher"], counts["lower"]
    skipped, total = counts[_NOT_COMPARED], len(results)
    also = f" {skipped} could not be compared." if skipped else ""
    word = f"{higher + lower} of {total} cells changed" if higher + lower else "No change shown"
    return Headline(
        tuple(
            Number(f"cells {name}", str(count), f"of {total}")
            for name, count in (
                ("higher", higher),
                ("lower", lower),
                ("without a change shown", counts["no change shown"]),
            )
        ),
        _figure(changes, results),
        "Filled marks are changes. Tests and corrections stand under the table.",
        f"Of {total} cells of {second.path.name or second.path}, {higher} are higher and {lower} "
        f"lower than in {first.path.name or first.path}.{also}",
        Verdict(word) if total > skipped else Verdict("Not compared"),
    )


def _figure(changes: Sequence[Change], results: Sequence[str]) -> Figure | None:
    """The cells that differ most, in the order of the table."""
    kept = [
        (change, result)
        for change, result in zip(changes, results, strict=True)
        if result != _NOT_COMPARED
    ]
    if not kept:
        return None
    found = {id(change): _interval(change) for change, _ in kept}
    largest = sorted(kept, key=lambda pair: -abs(found[id(pair[0])].mean))[:_MOST_DRAWN]
    chosen = [pair for pair in kept if pair in largest]
    labels = [_label(change, changes) for change, _ in chosen]
    intervals = [found[id(change)] for change, _ in chosen]
    is_change = [result in ("higher", "lower") for _, result in chosen]
    title = "Difference, second minus first"
    drawn = figures.differences(title, labels, intervals, is_change)
    caption = f"The {len(chosen)} cells that differ most." if len(chosen) < len(kept) else ""
    return Figure(title, drawn, caption, "differences", figures.differences_csv(labels, intervals))


def _label(change: Change, changes: Sequence[Change]) -> str:
    """The parts of a cell's place in which the cells differ."""
    parts = [
        part
        for index, part in enumerate(change.place)
        if len({other.place[index] for other in changes}) > 1
    ]
    return ", ".join(parts or change.place[-1:])


def _interval(change: Change) -> Interval:
    low, high, _ = difference(change)
    (first, first_most), (second, second_most) = change.first.ends, change.second.ends
    least, most = second.mean - first_most.mean, second_most.mean - first.mean
    return Interval((least + most) / 2, low, high, change.second.n)
