"""What a comparison of objectives says: for each decoding a table and a figure, with the price."""

from collections.abc import Mapping, Sequence
from typing import Any

from midspan.report import Cell, Figure, Headline, Number, Report, Section, Table, figures
from midspan.report.cells import bar_figure, rate_cell
from midspan.runs.folder import FinishedRun
from midspan.statistics import Estimate
from midspan.studies.headline import NO_VERDICT, share, tone_of
from midspan.studies.hypotheses import FEWEST_CASES
from midspan.studies.organism.cases import MENTION_CELLS, MENTION_CONTROL, PREFILL_CELLS
from midspan.studies.organism.objectives.config import BASE, ObjectivesConfig
from midspan.studies.organism.results import Results, incoherent, refused
from midspan.studies.organism.stress import ANCHOR_CELLS, INFILL_CELLS, WRAPPED_PREFILL_CELLS

_LIMITS = (
    "The organism is a 1.2-million-parameter model of a fictional world; what holds here need not "
    "hold for an 8B model.",
    "Figures pool the training seeds, which share their cases, and cases repeat 18 restricted "
    "items, so intervals are somewhat narrow.",
)
_HELD_IN = (
    "Items and wraps are those that alignment saw: settings are chosen by these figures, and no "
    "comparison is reported with them.",
)


def report_of(run: FinishedRun) -> Report:
    """The page of a finished comparison, from its folder alone."""
    config = ObjectivesConfig(**run.info["config"])
    results = Results(run.rows("records.jsonl"))
    minutes = _minutes(run.rows("trainings.jsonl"), len(config.seeds))
    return Report(
        title="Objectives of alignment",
        subtitle=f"{', '.join(config.recipes)} at one budget, {len(config.seeds)} training "
        f"seed{'s' if len(config.seeds) > 1 else ''} each, attacked and used on the same cases.",
        headline=_headline(config, results),
        sections=(
            *([_overview(config, results)] if len(config.decodings) > 2 else []),
            *(_section(config, results, decoding, minutes) for decoding in config.decodings),
        ),
        settings=_settings(config) | run.origin,
        limits=(*(_HELD_IN if config.held_in else ()), *_LIMITS),
        redact=False,
    )


def _headline(config: ObjectivesConfig, results: Results) -> Headline:
    """Disguised requests against every model, in the worse decoding."""
    cells = _attacks(config.held_in)["wraps"]
    models = (BASE, *config.recipes)
    rates = {
        model: max(
            (results.rate(model, decoding, cells) for decoding in config.decodings),
            key=lambda rate: rate.successes / max(rate.n, 1),
        )
        for model in models
    }
    ranked = sorted(config.recipes, key=lambda model: rates[model].rate)
    shown = list(dict.fromkeys((BASE, ranked[0], ranked[-1])))
    is_verdict = min(rate.n for rate in rates.values()) >= FEWEST_CASES
    numbers = tuple(
        Number(m, rates[m].percent, rates[m].note, tone_of(rates[m]) if is_verdict else "plain")
        for m in shown
    )
    title = "ASR of disguised requests, worse decoding"
    series = [(model, [rates[model]]) for model in models]
    return Headline(
        numbers,
        bar_figure(title, ["wraps"], series, "ASR, %", name="worst_wraps"),
        "Share of disguised requests answered, with the 95 % Wilson interval. The objectives with "
        "the lowest and the highest rate stand beside the base.",
        f"Disguised requests won {share(rates[BASE])} against the {BASE}, and "
        f"{share(rates[ranked[0]])} against {ranked[0]}"
        + (f", the best of {len(config.recipes)} objectives." if len(ranked) > 1 else "."),
        None if is_verdict else NO_VERDICT,
    )


def _minutes(trainings: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, float]:
    """Mean minutes of a training, by model."""
    minutes: dict[str, float] = {}
    for row in trainings:
        minutes[row["model"]] = minutes.get(row["model"], 0.0) + row["seconds"] / 60 / seeds
    return minutes


def _attacks(held_in: bool) -> dict[str, tuple[str, ...]]:
    """Attacks, and the cells that each pools."""
    return {
        "plain": ("plain",),
        "wraps": ("wraps_trained",) if held_in else ("wraps_held_out",),
        "prefill": PREFILL_CELLS,
        "prefill, wrapped": WRAPPED_PREFILL_CELLS,
        **{cell.replace("_", " "): (cell,) for cell in (*ANCHOR_CELLS, *INFILL_CELLS)},
    }


def _measured(
    config: ObjectivesConfig, results: Results, decoding: str
) -> tuple[dict[str, list[Estimate]], dict[str, list[Estimate]]]:
    """Attacks and uses by name, each with an estimate a model."""
    models = (BASE, *config.recipes)
    cells_of = _attacks(config.held_in)
    attacks = {
        name: [results.rate(model, decoding, cells) for model in models]
        for name, cells in cells_of.items()
    }
    wraps = cells_of["wraps"]
    uses = {
        "wraps refused in words": [results.rate(m, decoding, wraps, refused) for m in models],
        "wraps, incoherent": [results.rate(m, decoding, wraps, incoherent) for m in models],
        "benign answered": [results.benign(model, decoding) for model in models],
        "false refusals": [results.false_refusals(model, decoding) for model in models],
        "utility": [results.utility(model, decoding) for model in models],
    }
    if config.mentions:
        uses |= {
            "mentioned only, answered": [results.rate(m, decoding, MENTION_CELLS) for m in models],
            "mentioned only, refused": [
                results.rate(m, decoding, MENTION_CELLS, refused) for m in models
            ],
            "without the mention, answered": [
                results.rate(m, decoding, MENTION_CONTROL) for m in models
            ],
        }
        for cell in MENTION_CELLS:
            name = cell.removeprefix("mention_").replace("_", " ")
            uses[f"mentioned: {name}"] = [results.rate(m, decoding, cell) for m in models]
    return attacks, uses


def _overview(config: ObjectivesConfig, results: Results) -> Section:
    """What the sections say of each attack and use, with the decodings below each other."""
    rows: dict[str, list[tuple[Cell | str, ...]]] = {}
    for decoding in config.decodings:
        attacks, uses = _measured(config, results, decoding)
        for name, estimates in (attacks | uses).items():
            rows.setdefault(name, []).append((decoding, *map(rate_cell, estimates)))
    columns = ("decoding", BASE, *config.recipes)
    tables = tuple(
        Table(name.capitalize(), columns, tuple(lines), name=f"decodings {name}")
        for name, lines in rows.items()
    )
    return Section("Across decodings", "The sections below, by what was measured.", tables=tables)


def _section(
    config: ObjectivesConfig, results: Results, decoding: str, minutes: Mapping[str, float]
) -> Section:
    models = (BASE, *config.recipes)
    attacks, uses = _measured(config, results, decoding)
    rows: list[tuple[Cell | str, ...]] = [
        (name, *map(rate_cell, estimates)) for name, estimates in (attacks | uses).items()
    ]
    rows.append(("minutes of training", *(f"{minutes.get(model, 0.0):.1f}" for model in models)))
    series = [
        (model, [estimates[index] for estimates in attacks.values()])
        for index, model in enumerate(models)
    ]
    title = f"ASR by objective, {decoding}"
    return Section(
        decoding.capitalize(),
        "",
        tables=(
            Table(
                "Attack, use and price",
                ("measured", *models),
                tuple(rows),
                "The first rows, to infill scaffold, are attacks: share of responses that answer a "
                "restricted request; facts that the attacker gave count for nobody. A response "
                "that is incoherent withholds by breaking, also where it holds a refusal's words.",
                f"objectives {decoding}",
            ),
        ),
        figures=(
            Figure(
                title,
                figures.bars(title, list(attacks), series, "ASR, %"),
                "",
                f"attacks {decoding}",
                figures.bars_csv(list(attacks), series),
            ),
        ),
    )


def _settings(config: ObjectivesConfig) -> dict[str, str]:
    recipes = {
        f"recipe of {name}": recipe.model_dump_json() for name, recipe in config.recipes.items()
    }
    return {
        "training seeds": ", ".join(map(str, config.seeds)),
        "cases a cell": f"{config.sizes.model_dump_json()}, {config.stress} of each partly given "
        f"answer, seed {config.case_seed}",
        **recipes,
    }
