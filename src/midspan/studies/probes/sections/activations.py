"""The activations probe's section: accuracy by layer, position and step."""

from collections.abc import Sequence

from midspan.files import Record
from midspan.probes.activations import RESPONSE_MEAN, ActivationsConfig
from midspan.probes.context import grouped
from midspan.report import Section, Table, figures
from midspan.report.cells import line_figure, percent, rate_cell
from midspan.statistics import Estimate, wilson


def activations_section(records: Sequence[Record], config: ActivationsConfig) -> Section:
    """Accuracy by layer, position and step, beside random labels and the first model's reader."""
    columns = (
        "model", "decoding", "steps done", "position", "layer", "accuracy", "balanced",
        "random labels, mean", "random labels, highest", "read as in the first model", "cosine",
    )  # fmt: skip
    rows = tuple(
        (
            row["model"], row["decoding"], f"{row['progress']:.0%}", str(row["position"]),
            str(row["layer"]), rate_cell(_accuracy(row)), percent(row["balanced"]),
            percent(_mean(row["permuted_accuracy"])), percent(max(row["permuted_accuracy"])),
            percent(row["transferred_accuracy"]) if "transferred_accuracy" in row else "-",
            f"{row['cosine']:.2f}" if row.get("cosine") is not None else "-",
        )
        for row in records
    )  # fmt: skip
    drawn = []
    fields = ("model", "decoding", "progress")
    for (model, decoding, share), part in grouped(records, *fields).items():
        title = f"Separability, {model}, {decoding}, {share:.0%} of the steps done"
        drawn.append(
            line_figure(title, _layer_curves(part), "layer", "accuracy, %",
                        f"n = {part[0]['n']} requests in {config.num_folds} folds by group, 95 % "
                        "Wilson intervals; random labels are a mean.")
        )  # fmt: skip
    return Section(
        "Linear separability",
        "A ridge classifier tells harmful from benign requests by the activations of one layer at "
        "one position, never of a group it has seen. Random labels are dealt to groups "
        f"{config.shuffles} times. With a second model, the first one's classifier reads it too, "
        "and the cosine compares both models' differences of mean activations. After steps are "
        "done the canvas shows words of a refusal or an answer, which separates by itself.",
        tables=(Table("Accuracy", columns, rows, name="activations"),),
        figures=tuple(drawn),
    )


def _layer_curves(part: Sequence[Record]) -> list[figures.Curve]:
    curves = []
    permuted: dict[int, list[float]] = {}
    for (position,), rows in grouped(part, "position").items():
        label = position if position == RESPONSE_MEAN else f"position {position}"
        estimates = [_accuracy(row) for row in rows]
        curves.append(figures.Curve.of_estimates(label, [r["layer"] for r in rows], estimates))
        for row in rows:
            permuted.setdefault(row["layer"], []).extend(row["permuted_accuracy"])
    means = [100 * sum(values) / len(values) for values in permuted.values()]
    return [*curves, figures.Curve("random labels", list(permuted), means)]


def _accuracy(row: Record) -> Estimate:
    return wilson(row["correct"], row["n"])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
