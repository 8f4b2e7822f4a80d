"""The page of a finished probe: the section of its registry entry, players and settings."""

import json
from collections import Counter
from dataclasses import replace

from midspan.files import Record
from midspan.organism.worlds import is_organism
from midspan.report import Report, Section, Table
from midspan.runs.folder import FinishedRun
from midspan.studies.probes.registry import PROBES

# What the judge could not bear; only where there is any.
ERRORS_FILE = "errors.jsonl"
LIMITS = (
    "Intervals cover the sampling of requests, not training or decoding seeds. Requests of one "
    "group (on the organism: one item in other words) are not independent, which makes intervals "
    "of many requests on few groups too narrow.",
)


def report_of(run: FinishedRun) -> Report:
    """The page of a finished probe, from its folder alone."""
    settings, records = run.info["config"], run.rows("records.jsonl")
    probe = PROBES[settings["probe"]]
    config_class = probe.resolve("config")
    fields = {name: settings[name] for name in config_class.model_fields}
    config = config_class.model_validate(fields)
    section = probe.resolve("section")(records, config)
    headline = probe.resolve("headline")(records, config)
    decodings = {row["decoding"]: row["settings"] for row in records}
    return Report(
        title=f"Probe: {settings['probe']}",
        subtitle=", ".join(settings["models"]),
        headline=replace(headline, figure=next(iter(section.figures), None)),
        sections=(replace(section, figures=section.figures[1:]), *_errors(run)),
        players=probe.resolve("players")(records) if probe.players else (),
        settings={
            "judged by": settings["judged_by"],
            **{name: json.dumps(value) for name, value in fields.items()},
            "decoding": json.dumps(decodings),
            **run.origin,
        },
        limits=LIMITS,
        redact=not all(map(is_organism, run.specs)),
    )


def errors_of(run: FinishedRun) -> list[Record]:
    """The responses without an outcome, as records with the reason."""
    rows: list[Record] = []
    if (run.path / ERRORS_FILE).is_file():
        rows += run.rows(ERRORS_FILE)
    return rows


def _errors(run: FinishedRun) -> tuple[Section, ...]:
    """Responses without an outcome; no section where all have one."""
    rows = errors_of(run)
    if not rows:
        return ()
    counts = Counter((row["model"], row["decoding"], row["error"]) for row in rows)
    lines = tuple((*place, str(count)) for place, count in counts.most_common())
    columns = ("Model", "Decoding", "Reason", "responses")
    text = "No response came, or the judge's code met an error; no rate counts these."
    return (Section("Did not run", text, (Table("Errors", columns, lines, name="errors"),)),)
