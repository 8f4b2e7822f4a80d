"""Run a probe on one model or several, in a run folder with tables, figures and a page."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.engine.journal import Journal, write_jsonl
from midspan.errors import MidspanError
from midspan.probes.asking import Bench, Material, ProbeConfig
from midspan.report import Report
from midspan.study.folder import RUN_FILE, FinishedRun, RunFolder
from midspan.study.kinds import write_page
from midspan.study.material import is_organism
from midspan.study.progress import Reporter

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM

BLOCK = 32
ORGANISM_DECODING = {"length": 128, "steps": 32}
LIMITS = (
    "Intervals cover the sampling of requests, not training or decoding seeds. Requests of one "
    "group (on the organism: one item in other words) are not independent, which makes intervals "
    "of many requests on few groups too narrow.",
)


@dataclass(frozen=True)
class Probe:
    """What is run.

    Attributes:
        name: The probe's name.
        config: Its settings.
        measure: From a model on a bench to records.
    """

    name: str
    config: ProbeConfig
    measure: Callable[[Bench, Material, Any], list[dict[str, Any]]]


@dataclass(frozen=True)
class Setting:
    """On what, where and how it is run.

    Attributes:
        models: Specs, in the order of the tables.
        material: What is asked.
        decoding: Fields of `DecodingConfig` that replace the family's.
        batch_size: Rows that go through the model together.
        folder: The run folder.
        command: The command as typed.
        load: From a spec to a model.
    """

    models: tuple[str, ...]
    material: Material
    decoding: Mapping[str, Any]
    batch_size: int
    folder: Path
    command: str
    load: "Callable[[str], DiffusionLM]"


def run_probe(probe: Probe, setting: Setting) -> list[dict[str, Any]]:
    """Measure every model, one after the other, and write the run folder; returns the records.

    Raises:
        MidspanError: If the folder belongs to another run, or a model cannot do what is asked.
    """
    if len(set(setting.models)) < len(setting.models):
        raise MidspanError("MODEL: the same model is named twice")
    config = probe.config.model_dump(mode="json")
    run = RunFolder(setting.folder, _identity(probe, setting, config), setting.command, "probe")
    reporter = Reporter()
    try:
        with run.journal:
            records = [
                record
                for spec in setting.models
                for record in _measure(probe, setting, spec, run.journal, reporter)
            ]
    except MidspanError:
        # A folder in which nothing was done must not hold on to settings that were refused.
        if not len(run.journal):
            (run.path / RUN_FILE).unlink()
        raise
    write_jsonl(run.path / "records.jsonl", records)
    reporter.say(f"report: {write_page(run.path)}")
    return records


def report_of(run: FinishedRun) -> Report:
    """The page of a finished probe, from its folder alone."""
    from midspan.study.probe_pages import PAGES

    said, records = run.info["config"], run.rows("records.jsonl")
    page = PAGES[said["probe"]]
    fields = {name: said[name] for name in page.config.model_fields}
    decodings = {row["decoding"]: row["settings"] for row in records}
    return Report(
        title=f"Probe: {said['probe']}",
        subtitle=", ".join(said["models"]),
        sections=(page.section(records, page.config.model_validate(fields)),),
        settings={
            "judged by": said["judged_by"],
            **{name: json.dumps(value) for name, value in fields.items()},
            "decoding": json.dumps(decodings),
            **run.origin,
        },
        limits=LIMITS,
        redact=not all(map(is_organism, run.specs)),
    )


def _measure(
    probe: Probe, setting: Setting, spec: str, journal: Journal, reporter: Reporter
) -> list[dict[str, Any]]:
    """Load a model, run the probe on it, and let it go."""
    lm = setting.load(spec)
    decodings = probe_decodings(lm, setting.decoding, is_organism(spec))
    bench = Bench(lm, spec, decodings, journal, setting.batch_size, reporter.stage)
    return probe.measure(bench, setting.material, probe.config)


def _identity(probe: Probe, setting: Setting, config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes another run another: everything that decides the records."""
    asked = [(ask.kind, ask.prompt) for ask in setting.material.asks]
    phrases = setting.material.phrases
    digest = hashlib.sha256(json.dumps([asked, phrases], sort_keys=True).encode()).hexdigest()
    return {
        "probe": probe.name,
        **config,
        "models": list(setting.models),
        "decoding": dict(setting.decoding),
        "judged_by": setting.material.judged_by,
        "requests": len(asked),
        "material": digest[:16],
    }


def probe_decodings(
    lm: "DiffusionLM", overrides: Mapping[str, Any], organism: bool = False
) -> "dict[str, DecodingConfig]":
    """One block of the canvas's length, and blocks of 32; else what the family or the user says."""
    from midspan.decoding import DecodingConfig

    fields = {**(ORGANISM_DECODING if organism else {}), **overrides}
    own = DecodingConfig.for_family(lm, **fields)
    if own.sampler != "llada" or "block_length" in fields:
        return {"as configured": own}
    blocks = {"one block": None, f"blocks of {BLOCK}": BLOCK}
    if own.length <= BLOCK or own.length % BLOCK:
        del blocks[f"blocks of {BLOCK}"]
    return {
        name: DecodingConfig.for_family(lm, **fields, block_length=block)
        for name, block in blocks.items()
    }
