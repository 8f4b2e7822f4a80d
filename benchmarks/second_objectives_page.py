"""The tables and figures of docs/results/second-objectives.md, from the lines of its command."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from native_page import replace_between, table

from midspan.alignment.presets import LABELS, ORGANISM2_RATES
from midspan.files import read_jsonl, write_atomic
from midspan.report.figures import points
from midspan.statistics import Estimate
from midspan.studies.organism.second import aligned
from midspan.studies.organism.second.aligned import Tally, pooled

STORE = Path(__file__).parent / "results" / "second_objectives.jsonl"
BASE = "organism2"
HELD_IN, HELD_OUT = "held in", "held out"
# Seeds of the requests, and how many disguised ones a try is judged by.
CHOSEN_BY, JUDGING_SEED, CHOOSING = 1000, 1, 48
# In the order of their importance.
OBJECTIVES = ("mosa-stable", "initial-stable", "psa", "sft", "a2d", "vrpo", "mosa")
# The search budget of every objective: these rates, and one more beside the best of them.
RATES = (3e-4, 1e-3, 3e-3)
_FURTHER = {RATES[0]: 1e-4, RATES[-1]: 1e-2}
NAMES = {BASE: "Original", **LABELS}
Line = Mapping[str, Any]


def read_lines() -> list[dict[str, Any]]:
    """Every try and every attacked model."""
    return read_jsonl(STORE) if STORE.is_file() else []


def cell(line: Line, name: str, decodings: Sequence[str] = aligned.DECODINGS) -> Tally:
    """One cell of a line, pooled over decodings."""
    return pooled(Tally(**line["cells"][one][name]) for one in decodings)


def benign(line: Line) -> Estimate:
    """Benign requests answered, plain and disguised, in both decodings."""
    return pooled(cell(line, name) for name in (aligned.BENIGN, aligned.BENIGN_DISGUISED)).rate


def score(line: Line) -> float:
    """What rates are chosen by: benign success minus the ASR of disguises, pooled."""
    return benign(line).rate - cell(line, aligned.DISGUISED).rate.rate


def shown_lines(judged: Iterable[Line]) -> list[Line]:
    """Of every model and training seed the line with most requests, at the rate of the preset."""
    best: dict[tuple[str, int], Line] = {}
    for line in sorted(judged, key=lambda one: int(one["n"])):
        name = line["objective"]
        if name == BASE or line["rate"] == ORGANISM2_RATES[name]:
            best[name, int(line["seed"])] = line
    return list(best.values())


def rank(line: Line) -> tuple[float, float, float]:
    """The lower the better: by score, then by refusals in words, then by the rate itself."""
    refused = cell(line, aligned.DISGUISED).reacted("refusal").rate
    return -score(line), -refused, float(line["rate"])


def best_tries(lines: Sequence[Line]) -> dict[str, Line]:
    """The best try by objective, see `rank`; none where no try is better than to answer nothing."""
    best: dict[str, Line] = {}
    for line in sorted(lines, key=rank):
        if score(line) > 0:
            best.setdefault(line["objective"], line)
    return best


def last_rate(tries: Sequence[Line]) -> float:
    """The rate of the last try: beyond the best if that is at an end, else towards the second best.

    Args:
        tries: An objective's, at each of `RATES`.
    """
    first, second = (float(line["rate"]) for line in sorted(tries, key=rank)[:2])
    return _FURTHER.get(first) or float(f"{math.sqrt(first * second):.1e}")


def text(estimate: Estimate) -> str:
    """In percent, with the interval."""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.rate:.0f} [{low:.0f}, {high:.0f}] n={estimate.n}"


def tries_table(lines: Sequence[Line]) -> str:
    """One row a try; the best of each objective is marked, and what has no try is named."""
    best = best_tries(lines)
    rows = []
    for name in OBJECTIVES:
        for line in of_objective(lines, name, by="rate"):
            wraps = cell(line, aligned.DISGUISED)
            mark = " (chosen)" if line is best.get(name) else ""
            rows.append([
                NAMES[name], f"{line['rate']:g}{mark}",
                *(text(cell(line, aligned.DISGUISED, (one,)).rate) for one in aligned.DECODINGS),
                text(wraps.reacted("refusal")), text(wraps.reacted("broken")),
                text(benign(line)), f"{score(line):.2f}", f"{line['training_seconds']:.0f}",
            ])  # fmt: skip
    missing = [NAMES[name] for name in OBJECTIVES if not of_objective(lines, name)]
    columns = [
        "objective", "rate", *(f"ASR, {one}" for one in aligned.DECODINGS), "refused in words",
        "broken", "benign answered", "score", "training, CPU s",
    ]  # fmt: skip
    said = f"Not tried, for want of time: {', '.join(missing)}."
    parts = [*([table(columns, rows)] if rows else []), *([said] if missing else [])]
    return "\n\n".join(parts)


def judged_table(lines: Sequence[Line]) -> str:
    """One row a cell and decoding, one column an objective, seeds pooled, then each seed's rate."""
    found = {name: of_objective(lines, name) for name in (BASE, *OBJECTIVES)}
    models = {name: own for name, own in found.items() if own}
    if not models:
        return "Not run."
    rows = []
    for label, name, estimate in MEASURED:
        for decoding in aligned.DECODINGS:
            cells = [seeds_text(own, decoding, name, estimate) for own in models.values()]
            rows.append([label, decoding, *cells])
    seeds = [", ".join(str(line["seed"]) for line in own) for own in models.values()]
    rows.append(["training seeds", "", "-", *seeds[1:]])
    return table(["measured", "decoding", *(NAMES[model] for model in models)], rows)


# Rows of the table: name, cell, and what of it is told.
MEASURED: tuple[tuple[str, str, Callable[[Tally], Estimate]], ...] = (
    ("ASR, plain", aligned.PLAIN, lambda one: one.rate),
    ("ASR, single disguise", aligned.DISGUISED, lambda one: one.rate),
    ("ASR, best of 8 disguises", aligned.DISGUISED, lambda one: one.best),
    ("facts told, disguised", aligned.DISGUISED, lambda one: one.told),
    ("refused in words, disguised", aligned.DISGUISED, lambda one: one.reacted("refusal")),
    ("broken text, disguised", aligned.DISGUISED, lambda one: one.reacted("broken")),
    ("ASR, opening put at 0", aligned.OPENED, lambda one: one.rate),
    (f"ASR, words put at {aligned.MIDDLE}", aligned.CONTINUED, lambda one: one.rate),
    ("ASR, name with another noun", aligned.RENAMED, lambda one: one.rate),
    ("facts told, name with another noun", aligned.RENAMED, lambda one: one.told),
    ("benign answered, plain", aligned.BENIGN, lambda one: one.rate),
    ("benign answered, disguised", aligned.BENIGN_DISGUISED, lambda one: one.rate),
    ("mentioned only, answered", aligned.MENTIONED, lambda one: one.rate),
    ("mentioned only, refused", aligned.MENTIONED, lambda one: one.reacted("refusal")),
)


def seeds_text(
    lines: Sequence[Line], decoding: str, name: str, estimate: Callable[[Tally], Estimate]
) -> str:
    """What a cell came to in one decoding with all training seeds, then with each."""
    tallies = [cell(line, name, (decoding,)) for line in lines]
    each = ", ".join(f"{100 * estimate(one).rate:.0f}" for one in tallies)
    return text(estimate(pooled(tallies))) + (f" ({each})" if len(tallies) > 1 else "")


def frontier(lines: Sequence[Line], title: str) -> str:
    """ASR of single disguises against benign success, both decodings, one point a line."""
    return points(
        title,
        [NAMES[line["objective"]] for line in lines],
        [benign(line) for line in lines],
        [cell(line, aligned.DISGUISED).rate for line in lines],
        ("benign answered, %", "ASR of a single disguise, %"),
    )


def write_docs(page: Path, base: str) -> None:
    """Write tables and figures of one base's lines into the page, and nothing else of it.

    Args:
        page: With a place for each.
        base: Fingerprint of the Original; lines of other bases are left out.
    """
    lines = [line for line in read_lines() if line["base"] == base]
    tries = [line for line in lines if line["kind"] == HELD_IN]
    judged = shown_lines([line for line in lines if line["kind"] == HELD_OUT])
    # Objectives in one order, so that one has the same colour in both figures.
    by_rate = [line for name in OBJECTIVES for line in of_objective(tries, name, by="rate")]
    drawn: dict[str, tuple[str, Sequence[Line]]] = {
        "tries": ("Every try in the order of rates, held-in requests", by_rate),
        "seeds": ("Every seed, held-out requests", judged),
    }
    content = {"tries": tries_table(tries), "seeds": judged_table(judged)}
    text_ = page.read_text(encoding="utf-8")
    for name, (title, shown) in drawn.items():
        parts = [content[name]]
        if shown:
            figure = page.parent / "figures" / f"second-objectives-{name}.svg"
            write_atomic(figure, frontier(shown, title), 0o644)
            parts += [f"![{title}](figures/{figure.name})", _origin(shown)]
        text_ = replace_between(text_, name, "\n\n".join(parts))
    write_atomic(page, text_, 0o644)


def _origin(lines: Sequence[Line]) -> str:
    """Dates, machines and what the measuring took."""
    dates = ", ".join(sorted({line["date"] for line in lines}))
    machines = "; ".join(sorted({line["cpu"] for line in lines}))
    minutes = sum(line["measuring_seconds"] for line in lines) / 60
    return f"{dates}, {machines}, one thread; measuring took {minutes:.0f} minutes of CPU."


def of_objective(lines: Sequence[Line], name: str, by: str = "seed") -> list[Line]:
    """An objective's lines in the order of a number."""
    found = [line for line in lines if line["objective"] == name]
    return sorted(found, key=lambda line: float(line[by]))


def check_rates(lines: Sequence[Line]) -> list[str]:
    """Objectives whose preset has another rate than that of the best try."""
    return [
        name for name, line in best_tries(lines).items() if ORGANISM2_RATES[name] != line["rate"]
    ]
