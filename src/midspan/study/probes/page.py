"""Which section of a page shows which probe's records."""

import json
from typing import TYPE_CHECKING, Any

from midspan.organism.behaviors import is_organism
from midspan.probes.context import ProbeConfig
from midspan.report import Report
from midspan.runs.folder import FinishedRun

if TYPE_CHECKING:
    pass

from collections.abc import Callable, Sequence
from typing import NamedTuple

from midspan.probes.activations import ActivationsConfig
from midspan.probes.context import Record
from midspan.probes.gcg import GCGProbeConfig
from midspan.probes.instruction_placement import InstructionPlacementConfig
from midspan.probes.order import OrderConfig
from midspan.probes.prefill import PrefillConfig
from midspan.probes.samples import SamplesConfig
from midspan.probes.window import WindowConfig
from midspan.report import Player, Section
from midspan.study.probes.sections.activations import activations_section
from midspan.study.probes.sections.gcg import gcg_section
from midspan.study.probes.sections.instruction_placement import instruction_placement_section
from midspan.study.probes.sections.order import order_section
from midspan.study.probes.sections.prefill import prefill_section
from midspan.study.probes.sections.samples import sample_players, samples_section
from midspan.study.probes.sections.window import window_section


class Page(NamedTuple):
    """A probe's config, and what its page shows of all models' records."""

    config: type[ProbeConfig]
    section: Callable[[Sequence[Record], Any], Section]
    players: Callable[[Sequence[Record]], tuple[Player, ...]] = lambda _: ()


PAGES = {
    "prefill": Page(PrefillConfig, prefill_section),
    "window": Page(WindowConfig, window_section),
    "gcg": Page(GCGProbeConfig, gcg_section),
    "instruction-placement": Page(InstructionPlacementConfig, instruction_placement_section),
    "order": Page(OrderConfig, order_section),
    "activations": Page(ActivationsConfig, activations_section),
    "samples": Page(SamplesConfig, samples_section, sample_players),
}


LIMITS = (
    "Intervals cover the sampling of requests, not training or decoding seeds. Requests of one "
    "group (on the organism: one item in other words) are not independent, which makes intervals "
    "of many requests on few groups too narrow.",
)


def report_of(run: FinishedRun) -> Report:
    """The page of a finished probe, from its folder alone."""
    said, records = run.info["config"], run.rows("records.jsonl")
    page = PAGES[said["probe"]]
    fields = {name: said[name] for name in page.config.model_fields}
    decodings = {row["decoding"]: row["settings"] for row in records}
    return Report(
        title=f"Probe: {said['probe']}",
        subtitle=", ".join(said["models"]),
        sections=(page.section(records, page.config.model_validate(fields)),),
        players=page.players(records),
        settings={
            "judged by": said["judged_by"],
            **{name: json.dumps(value) for name, value in fields.items()},
            "decoding": json.dumps(decodings),
            **run.origin,
        },
        limits=LIMITS,
        redact=not all(map(is_organism, run.specs)),
    )
