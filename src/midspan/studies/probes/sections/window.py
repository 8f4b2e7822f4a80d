"""The window probe's section: every start with its test, and the window."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.context import grouped
from midspan.probes.window import WindowConfig, find_window
from midspan.report import Section, Table, figures
from midspan.report.cells import line_figure
from midspan.studies.probes.sections.cells import RATE_COLUMNS, first_alone, rate_cells


def window_section(records: Sequence[Record], config: WindowConfig) -> Section:
    """Every start with its test, and the window."""
    tables, drawn, texts = [], [], []
    for (model,), part in grouped(records, "model").items():
        result = find_window(part, config)
        texts.append(f"{model}: {result}. {result.rule}{first_alone(part)}")
        rows = [
            (s.decoding, str(s.position), *rate_cells(s.rates), str(s.gained), str(s.lost),
             f"{s.p:.2g}", "yes" if s.vulnerable else "no")
            for s in result.starts
        ]  # fmt: skip
        rows += [
            (name, "-", *rate_cells(rates), "", "", "", "control")
            for name, rates in result.control.items()
        ]
        columns = ("decoding", "start", *RATE_COLUMNS, "gained", "lost", "p", "vulnerable")
        tables.append(Table(f"Starts, {model}", columns, tuple(rows), name=f"starts {model}"))
        curves = []
        for name in result.control:
            starts = [s for s in result.starts if s.decoding == name]
            rates = [s.rates.success for s in starts]
            curves.append(figures.Curve.of_estimates(name, [s.position for s in starts], rates))
        caption = "A procedural phrase at each start; 95 % Wilson intervals. Without a phrase: "
        caption += "; ".join(f"{n} {r.success}" for n, r in result.control.items()) + "."
        drawn.append(
            line_figure(f"Window, {model}", curves, "start of the phrase", "answered, %", caption)
        )
    return Section("The window", "\n\n".join(texts), tuple(tables), tuple(drawn))
