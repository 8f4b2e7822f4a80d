"""Every objective of alignment on the organism at one budget: attacked, used, compared."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from midspan.alignment import PRESETS, AlignmentConfig, AnywhereObjective
from midspan.alignment.presets import ANYWHERE
from midspan.engine.journal import write_jsonl
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.study.cards import fill_cards
from midspan.study.cases import Case, Sizes, build_cases
from midspan.study.folder import RunFolder
from midspan.study.kinds import write_page
from midspan.study.measure import measure, organism_decodings, write_records
from midspan.study.progress import Reporter
from midspan.study.stress import build_stress_cases

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig

BASE = "original"
RIVALS = ("initial", "mosa", "anywhere", "sft", "a2d", "vrpo")
# One change each to `anywhere`: of its objective, of its budget.
OBJECTIVE_CHANGES: dict[str, dict[str, Any]] = {
    "clean-canvases": {"contamination": {"share": 0.0}},
    "share-0.3": {"contamination": {"share": 0.3}},
    "share-1.0": {"contamination": {"share": 1.0}},
    "prefix-only": {"contamination": {"prefix": 1.0, "runs": 0.0}},
    "span-only": {"contamination": {"span": 1.0, "runs": 0.0}},
    "scattered-only": {"contamination": {"scattered": 1.0, "runs": 0.0}},
    "no-begun": {"begun": 0.0},
    "refusal-drawn": {"refusal": "drawn"},
    "any-start": {"gap_starts": None},
    "beta-0.05": {"beta": 0.05},
    "no-negative": {"negative_weight": 0.0},
    "clean-benign": {"contaminate_benign": False},
    "benign-kl-0.5": {"benign_weight": 0.5},
}
BUDGET_CHANGES: dict[str, dict[str, Any]] = {
    "100-steps": {"num_prompts": 800},
    "400-steps": {"num_prompts": 3200},
}


class ObjectivesConfig(FrozenConfig):
    """One comparison.

    Attributes:
        recipes: Alignment configs by name, each trained once a seed.
        seeds: Training seeds; they draw the lessons too.
        sizes: Cases a cell; attempts with wraps of trained families are left out.
        stress: Cases of each kind of partly given answer.
        decodings: Names from :func:`stress_decodings`.
        held_in: Judge on items and wraps that alignment saw, to choose settings by; never report
            a comparison with it.
        case_seed: Seed of the cases.
    """

    recipes: dict[str, AlignmentConfig]
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: Sizes = Sizes(plain=9, wraps=6, prefill=6, benign=12, utility=8)
    stress: int = Field(9, ge=0)
    decodings: tuple[str, ...] = ("one block", "blocks of 32")
    held_in: bool = False
    case_seed: int = 4

    @field_validator("decodings")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in stress_decodings()]
        if unknown:
            known = ", ".join(stress_decodings())
            raise ValueError(f"no decoding is called {unknown[0]!r}; choose from {known}")
        return names

    def cases(self) -> list[Case]:
        """What every model is asked."""
        found = build_cases(self.sizes, self.case_seed)
        found += build_stress_cases(self.stress, self.case_seed, self.held_in)
        unwanted = "wraps_held_out" if self.held_in else "wraps_trained"
        return [
            case
            for case in found
            if case.cell != unwanted and not (self.held_in and (case.item and case.item.held_out))
        ]


def objectives() -> ObjectivesConfig:
    """All objectives, three seeds: the table of docs/anywhere.md."""
    return ObjectivesConfig(recipes={name: PRESETS[name]() for name in RIVALS})


def ablations() -> ObjectivesConfig:
    """`anywhere` beside itself with one change each, on the cells that tell them apart.

    Without benign prompts there is no benign KL: the same harmful prompts a step, and no others.
    """
    anywhere = PRESETS["anywhere"]
    recipes = {"anywhere": anywhere()}
    for name, changes in OBJECTIVE_CHANGES.items():
        recipes[name] = anywhere(name=name, objective=AnywhereObjective(**ANYWHERE | changes))
    harmful_alone = AnywhereObjective(**ANYWHERE | {"benign_weight": 0.0})
    budget = {"benign_share": 0.0, "batch_size": recipes["anywhere"].num_harmful}
    recipes["no-benign"] = anywhere(name="no-benign", objective=harmful_alone, **budget)
    for name, changes in BUDGET_CHANGES.items():
        recipes[name] = anywhere(name=name, **changes)
    sizes = Sizes(plain=1, wraps=18, prefill=1, benign=36, utility=4)
    return ObjectivesConfig(recipes=recipes, sizes=sizes, stress=18)


def samplers() -> ObjectivesConfig:
    """All objectives in other decodings: other steps, sampled, without the end of the text."""
    usual = objectives()
    others = tuple(name for name in stress_decodings() if name not in usual.decodings)
    sizes = Sizes(plain=1, wraps=3, prefill=1, benign=4, utility=2)
    return usual.model_copy(update={"decodings": others, "sizes": sizes, "stress": 4})


COMPARISONS: dict[str, Callable[[], ObjectivesConfig]] = {
    preset.__name__: preset for preset in (objectives, ablations, samplers)
}


def stress_decodings() -> "dict[str, DecodingConfig]":
    """Decodings by name: two block settings, each with 16 to 128 steps, sampled, without EOS."""
    found = {}
    for steps in (32, 16, 64, 128):
        for name, config in organism_decodings(steps).items():
            found[name if steps == 32 else f"{name}, {steps} steps"] = config
    for name, config in organism_decodings().items():
        found[f"{name}, temperature 1.0"] = config.model_copy(update={"temperature": 1.0})
        for policy in ("suppress_confidence", "suppress_logits"):
            label = f"{name}, EOS {policy.replace('_', ' ').replace('suppress ', 'suppressed in ')}"
            found[label] = config.model_copy(update={"eos_policy": policy})
    return found


def run_objectives(config: ObjectivesConfig, folder: str | Path, command: str = "") -> Path:
    """Train and measure everything; the same call continues an interrupted one.

    Returns:
        The page.
    """
    run = RunFolder(folder, config.model_dump(mode="json"), command, "objectives")
    reporter = Reporter()
    from midspan.organism.weights import load_organism

    cases = config.cases()
    wanted = stress_decodings()
    decodings = {name: wanted[name] for name in config.decodings}
    records: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    adapters: dict[str, list[Path]] = {name: [] for name in config.recipes}
    with run.journal:
        models: dict[tuple[str, int], Path | None] = {(BASE, 0): None}
        for name, recipe in config.recipes.items():
            for seed in config.seeds:
                adapter = _train(run, reporter, name, recipe, seed)
                models[name, seed] = adapter
                adapters[name].append(adapter)
                trainings.append({"model": name, "seed": seed, "seconds": _seconds(adapter)})
        for (name, seed), trained in models.items():
            lm = load_organism(trained)
            with reporter.stage(f"measuring {name} {seed}", len(cases) * len(decodings)) as stage:
                made = measure(lm, name, cases, decodings, run.journal, stage.advance)
            records += [row | {"seed": seed} for row in made]
    write_jsonl(run.path / "trainings.jsonl", trainings)
    write_records(run.path / "records.jsonl", records)
    page = write_page(run.path)
    fill_cards(run.path, BASE, adapters)
    return page


def _train(
    run: RunFolder, reporter: Reporter, name: str, recipe: AlignmentConfig, seed: int
) -> Path:
    from midspan.alignment import align
    from midspan.organism.lessons import alignment_data
    from midspan.organism.weights import load_organism

    folder = run.path / "adapters" / f"{name}-{seed}"
    seeded = recipe.model_copy(update={"seed": seed})
    with reporter.stage(f"training {name} {seed}", recipe.num_steps) as stage:

        def show(step: int, total: int, row: Mapping[str, Any]) -> None:
            stage.advance(step - stage.done, f"loss {row['loss']:.2f}")

        result = align(load_organism(), alignment_data(seed), seeded, folder, show)
    if result.stopped:
        raise MidspanError(f"{name}, seed {seed}: {result.stopped}")
    return folder


def _seconds(adapter: Path) -> float:
    """Of the training call that finished an adapter."""
    return json.loads((adapter / "midspan.json").read_text(encoding="utf-8"))["seconds"]
