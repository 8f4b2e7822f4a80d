import csv
import io
import math
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from midspan.report import figures, svg
from midspan.report.figures import Curve
from midspan.statistics import wilson

GROUPS = ("TAP", "no attack")
SERIES = [("Original", [wilson(70, 96), wilson(9, 96)]), ("MOSA", [wilson(4, 96), wilson(0, 0)])]


def texts(drawing):
    return [node.text for node in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]


def test_bars_show_every_value_and_no_default_for_missing_ones():
    drawn = texts(figures.bars("ASR", GROUPS, SERIES, "ASR, %"))
    assert {"73", "9", "4", "n/a", "TAP", "no attack", "Original", "MOSA"} <= set(drawn)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.bars("a", GROUPS, SERIES, "y", target=10),
        lambda: figures.lines("b", [Curve("MOSA", [0, 1], [2, 3], [1, 2], [3, 4])], "x", "y"),
        lambda: figures.lines("c", [Curve("R", range(60), range(60), smoothing=9)], "x", "y"),
    ],
)
def test_drawings_are_deterministic_small_and_self_contained(draw):
    drawing = draw()
    assert drawing == draw()
    assert len(drawing) < 60_000
    for banned in ("<style", "<script", "<metadata", "<!DOCTYPE", "<?xml", "font-family: 'DejaVu"):
        assert banned not in drawing
    root = ET.fromstring(drawing)
    assert root.get("role") == "img"
    assert root.get("viewBox")
    ids = {node.get("id") for node in root.iter() if node.get("id")}
    for node in root.iter():
        for name, value in node.attrib.items():
            if name.endswith("href"):
                assert value.startswith("#")
                assert value[1:] in ids


def test_colours_follow_the_theme_and_the_model():
    drawing = figures.bars("ASR", GROUPS, SERIES, "ASR, %")
    assert "var(--series-original, #6b7280)" in drawing
    assert "var(--series-mosa, #3f9bd4)" in drawing
    assert "currentColor" in drawing
    assert svg.INK not in drawing
    assert svg.PAPER not in drawing


def test_known_models_keep_their_colour_and_others_differ():
    alone, together = svg.colours(["MOSA"]), svg.colours(["x", "Initial", "y", "MOSA", "x"])
    assert alone["MOSA"] == together["MOSA"]
    assert len(set(together.values())) == 4


def test_ids_of_two_figures_do_not_clash():
    both = [figures.bars(title, GROUPS, SERIES, "y") for title in ("one", "two")]
    first, second = ({n.get("id") for n in ET.fromstring(s).iter()} - {None} for s in both)
    assert first
    assert first.isdisjoint(second)


def test_hostile_labels_are_text():
    label = '<script>alert("1")</script> $x_1$ & ]]>'
    drawing = figures.bars(label, [label], [(label, [wilson(1, 2)])], label)
    assert "<script" not in drawing
    assert label in texts(drawing)
    assert ET.fromstring(drawing).get("aria-label") == label


def test_small_tick_labels_survive_the_shortening_of_coordinates():
    drawn = texts(figures.lines("t", [Curve("R", [0, 1], [0.00125, 0.00375])], "x", "y"))
    assert any(text.startswith("0.00") and float(text) > 0 for text in drawn)


def test_bars_csv_holds_the_numbers():
    rows = list(csv.DictReader(io.StringIO(figures.bars_csv(GROUPS, SERIES))))
    assert len(rows) == 4
    assert rows[0]["group"] == "TAP"
    assert float(rows[0]["rate"]) == 70 / 96
    assert math.isnan(float(rows[3]["rate"]))


def test_lines_csv_holds_bounds_where_there_are_some():
    curves = [Curve("a", [1], [2.5], [2], [3]), Curve("b", [1], [4])]
    assert figures.lines_csv(curves) == "series,x,y,low,high\na,1,2.5,2,3\nb,1,4,,\n"


def test_curve_of_estimates_is_in_percent():
    curve = Curve.of_estimates("m", [40], [wilson(5, 10)])
    assert list(curve.y) == [50.0]
    assert curve.low[0] < 50 < curve.high[0]


@pytest.mark.parametrize("bounds", [([1.0], []), ([1.0], [2.0]), ([], [1.0, 2.0])])
def test_curve_refuses_unequal_lengths(bounds):
    with pytest.raises(ValueError, match="differ in length"):
        Curve("m", [1, 2], [3, 4], *bounds)


def test_bars_refuse_missing_values():
    with pytest.raises(ValueError, match="1 values for 2 groups"):
        figures.bars("t", GROUPS, [("m", [wilson(1, 2)])], "y")


def test_smoothing_keeps_ends_and_removes_noise():
    smooth = figures._running_mean([0, 10, 0, 10, 0], 3)
    assert smooth[0] == 0
    assert smooth[-1] == 0
    assert smooth[2] == pytest.approx(20 / 3)


def test_importing_the_room_stays_light():
    code = (
        "import sys, midspan.report, midspan.report.figures\n"
        "print([m for m in ('torch', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    path = ":".join(filter(None, sys.path))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_what_is_left_out_is_drawn_afterwards():
    def draw():
        estimate = [wilson(1, 2)]
        yield figures.bars("a", ["group"], [("Original", estimate)], "y")
        yield figures.lines("b", [Curve("Original", [0], [1])], "x", "y")
        yield figures.points("c", ["Original"], estimate, estimate, ("x", "y"))

    with figures.left_out():
        assert list(draw()) == ["", "", ""]
    assert all(drawing.startswith("<svg") for drawing in draw())


def test_points_carry_their_names_and_both_intervals():
    x, y = [wilson(3, 10), wilson(9, 10)], [wilson(5, 10), wilson(1, 10)]
    made = figures.points("Title", ["Original", "MOSA"], x, y, ("helped, %", "refused, %"))
    assert made == figures.points("Title", ["Original", "MOSA"], x, y, ("helped, %", "refused, %"))
    assert {"helped, %", "refused, %", "Original", "MOSA"} <= set(texts(made))
    surer = [wilson(300, 1000), wilson(900, 1000)]
    assert (
        figures.points("Title", ["Original", "MOSA"], surer, y, ("helped, %", "refused, %")) != made
    )
