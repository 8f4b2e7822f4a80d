"""Which section of a page shows which probe's records."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from midspan.probes.activations import ActivationsConfig
from midspan.probes.asking import ProbeConfig, Record
from midspan.probes.control import ControlConfig
from midspan.probes.gcg import GCGProbeConfig
from midspan.probes.order import OrderConfig
from midspan.probes.prefill import PrefillConfig
from midspan.probes.samples import SamplesConfig
from midspan.probes.window import WindowConfig
from midspan.report import Player, Section
from midspan.study.inside_sections import activations_section, order_section
from midspan.study.probe_sections import prefill_section, window_section
from midspan.study.sample_sections import sample_players, samples_section
from midspan.study.search_sections import control_section, gcg_section


class Page(NamedTuple):
    """A probe's config, and what its page shows of all models' records."""

    config: type[ProbeConfig]
    section: Callable[[Sequence[Record], Any], Section]
    players: Callable[[Sequence[Record]], tuple[Player, ...]] = lambda _: ()


PAGES = {
    "prefill": Page(PrefillConfig, prefill_section),
    "window": Page(WindowConfig, window_section),
    "gcg": Page(GCGProbeConfig, gcg_section),
    "control": Page(ControlConfig, control_section),
    "order": Page(OrderConfig, order_section),
    "activations": Page(ActivationsConfig, activations_section),
    "samples": Page(SamplesConfig, samples_section, sample_players),
}
