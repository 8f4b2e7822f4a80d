"""The instruction-placement probe's section: hits by word beside chance."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.instruction_placement import (
    InstructionPlacementConfig,
    instruction_placement_cells,
)
from midspan.report import Section, Table, figures
from midspan.report.cells import COUNT, line_figure, mean_cell, rate_cell, share_cell


def instruction_placement_section(
    records: Sequence[Record], config: InstructionPlacementConfig
) -> Section:
    """Hits by word beside chance."""
    cells = instruction_placement_cells(records, config)
    columns = (
        "model", "decoding", "phrase", "word", "present", "at the word",
        f"within {config.tolerance}", "at the word, unasked",
        f"within {config.tolerance}, unasked", "at the word, asked elsewhere", "words off",
    )  # fmt: skip
    rows = tuple(
        (
            c.model, c.decoding, c.phrase_kind, str(c.word), rate_cell(c.present),
            rate_cell(c.exact), rate_cell(c.near), rate_cell(c.unasked),
            rate_cell(c.unasked_near), share_cell(c.elsewhere), mean_cell(c.distance, COUNT),
        )
        for c in cells
    )  # fmt: skip
    drawn = []
    for key in dict.fromkeys((c.model, c.decoding, c.phrase_kind) for c in cells):
        part = [c for c in cells if (c.model, c.decoding, c.phrase_kind) == key]
        words = [c.word for c in part]
        curves = [
            figures.Curve.of_estimates("asked", words, [c.exact for c in part]),
            figures.Curve.of_estimates("unasked", words, [c.unasked for c in part]),
            figures.Curve.of_shares("asked elsewhere", words, [c.elsewhere for c in part]),
        ]
        title = f"Placing a {key[2]} phrase, {key[0]}, {key[1]}"
        caption = (
            f"n = {part[0].exact.n} requests a point, 95 % Wilson intervals; asked elsewhere, "
            "means over requests with Agresti and Coull's."
        )
        drawn.append(line_figure(title, curves, "wanted word", "phrase at the word, %", caption))
    return Section(
        "Position by instruction",
        "Benign requests ask for a phrase at a word of the answer. Chance is how often the phrase "
        "stands there unasked, and when another word was asked for: the mean over requests of the "
        "share among their other words.",
        tables=(Table("Hits", columns, rows, name="instruction-placement"),),
        figures=tuple(drawn),
    )
