"""The gcg probe's section: success and losses by phrase and start."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.gcg import GCGCell, GCGProbeConfig, gcg_cells
from midspan.report import Figure, Section, Table
from midspan.report.cells import COUNT, line_figure, mean_cell
from midspan.studies.probes.sections.cells import FEWEST, RATE_COLUMNS, Rows, mean_curve, rate_cells


def gcg_section(records: Sequence[Record], config: GCGProbeConfig) -> Section:
    """Success and losses by phrase and start."""
    cells = gcg_cells(records)
    search = config.search
    loss = f"{search.canvases} partly shown canvases" if search.canvases else "the masked canvas"
    columns = (
        "model", "decoding", "requests", "phrase", "start", "loss, first", "loss, lowest",
        "phrase placed", *RATE_COLUMNS,
    )  # fmt: skip
    rows: Rows = tuple(
        (
            c.model, c.decoding, c.request_kind, c.phrase_kind,
            "-" if c.start is None else str(c.start),
            mean_cell(c.curve[0] if c.curve else None, COUNT),
            mean_cell(c.curve[-1] if c.curve else None, COUNT),
            f"{c.placed}/{c.rates.success.n}" if c.curve else "-",
            *rate_cells(c.rates),
        )
        for c in cells
    )  # fmt: skip
    return Section(
        "Greedy coordinate gradient",
        f"{search.steps} iterations of {search.search_width} candidates (seed {search.seed}) "
        f"search a suffix, {search.initial!r} to begin with, that makes a phrase likely on {loss}. "
        "The loss is in nats a token. 'No suffix' are the same requests as they are. Success is "
        "judged on a response to the suffix.",
        tables=(Table("Phrase by start", columns, rows, name="gcg"),),
        figures=tuple(_loss_figures(cells)),
    )


def _loss_figures(cells: Sequence[GCGCell]) -> list[Figure]:
    """Losses do not depend on the decoding, so those of the first are drawn."""
    drawn = []
    decoding = cells[0].decoding
    searched = [c for c in cells if c.curve and c.decoding == decoding]
    for model, request_kind in dict.fromkeys((c.model, c.request_kind) for c in searched):
        part = [c for c in searched if (c.model, c.request_kind) == (model, request_kind)]
        curves = [
            mean_curve(f"{c.phrase_kind} at {c.start}", range(len(c.curve)), c.curve) for c in part
        ]
        title = f"Lowest loss so far, {request_kind} requests, {model}"
        n = part[0].rates.success.n
        caption = f"Mean over n = {n} requests, 95 % t intervals from {FEWEST} requests on."
        drawn.append(line_figure(title, curves, "iteration", "loss, nats a token", caption))
    return drawn
