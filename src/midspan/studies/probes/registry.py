"""Every probe: how it measures, what it asks by default, and what its page and command show.

A probe joins with a file in `midspan.probes`, one in `midspan.studies.probes.sections`, and an
entry here. Functions and classes are named, not imported, so that the command line lists the probes
without torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midspan.engine.capabilities import Need


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One probe.

    Attributes:
        summary: The help of its command.
        config: The class of its settings, as ``module:name``.
        measure: A function from `ProbeContext`, `ProbeData` and config to records; or a class
            whose instance is such a function and compares later models with the first.
        cost: A function from `ProbeData`, config and the lengths of canvases to `ProbeCost`.
        check: A function from `ProbeData`, config and a canvas's length, or None where the model
            decides it, that refuses what cannot be measured; empty where all can be.
        section: A function from the records of all models and the config to a `Section`.
        headline: A function from the same to a `Headline`; the section's first figure joins it.
        players: A function from records to denoising `Player`s; empty where there are none.
        data: A function from spec, config, requests of each kind and whether they are the
            organism's own to `ProbeData`; empty where requests are asked as they are.
        inputs: What users may bring: "harmful", "benign" and "mixed" requests, and "phrases".
        needs: The kinds of request without which there is nothing to measure.
        asks: What it asks of a model; a server that does not give it is refused by name.
        asks_in_part: A function from the config to what suffices for a part of it; empty where
            there is no such part.
        request_kinds: The kinds that the organism is asked.
        n: Requests of each kind.
        batch_size: Rows that go through a model together.
        judged: Whether every record is a judged response, so that two runs can be compared.
        takes_judge: Whether it says what harmful requests came to, by a judge where one is named.
        several: Whether the command takes several models.
        held_in: Whether the organism is asked only what alignment may see, because the result
            becomes a setting of alignment.
        by_noun: Whether the organism's requests are grouped by noun instead of by item.
        organism_fields: Settings on the organism, where a user gives none.
    """

    summary: str
    config: str
    measure: str
    cost: str
    check: str = ""
    section: str
    headline: str = "midspan.studies.probes.headlines:answered_headline"
    players: str = ""
    data: str = ""
    inputs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    asks: "tuple[Need, ...]"
    asks_in_part: str = ""
    request_kinds: tuple[str, ...] = ("plain", "wrapped", "benign")
    n: int
    batch_size: int = 32
    judged: bool = True
    takes_judge: bool = True
    several: bool = True
    held_in: bool = False
    by_noun: bool = False
    organism_fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_served(self) -> bool:
        """Whether some engine gives what it asks."""
        from midspan.engine.capabilities import OF_ENGINE, lacks

        return any(not lacks(record, self.asks) for record in OF_ENGINE.values())

    def resolve(self, role: str) -> Any:
        """The class or function that one of the fields names."""
        return resolve_name(getattr(self, role))

    def measurement(self) -> Callable[..., list[dict[str, Any]]]:
        """What measures the models of one run, one after the other."""
        measure = self.resolve("measure")
        return measure() if isinstance(measure, type) else measure


# Of `midspan probe fidelity`, which compares two decodings of one model and keeps no run folder.
FIDELITY_ASKS: "tuple[Need, ...]" = ("decoding",)

PROBES = {
    "prefill": Probe(
        summary="Phrases fixed in the response: kind by position, with controls (Figure 3).",
        config="midspan.probes.prefill:PrefillConfig",
        measure="midspan.probes.prefill:prefill",
        cost="midspan.probes.prefill:cost",
        section="midspan.studies.probes.sections.prefill:prefill_section",
        asks=("anchors",),
        asks_in_part="midspan.probes.prefill:asks_in_part",
        inputs=("harmful", "benign", "phrases"),
        needs=("harmful",),
        n=6,
    ),
    "gcg": Probe(
        summary="Search suffixes that make a phrase likely: phrase by position (Figure 4).",
        config="midspan.probes.gcg:GCGProbeConfig",
        measure="midspan.probes.gcg:gcg",
        cost="midspan.probes.gcg:cost",
        check="midspan.probes.gcg:check_starts",
        section="midspan.studies.probes.sections.gcg:gcg_section",
        asks=("gradients",),
        inputs=("harmful", "phrases"),
        needs=("harmful",),
        request_kinds=("plain",),
        n=3,
        batch_size=64,
        # A search that ends within minutes on two cores.
        organism_fields={
            "search": {"steps": 12, "search_width": 48, "top_k": 64, "initial": "x x x x x x x x"}
        },
    ),
    "instruction-placement": Probe(
        summary="Ask for a phrase at a word of the answer; hits against chance.",
        config="midspan.probes.instruction_placement:InstructionPlacementConfig",
        measure="midspan.probes.instruction_placement:instruction_placement",
        cost="midspan.probes.instruction_placement:cost",
        section=(
            "midspan.studies.probes.sections.instruction_placement:instruction_placement_section"
        ),
        headline="midspan.studies.probes.headlines:placement_headline",
        asks=("chat",),
        inputs=("benign", "phrases"),
        needs=("benign",),
        request_kinds=("benign",),
        n=20,
        judged=False,
        takes_judge=False,
        # In the words of the organism's language.
        organism_fields={"template": "{request} word {word} of your answer must be : {phrase}"},
    ),
    "order": Probe(
        summary="In which order canvases fill, against random order in the same blocks (Figure 5).",
        config="midspan.probes.order:OrderConfig",
        measure="midspan.probes.order:order",
        cost="midspan.probes.order:cost",
        section="midspan.studies.probes.sections.order:order_section",
        headline="midspan.studies.probes.headlines:order_headline",
        asks=("traces",),
        inputs=("harmful", "benign"),
        n=25,
        judged=False,
        takes_judge=False,
    ),
    "window": Probe(
        summary="Find the window that alignment must hold, on held-in requests.",
        config="midspan.probes.window:WindowConfig",
        measure="midspan.probes.window:window",
        cost="midspan.probes.window:cost",
        section="midspan.studies.probes.sections.window:window_section",
        asks=("anchors",),
        asks_in_part="midspan.probes.window:asks_in_part",
        inputs=("harmful", "phrases"),
        needs=("harmful",),
        request_kinds=("plain",),
        n=48,
        several=False,
        held_in=True,
    ),
    "activations": Probe(
        summary="Linear separability of harmful and benign requests by layer, position and step.",
        config="midspan.probes.activations:ActivationsConfig",
        measure="midspan.probes.activations:Activations",
        cost="midspan.probes.activations:cost",
        check="midspan.probes.activations:check_groups",
        section="midspan.studies.probes.sections.activations:activations_section",
        headline="midspan.studies.probes.headlines:activations_headline",
        asks=("hidden states",),
        inputs=("harmful", "benign"),
        needs=("harmful", "benign"),
        request_kinds=("plain", "benign"),
        n=36,
        batch_size=16,
        judged=False,
        takes_judge=False,
        # Nouns of restricted and free items differ, so a reader of nouns would tell items apart.
        by_noun=True,
    ),
    "samples": Probe(
        summary=(
            "Watch models fill the same canvases side by side, with and without a phrase in them."
        ),
        config="midspan.probes.samples:SamplesConfig",
        measure="midspan.probes.samples:samples",
        cost="midspan.probes.samples:cost",
        check="midspan.probes.samples:check_start",
        section="midspan.studies.probes.sections.samples:samples_section",
        players="midspan.studies.probes.sections.samples:sample_players",
        asks=("traces",),
        inputs=("harmful", "benign", "phrases"),
        n=1,
    ),
    "monitors": Probe(
        summary="Monitors under each attack: AUROC, false alarms, an attacker who knows them.",
        config="midspan.probes.monitors:MonitorsConfig",
        measure="midspan.probes.monitors:monitors",
        cost="midspan.probes.monitors:cost",
        section="midspan.studies.probes.sections.monitors:monitors_section",
        headline="midspan.studies.probes.headlines:monitors_headline",
        data="midspan.studies.probes.attacked:monitored",
        asks=("hidden states",),
        inputs=("harmful", "benign", "mixed", "phrases"),
        needs=("harmful", "benign"),
        n=36,
        judged=False,
    ),
}
