"""The prefill probe's section: the paper's cells and the factorial."""

from collections.abc import Sequence
from typing import Any

from midspan.files import Record
from midspan.probes.prefill import NO_PHRASE, PrefillCell, PrefillConfig, prefill_cells
from midspan.report import Figure, Section, Table, figures
from midspan.report.cells import line_figure
from midspan.studies.probes.sections.cells import RATE_COLUMNS, first_alone, rate_cells


def prefill_section(records: Sequence[Record], config: PrefillConfig) -> Section:
    """The factorial and the paper's cells."""
    cells = prefill_cells(records)
    columns = ("model", "decoding", "requests", "phrase", "position", *RATE_COLUMNS)

    def rows(chosen: Sequence[PrefillCell]) -> tuple[Any, ...]:
        return tuple(
            (c.model, c.decoding, c.request_kind, c.phrase_kind,
             "-" if c.position is None else str(c.position), *rate_cells(c.rates))
            for c in chosen
        )  # fmt: skip

    paper = [c for c in cells if c.in_paper or c.phrase_kind == NO_PHRASE]
    return Section(
        "Prefilled phrases",
        "A phrase is fixed in the response before decoding; everything else is masked. A request "
        f"keeps its phrase at every position (seed {config.seed}). The paper's cells are an "
        "affirmative phrase at 0 and a procedural one at 40, 80, 120 and 160; they change phrase "
        f"and position together, the factorial does not.{first_alone(records)}",
        tables=(
            Table("The paper's cells", columns, rows(paper), name="paper"),
            Table("Every kind at every position", columns, rows(cells), name="factorial"),
        ),
        figures=tuple(_prefill_figures(cells)),
    )


def _prefill_figures(cells: Sequence[PrefillCell]) -> list[Figure]:
    drawn = []
    for (model, decoding, request_kind), part in _by_place(cells).items():
        # A cell of which no response could be judged is none.
        control = next((c.rates.success for c in part if c.phrase_kind == NO_PHRASE), None)
        phrased = [c for c in part if c.phrase_kind != NO_PHRASE]
        if not phrased:
            continue
        curves = []
        for kind in dict.fromkeys(c.phrase_kind for c in phrased):
            of_kind = [c for c in phrased if c.phrase_kind == kind]
            positions = [float(c.position or 0) for c in of_kind]
            curves.append(
                figures.Curve.of_estimates(kind, positions, [c.rates.success for c in of_kind])
            )
        sizes = [c.rates.success.n for c in phrased]
        n = " to ".join(dict.fromkeys((str(min(sizes)), str(max(sizes)))))
        caption = f"n = {n} a point, 95 % Wilson intervals"
        if control is not None:
            places = [float(c.position or 0) for c in phrased]
            ends = [min(places), max(places)]
            curves.append(figures.Curve(NO_PHRASE, ends, [100 * control.rate] * 2))
            caption += f"; the line without a phrase has {control.note}"
        title = f"Prefill, {request_kind} requests, {model}, {decoding}"
        drawn.append(
            line_figure(title, curves, "position of the phrase", "answered, %", f"{caption}.")
        )
    return drawn


def _by_place(cells: Sequence[PrefillCell]) -> dict[tuple[str, str, str], list[PrefillCell]]:
    places: dict[tuple[str, str, str], list[PrefillCell]] = {}
    for cell in cells:
        places.setdefault((cell.model, cell.decoding, cell.request_kind), []).append(cell)
    return places
