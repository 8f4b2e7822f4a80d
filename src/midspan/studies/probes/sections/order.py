"""The order probe's section: the order of commits beside chance, and the paper's curve."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.context import grouped
from midspan.probes.order import FIGURES, OrderCell, OrderConfig, order_cells
from midspan.report import Figure, Section, Table, figures
from midspan.report.cells import COUNT, SHARE, TAU, line_figure, mean_cell
from midspan.studies.probes.sections.cells import Rows, mean_curve


def order_section(records: Sequence[Record], config: OrderConfig) -> Section:
    """Order against chance, and the paper's curve for all models together."""
    cells = order_cells(records)
    names = {
        "tau": "tau", "tau_chance": "tau by chance", "tau_all": "tau with end tokens",
        "adjacent": "adjacent", "adjacent_chance": "adjacent by chance",
        "adjacent_all": "adjacent with end tokens", "end_tokens": "end tokens",
        "end_step": "step of end tokens", "text_step": "step of text",
    }  # fmt: skip
    columns = ("model", "decoding", "requests", *(names[name] for name in FIGURES))
    rows: Rows = tuple(
        (
            c.model,
            c.decoding,
            c.request_kind,
            *(mean_cell(c.means[name], _possible(name)) for name in FIGURES),
        )
        for c in cells
    )
    drawn = []
    for decoding in dict.fromkeys(c.decoding for c in cells):
        part = [c for c in cells if c.decoding == decoding]
        drawn += [
            _order_figure(f"Position by step, {decoding}", part, with_end=False),
            _order_figure(f"Position by step with end tokens, {decoding}", part, with_end=True),
        ]
    drawn += _single_responses(records)
    return Section(
        "Decoding order",
        "tau is Kendall's tau-b of position and step over the commits of one response, a mean over "
        "responses; adjacent is the share of commits with nothing open to their left after their "
        f"step. Chance keeps steps and blocks and deals positions {config.shuffles} times. End "
        "tokens are apart; responses run to the end of the canvas.",
        tables=(Table("Order", columns, rows, name="order"),),
        figures=tuple(drawn),
    )


def _possible(name: str) -> tuple[float, float]:
    return TAU if name.startswith("tau") else SHARE if name.startswith("adjacent") else COUNT


def _order_figure(title: str, cells: Sequence[OrderCell], with_end: bool) -> Figure:
    curves = []
    for cell in cells:
        steps = cell.curve_all if with_end else cell.curve
        if steps:
            label = f"{cell.request_kind}, {cell.model}"
            means = [mean for _, mean in steps]
            curves.append(
                mean_curve(label, [s for s, _ in steps], means, cell.model, cell.request_kind)
            )
    drawn = figures.lines(title, curves, "step", "mean position of its commits", diagonal=True)
    caption = (
        "Mean over the responses that commit at a step, 95 % t intervals where five or more do."
    )
    return Figure(title, drawn, caption, title, figures.lines_csv(curves))


def _single_responses(records: Sequence[Record]) -> list[Figure]:
    drawn = []
    for (model, decoding, request_kind), part in grouped(
        records, "model", "decoding", "request_kind"
    ).items():
        curves = [
            figures.Curve(
                row["id"], [step for step, _ in row["curve"]], [y for _, y in row["curve"]]
            )
            for row in part[:6]
            if row["curve"]
        ]
        if curves:
            title = f"Single responses, {request_kind}, {model}, {decoding}"
            caption = "The first six requests, end tokens apart."
            drawn.append(line_figure(title, curves, "step", "mean position", caption))
    return drawn
