"""The page of a finished probe: the section of its registry entry, players and settings."""

import json

from midspan.organism.behaviors import is_organism
from midspan.report import Report
from midspan.runs.folder import FinishedRun
from midspan.studies.probes.registry import PROBES

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
    section = probe.resolve("section")(records, config_class.model_validate(fields))
    decodings = {row["decoding"]: row["settings"] for row in records}
    return Report(
        title=f"Probe: {settings['probe']}",
        subtitle=", ".join(settings["models"]),
        sections=(section,),
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
