"""Training curves of a page."""

import csv
import io

from midspan.studies.training_page import training_section


def test_steps_without_a_metric_leave_no_hole_in_the_page() -> None:
    rows = [
        {"step": 1, "kl_harmful": 0.0, "nats_begun": -3.0},
        {"step": 2, "kl_harmful": 0.1, "reward_safe": -4.0, "reward_harmful": -9.0},
        {"step": 3, "kl_harmful": 0.2},
    ]
    section = training_section({"PSA": rows, "SFT": [{"step": 1}]}, "Text.")
    points = {
        figure.name: [(row["series"], row["x"]) for row in csv.DictReader(io.StringIO(figure.csv))]
        for figure in section.figures
    }
    assert points == {
        "reward_safe": [("PSA", "2")],
        "reward_harmful": [("PSA", "2")],
        "kl_harmful": [("PSA", "1"), ("PSA", "2"), ("PSA", "3")],
    }
