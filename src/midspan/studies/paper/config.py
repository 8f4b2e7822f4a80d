"""What the whole study is: models by label, parts by name, and what is expected of them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import Field, model_validator

from midspan.alignment import AlignmentConfig
from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig, merged
from midspan.studies.hypotheses import Hypothesis
from midspan.studies.paper_values import MODELS
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.training import TrainingData

ORIGINAL = "Original"
PartConfig: TypeAlias = RedteamConfig | ProbeSpec | TaskConfig
_PARTS = ("attacks", "probes", "tasks")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class PaperConfig(FrozenConfig):
    """The whole study. Parts name models by label: "Original", and each recipe's.

    The proxies of PAL may be other models, too.

    Attributes:
        base: The Original: organism, a folder, a hub id.
        recipes: Alignments of it, by label.
        data: What they learn from.
        attacks: Red-team studies by part name.
        probes: Probes by part name.
        tasks: Benchmarks by part name.
        seeds: Further training seeds, with which every recipe is trained again.
        repeated: Attacks and tasks that are measured on these trainings, too. What is claimed of
            such a part is claimed of the mean of all training seeds.
        prices: US dollars a million prompt and response tokens, by helper's or judge's model;
            for the forecast alone, so that a run goes on under others. They go before those in
            the settings of servers.
        hypotheses: What is expected, of which metric, by which rule.
        paper_models: Which model of the paper a label stands for: Original, Initial or MOSA.
    """

    base: str
    recipes: dict[str, AlignmentConfig] = Field(default_factory=dict)
    data: TrainingData = TrainingData()
    attacks: dict[str, RedteamConfig] = Field(default_factory=dict)
    probes: dict[str, ProbeSpec] = Field(default_factory=dict)
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    repeated: tuple[str, ...] = ()
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    hypotheses: tuple[Hypothesis, ...] = ()
    paper_models: dict[str, str] = Field(
        default_factory=lambda: dict(zip(MODELS, MODELS, strict=True))
    )

    @property
    def identity(self) -> dict[str, Any]:
        """What makes another study another, in JSON's terms."""
        # Emptied, not left out, so that folders of studies without prices go on.
        return self.model_copy(update={"prices": {}}).model_dump(mode="json")

    @property
    def labels(self) -> tuple[str, ...]:
        """All models, the Original first."""
        return (ORIGINAL, *self.trainings)

    @property
    def trainings(self) -> dict[str, AlignmentConfig]:
        """Every training by label: the recipes as they are, then with each further seed."""
        repeats = {
            seeded(label, seed): recipe.model_copy(update={"seed": seed})
            for seed in self.seeds
            for label, recipe in self.recipes.items()
        }
        return {**self.recipes, **repeats}

    @property
    def first_parts(self) -> dict[str, PartConfig]:
        """What is measured of the recipes as they are, by name."""
        return {**self.probes, **self.attacks, **self.tasks}

    @property
    def parts(self) -> dict[str, PartConfig]:
        """Everything that is measured, by name: also what is repeated, for each further seed."""
        first = self.first_parts
        repeats = {
            seeded(name, seed): _of_seed(first[name], seed)
            for seed in self.seeds
            for name in self.repeated
        }
        return {**first, **repeats}

    def replicas_of(self, name: str) -> tuple[str, ...]:
        """A label or a part as it is, then for each further seed, where it has them."""
        seeds = self.seeds if name in (*self.recipes, *self.repeated) else ()
        return (name, *(seeded(name, seed) for seed in seeds))

    def changed(self, fields: Mapping[str, Any]) -> Self:
        """The study with some fields on top; nothing else names what these leave out.

        A part or recipe that is set to null goes from the models, proxies and claims, too. What is
        planned for a claim follows the size of its part, unless claims are given as well.
        """
        base = self.model_dump()
        rest = merged(base, fields)
        parts, labels = (
            {name for group in groups for name in base[group].keys() - (rest.get(group) or {})}
            for groups in (_PARTS, ("recipes",))
        )
        changed = self.model_validate(merged(_without(base, parts, labels), fields))
        if "hypotheses" in fields:
            return changed
        sizes = {
            name: (_size(part), _size(changed.first_parts[name]))
            for name, part in self.first_parts.items()
            if name in changed.first_parts
        }
        claims = tuple(_resized(one, sizes) for one in changed.hypotheses)
        return changed.model_copy(update={"hypotheses": claims})

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        self._check_seeds()
        again = [one for name in self.repeated for one in self.replicas_of(name)[1:]]
        names = [*self.probes, *self.attacks, *self.tasks, *again]
        for name in (*names, *self.recipes):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} names a folder: letters, digits, dots and dashes only")
        if ORIGINAL in self.recipes:
            raise ValueError(f"recipes: {ORIGINAL!r} is the base's label; choose another")
        taken = {"adapters", "tables", "figures"}
        for name in names:
            if name in taken:
                raise ValueError(f"two parts, or a folder of the study, are called {name!r}")
            taken.add(name)
        for name, part in self.parts.items():
            for label in part.models:
                if label not in self.labels:
                    raise not_one_of(f"{name}.models", label, self.labels)
        return self

    def _check_seeds(self) -> None:
        repeatable: dict[str, PartConfig] = {**self.attacks, **self.tasks}
        if self.seeds and not self.repeated:
            raise ValueError("seeds: nothing is measured on them; name parts in 'repeated'")
        for name in self.repeated:
            if name not in repeatable:
                raise not_one_of("repeated", name, repeatable)
            if set(repeatable[name].models) <= {ORIGINAL}:
                raise ValueError(f"repeated: {name} measures nothing that is trained")
        for label, recipe in self.recipes.items():
            if len({recipe.seed, *self.seeds}) <= len(self.seeds):
                raise ValueError(f"seeds: {list(self.seeds)} repeat each other or {label}'s own")

    def specs(self, folder: Path) -> dict[str, str]:
        """How each label's model is loaded, once its adapter lies in the study's folder."""
        adapters = (folder / "adapters").resolve()
        return {
            ORIGINAL: self.base,
            **{label: f"{self.base}+{adapters / label}" for label in self.trainings},
        }


def seeded(name: str, seed: int) -> str:
    """A label or a part for a further training seed; it names a folder."""
    return f"{name}-seed{seed}"


def _without(fields: dict[str, Any], parts: set[str], labels: set[str]) -> dict[str, Any]:
    """A study's fields in which no model, proxy, repeat or claim is of some parts and labels."""

    def is_kept(metric: str) -> bool:
        named = metric.rpartition("[")[2].removesuffix("]").split(" - ")
        return labels.isdisjoint(named) and not metric.startswith(tuple(f"{p}." for p in parts))

    def others(part: dict[str, Any]) -> dict[str, Any]:
        named = {field: part[field] for field in ("models", "proxies") if field in part}
        return {
            field: tuple(label for label in given if label not in labels)
            for field, given in named.items()
        }

    return {
        **fields,
        **{
            group: {name: part | others(part) for name, part in fields[group].items()}
            for group in _PARTS
        },
        "repeated": tuple(name for name in fields["repeated"] if name not in parts),
        "hypotheses": tuple(one for one in fields["hypotheses"] if is_kept(one["metric"])),
    }


def _size(part: PartConfig) -> int | None:
    """How much a part asks for, by its own field; None where its data decide."""
    if isinstance(part, ProbeSpec):
        return part.n
    if isinstance(part, TaskConfig):
        return part.items
    count = part.behaviors.rpartition(":")[2]
    return int(count) if count.isdecimal() else None


def _resized(
    hypothesis: Hypothesis, sizes: Mapping[str, tuple[int | None, int | None]]
) -> Hypothesis:
    """A claim whose n keeps its share of what its part asks for."""
    for part, (before, now) in sizes.items():
        if hypothesis.metric.startswith(f"{part}.") and before and now:
            n = max(1, hypothesis.n * now // before)
            return hypothesis.model_copy(update={"n": n})
    return hypothesis


def _of_seed(part: PartConfig, seed: int) -> PartConfig:
    """A part on the models that were trained with a seed; the Original has none."""
    trained = {label: seeded(label, seed) for label in part.models if label != ORIGINAL}
    changes: dict[str, Any] = {"models": tuple(trained.values())}
    if isinstance(part, RedteamConfig):
        changes["paper_models"] = {
            trained[label]: name for label, name in part.paper_models.items() if label in trained
        }
    return part.model_copy(update=changes)


def with_model_paths(part: PartConfig, specs: Mapping[str, str]) -> PartConfig:
    """A part's config with models as they are loaded instead of labels."""
    changes: dict[str, Any] = {"models": tuple(specs[label] for label in part.models)}
    if isinstance(part, RedteamConfig):
        changes["proxies"] = tuple(specs.get(proxy, proxy) for proxy in part.proxies)
        changes["paper_models"] = {
            specs[label]: name for label, name in part.paper_models.items() if label in specs
        }
    return part.model_copy(update=changes)
