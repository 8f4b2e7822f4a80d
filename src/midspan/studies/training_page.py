"""From the metrics of trainings to the curves of a page."""

from collections.abc import Mapping, Sequence
from typing import Any

from midspan.report import Figure, Section, figures

_SHOWN = (
    ("reward_safe", "Log-probability of the refusal"),
    ("reward_harmful", "Log-probability of the harmful phrase"),
    ("kl_harmful", "KL to the reference, harmful prompts"),
)


def training_section(metrics: Mapping[str, Sequence[Mapping[str, Any]]], text: str) -> Section:
    """Reward and drift by step (paper, Figure 7).

    Args:
        metrics: Rows of each training, by model.
        text: What stands above the curves.
    """
    drawn = []
    for field, label in _SHOWN:
        # A step says nothing of what its batch had no sample for.
        having = {name: [row for row in rows if field in row] for name, rows in metrics.items()}
        curves = [
            figures.Curve(
                name,
                [row["step"] for row in rows],
                [row[field] for row in rows],
                smoothing=max(1, len(rows) // 20),
            )
            for name, rows in having.items()
            if rows
        ]
        if curves:
            drawn.append(
                Figure(
                    label,
                    figures.lines(label, curves, "step", "nats"),
                    "Best start in the window, mean over the batch (paper, Figure 7).",
                    field,
                    figures.lines_csv(curves),
                )
            )
    return Section("Training", text, figures=tuple(drawn))
