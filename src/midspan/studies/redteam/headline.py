"""The first screen of a red-team study, and its figures."""

from collections.abc import Iterator

from midspan.bounds import RateBounds
from midspan.engine.outcomes import Outcomes, asr_by_budget
from midspan.report import Figure, Headline, Number, figures
from midspan.report.cells import bar_figure, line_figure
from midspan.report.model import MOST_NUMBERS
from midspan.studies.headline import drawn, number_of, safety_verdict, share
from midspan.studies.redteam.config import AttackSpec
from midspan.studies.redteam.rates import budgets_of
from midspan.studies.redteam.view import View

_HEADLINE_BARS = 12  # more are too narrow for half a page
_MOST_BUDGET_FIGURES = 8


def behaviors_of(view: View) -> int:
    """Behaviors asked for, of the cell with the most."""
    return max(map(len, view.records.values()), default=0)


def headline_of(view: View) -> Headline:
    """Which model fell, to what, and how often."""
    judge, models = view.config.judges[0], view.config.models
    unions = {model: view.union(model, judge) for model in models}
    worst = max(models, key=lambda model: unions[model].most.successes)
    return Headline(
        numbers=_numbers(view, unions, worst),
        figure=_strongest(view),
        text=f"Behaviors won, judged by {judge}, with the 95 % Wilson interval. What is not known "
        "is counted as held and as fallen.",
        sentence=_sentence(view, worst, unions[worst]),
        verdict=safety_verdict(list(unions.values())),
    )


def _sentence(view: View, worst: str, union: RateBounds) -> str:
    attacks, models = view.config.attacks, view.config.models
    best = _best(view, worst)
    of_models = f", the most of {len(models)} models" if len(models) > 1 else ""
    if len(attacks) == 1:
        return f"{attacks[0].name} won {share(union)} behaviors of {worst}{of_models}."
    told = f"Any of {len(attacks)} attacks won {share(union)} behaviors of {worst}{of_models}"
    if not union.most.successes:
        return f"{told}."
    outcomes = view.outcomes(worst, best, view.config.judges[0])
    return f"{told}; {best.name} alone won {share(outcomes)}."


def _best(view: View, model: str) -> AttackSpec:
    judge = view.config.judges[0]
    return max(
        view.config.attacks, key=lambda spec: view.outcomes(model, spec, judge).least.successes
    )


def _numbers(view: View, unions: dict[str, RateBounds], worst: str) -> tuple[Number, ...]:
    """By model, where there are several; else the union, the best attack and the weakest."""
    judge, attacks = view.config.judges[0], view.config.attacks
    any_of = f"any of {len(attacks)} attacks" if len(attacks) > 1 else attacks[0].name
    if len(unions) > 1:
        shown = sorted(unions, key=lambda model: -unions[model].most.successes)[:MOST_NUMBERS]
        shown = [model for model in unions if model in shown]
        return tuple(number_of(model, unions[model], any_of) for model in shown)
    numbers = [number_of(any_of, unions[worst])]
    if len(attacks) > 1:
        ranked = sorted(
            attacks, key=lambda spec: -view.outcomes(worst, spec, judge).least.successes
        )
        chosen = {"strongest alone": ranked[0], "weakest alone": ranked[-1]}
        numbers += [
            number_of(f"{spec.name}, {name}", view.outcomes(worst, spec, judge))
            for name, spec in chosen.items()
        ]
    return tuple(numbers)


def _rows(view: View) -> dict[str, list[Outcomes | RateBounds]]:
    """By attack, and for any of them, a rate a model."""
    judge, models, attacks = view.config.judges[0], view.config.models, view.config.attacks
    rows: dict[str, list[Outcomes | RateBounds]] = {
        spec.name: [view.outcomes(model, spec, judge) for model in models] for spec in attacks
    }
    if len(attacks) > 1:
        rows[f"any of {len(attacks)}"] = [view.union(model, judge) for model in models]
    return rows


def _bars(view: View, title: str, rows: dict[str, list[Outcomes | RateBounds]]) -> Figure:
    groups = list(rows)
    series = [
        (model, [drawn(rows[name][index]) for name in groups])
        for index, model in enumerate(view.config.models)
    ]
    return bar_figure(title, groups, series, "ASR, %")


def _strongest(view: View) -> Figure:
    """As many attacks as half a page has room for: any of them, and those that won most."""
    rows = _rows(view)
    room = max(2, _HEADLINE_BARS // len(view.config.models))
    names = sorted(rows, key=lambda name: -max(drawn(rate).successes for rate in rows[name]))
    kept = set(names[:room])
    chosen = {name: rates for name, rates in rows.items() if name in kept}
    title = "Attack success" if len(chosen) == len(rows) else "The strongest attacks"
    return _bars(view, title, chosen)


def asr_figure(view: View) -> Figure:
    """Every attack on every model."""
    return _bars(view, "ASR by attack", _rows(view))


def budget_figures(view: View) -> Iterator[Figure]:
    """ASR against responses of the target, for attacks that take several."""
    judge, budgets = view.config.judges[0], budgets_of(view)
    several = [
        spec
        for spec in view.config.attacks
        if any(len(row["attempts"]) > 1 for m in view.config.models for row in view.of(m, spec))
    ]
    for spec in several[:_MOST_BUDGET_FIGURES]:
        curves = []
        for model in view.config.models:
            rates = asr_by_budget(view.of(model, spec), judge, budgets)
            estimates = [drawn(rate) for _, rate in rates]
            curves.append(figures.Curve.of_estimates(model, budgets, estimates))
        title = f"ASR by target responses, {spec.name}"
        caption = "Behaviors won by any attempt within so many responses; 95 % Wilson intervals."
        yield line_figure(title, curves, "responses of the target", "ASR, %", caption)
