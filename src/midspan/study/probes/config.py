"""A probe as users ask for it: which one, of which models, with which requests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.organism.behaviors import is_organism
from midspan.probes import activations, control, gcg, order, prefill, samples, window
from midspan.probes.asking import Material, ProbeConfig, Work
from midspan.study.probes.data import (
    ORGANISM_SEARCH,
    ORGANISM_TEMPLATE,
    by_noun,
    file_material,
    organism_material,
)
from midspan.study.probes.page import PAGES


class _Probe(NamedTuple):
    """What a probe is by default.

    Attributes:
        measure: Makes the function from a model on a bench to records.
        work: What it costs, from material, config and the lengths of canvases.
        requests: Kinds that the organism is asked.
        n: Requests of each kind.
        batch_size: Rows that go through a model together.
        needs: Kinds of request without which there is nothing to measure.
    """

    measure: Callable[[], Callable[..., list[dict[str, Any]]]]
    work: Callable[[Material, Any, Sequence[int]], Work]
    requests: tuple[str, ...]
    n: int
    batch_size: int
    needs: tuple[str, ...]


_ALL_KINDS = ("plain", "wrapped", "benign")
PROBES = {
    "prefill": _Probe(lambda: prefill.prefill, prefill.work, _ALL_KINDS, 6, 32, ("harmful",)),
    "window": _Probe(lambda: window.window, window.work, ("plain",), 48, 32, ("harmful",)),
    "gcg": _Probe(lambda: gcg.gcg, gcg.work, ("plain",), 3, 64, ("harmful",)),
    "control": _Probe(lambda: control.control, control.work, ("benign",), 20, 32, ("benign",)),
    "order": _Probe(lambda: order.order, order.work, _ALL_KINDS, 25, 32, ()),
    "activations": _Probe(
        activations.Activations,
        activations.work,
        ("plain", "benign"),
        36,
        16,
        ("harmful", "benign"),
    ),
    "samples": _Probe(lambda: samples.samples, samples.work, _ALL_KINDS, 1, 32, ()),
}
# Probes that look at more than whether a response answers.
UNJUDGED = ("control", "order", "activations")
# A probe that names a window must not look at what will judge the window.
_HELD_IN = ("window",)


class ProbePlan(FrozenConfig):
    """One probe; fields that are None take the probe's own value.

    Attributes:
        probe: Its name.
        models: Specs, in the order of the tables.
        requests: Kinds of the organism's own requests.
        harmful: File or registered set of harmful requests, for other models.
        benign: The same of benign ones.
        phrases: JSON file of phrases.
        n: Requests of each kind.
        fields: Of the probe's config.
        decoding: Fields of `DecodingConfig` that replace the family's.
        batch_size: Rows that go through a model together.
        seed: Of requests, phrases and controls.
    """

    probe: str
    models: tuple[str, ...] = Field(min_length=1)
    requests: tuple[str, ...] | None = None
    harmful: str | None = None
    benign: str | None = None
    phrases: Path | None = None
    n: int | None = Field(None, ge=1)
    fields: dict[str, Any] = Field(default_factory=dict)
    decoding: dict[str, Any] = Field(default_factory=dict)
    batch_size: int | None = Field(None, ge=1)
    seed: int = 0

    @field_validator("probe")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in PROBES:
            raise ValueError(f"{name!r} is none of {', '.join(PROBES)}")
        return name

    @field_validator("models")
    @classmethod
    def _differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError("the same model is named twice")
        return models

    @property
    def on_organism(self) -> bool:
        """Whether the models are the organism, which brings its own requests and judge."""
        return is_organism(self.models[0])

    @property
    def rows(self) -> int:
        """Rows that go through a model together."""
        return self.batch_size or PROBES[self.probe].batch_size

    def config(self) -> ProbeConfig:
        """The probe's own settings.

        Raises:
            MidspanError: It has no such field or value.
        """
        fields: dict[str, Any] = {"seed": self.seed}
        if self.probe == "control" and self.on_organism:
            fields["template"] = ORGANISM_TEMPLATE
        fields |= self.fields
        if self.probe == "gcg":
            small = ORGANISM_SEARCH if self.on_organism else {}
            search = {"steps": 100, **small, "seed": self.seed, "batch_size": self.rows}
            fields["search"] = search | fields.get("search", {})
        return PAGES[self.probe].config.model_validate(fields)

    def material(self) -> Material:
        """What is asked, by whom it is judged.

        Raises:
            MidspanError: A file cannot be read, or a kind of request is missing.
        """
        probe = PROBES[self.probe]
        n = self.n or probe.n
        own = [is_organism(model) for model in self.models]
        if any(own) != all(own):
            raise MidspanError("models: the organism speaks of another world; probe it on its own")
        if all(own) and not (self.harmful or self.benign or self.phrases):
            kinds = self.requests or probe.requests
            held_in = self.probe in _HELD_IN
            found = organism_material(kinds, n, self.seed, held_in)
            found = by_noun(found) if self.probe == "activations" else found
        else:
            found = file_material(self.harmful, self.benign, self.phrases, n, self.seed)
        for kind, option in (("harmful", "--prompts"), ("benign", "--benign")):
            if kind in probe.needs and not getattr(found, kind):
                raise MidspanError(
                    f"{kind} ({option}): give a file of {kind} requests, or a set of `midspan data`"
                )
        if not found.asks:
            raise MidspanError("harmful, benign: give a file or set of requests for one at least")
        return found
