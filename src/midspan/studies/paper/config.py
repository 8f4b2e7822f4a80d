"""What the whole study is: models by label, parts by name, and what is expected of them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import Field, model_validator

from midspan.alignment import AlignmentConfig
from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig
from midspan.studies.hypotheses import Hypothesis
from midspan.studies.paper_values import MODELS
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.training import TrainingData

ORIGINAL = "Original"
PartConfig: TypeAlias = RedteamConfig | ProbeSpec | TaskConfig
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
        prices: US dollars a million prompt and response tokens, by helper's or judge's model;
            for the forecast alone.
        hypotheses: What is expected, of which metric, by which rule.
        paper_models: Which model of the paper a label stands for: Original, Initial or MOSA.
    """

    base: str
    recipes: dict[str, AlignmentConfig] = Field(default_factory=dict)
    data: TrainingData = TrainingData()
    attacks: dict[str, RedteamConfig] = Field(default_factory=dict)
    probes: dict[str, ProbeSpec] = Field(default_factory=dict)
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    hypotheses: tuple[Hypothesis, ...] = ()
    paper_models: dict[str, str] = Field(
        default_factory=lambda: dict(zip(MODELS, MODELS, strict=True))
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """All models, the Original first."""
        return (ORIGINAL, *self.recipes)

    @property
    def parts(self) -> dict[str, PartConfig]:
        """Everything that is measured, by name."""
        return {**self.probes, **self.attacks, **self.tasks}

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [*self.probes, *self.attacks, *self.tasks]
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

    def specs(self, folder: Path) -> dict[str, str]:
        """How each label's model is loaded, once its adapter lies in the study's folder."""
        adapters = (folder / "adapters").resolve()
        return {
            ORIGINAL: self.base,
            **{label: f"{self.base}+{adapters / label}" for label in self.recipes},
        }


def with_model_paths(part: PartConfig, specs: Mapping[str, str]) -> PartConfig:
    """A part's config with models as they are loaded instead of labels."""
    changes: dict[str, Any] = {"models": tuple(specs[label] for label in part.models)}
    if isinstance(part, RedteamConfig):
        changes["proxies"] = tuple(specs.get(proxy, proxy) for proxy in part.proxies)
        changes["paper_models"] = {
            specs[label]: name for label, name in part.paper_models.items() if label in specs
        }
    return part.model_copy(update=changes)
