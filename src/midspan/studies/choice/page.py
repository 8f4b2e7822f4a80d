"""The page of a choice: what was chosen, every candidate, and agreement beside speed."""

import json
from collections.abc import Iterator
from typing import Any

from midspan.files import Record
from midspan.report import Headline, Number, Report, Section, Table
from midspan.report.cells import bar_figure, rate_cell
from midspan.runs.folder import FinishedRun
from midspan.statistics import wilson

LIMITS = (
    "Verdicts are compared on requests like those asked here. Other requests, attacks that fix "
    "tokens and another judge may differ more.",
    "Times are of one run on this machine.",
)
_COLUMNS = ("Change of the reference", "requests", "same verdicts", "forwards",
            "times fewer forwards", "times faster", "")  # fmt: skip


def report_of(run: FinishedRun) -> Report:
    """The page of a finished choice, from its folder alone."""
    config, records = run.info["config"], run.rows("records.jsonl")
    search = config["choice"]
    confidence = search["confidence"]
    held_in = [row for row in records if row["part"] == "held in"]
    last = records[-1]
    judged = [last] if last["part"] == "held out" else []
    table = Table(
        "Candidates",
        _COLUMNS,
        tuple(_line(row, confidence) for row in held_in),
        "A candidate is dropped at the first verdict too many; times are of its own requests.",
        name="candidates",
    )
    figure = bar_figure(
        "Agreement of the candidates",
        [row["decoding"] for row in held_in],
        [("same verdicts", [wilson(row["same"], row["n"], confidence) for row in held_in])],
        "same verdicts, %",
        "Held-in requests that each candidate answered.",
    )
    sections = [Section("What was tried", _told(search, config), (table,), (figure,))]
    if judged:
        lines = tuple(_line(row, confidence) for row in judged)
        told = "Asked once, of the chosen settings alone."
        sections.insert(
            0,
            Section(
                "On held-out requests", told, (Table("Judged", _COLUMNS, lines, name="judged"),)
            ),
        )
    return Report(
        title="Decoding chosen",
        subtitle=config["models"][0],
        headline=_headline(config, last, confidence),
        sections=tuple(sections),
        settings={
            "judged by": config["judged_by"],
            "reference": json.dumps(config["reference"]),
            "search": json.dumps(search),
            "model": config["fingerprint"],
            **run.origin,
        },
        limits=LIMITS,
        redact=False,
    )


def trials_of(run: FinishedRun) -> Iterator[Any]:
    """A choice has no trials that another run could be compared with."""
    return iter(())


def _headline(config: Record, last: Record, confidence: float) -> Headline:
    model = config["models"][0]
    if last["outcome"] != "chosen":
        sentence = f"No candidate keeps the verdicts of {model}; its reference decoding stays."
        return Headline((), sentence=sentence)
    same = wilson(last["same"], last["n"], confidence)
    faster = last["reference_seconds"] / last["seconds"]
    fewer = last["reference_forwards"] / last["forwards"]
    sentence = (
        f"{model} decodes {faster:.1f} times faster with {last['decoding']}, at {same.percent} "
        f"equal verdicts {same.note} on held-out requests."
    )
    return Headline(
        (
            Number("same verdicts", same.percent, same.note),
            Number("times faster", f"{faster:.1f}", "measured, one run"),
            Number("times fewer forwards", f"{fewer:.1f}", "a response"),
        ),
        sentence=sentence,
    )


def _line(row: Record, confidence: float) -> tuple[Any, ...]:
    return (
        row["decoding"],
        str(row["n"]),
        rate_cell(wilson(row["same"], row["n"], confidence)),
        f"{row['forwards']:.1f}",
        f"{row['reference_forwards'] / row['forwards']:.2f}",
        f"{row['reference_seconds'] / row['seconds']:.2f}",
        row["outcome"],
    )


def _told(search: Record, config: Record) -> str:
    return (
        f"Verdicts by {config['judged_by']}. At least {100 * search['agreement']:g} % must be "
        f"those of the reference, and the interval at {100 * search['confidence']:g} % must not "
        f"reach below {100 * search['floor']:g} %."
    )
