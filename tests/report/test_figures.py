import csv
import io
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest

from midspan.report import drawing, figures, styles, svg
from midspan.report.figures import Curve
from midspan.statistics import Interval, wilson

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
    assert "var(--series-original, #3d434b)" in drawing
    assert "var(--series-mosa, #3f93d2)" in drawing
    assert "currentColor" in drawing
    assert svg.INK not in drawing
    assert svg.PAPER not in drawing


def test_a_model_looks_the_same_in_every_figure_of_a_report():
    with styles.one_report():
        first = [styles.style_of(label) for label in ("x", "MOSA", "y")]
        with styles.one_report():
            assert [styles.style_of(label) for label in ("y", "MOSA", "x")] == first[::-1]
    assert len(set(first)) == len({style.marker for style in first}) == 3
    assert len({style.hatch for style in first}) == 3
    # Whatever a report calls it, and whichever models stand beside it.
    assert styles.style_of("organism:mosa-stable") == styles.style_of("MOSA (stable)")
    named = [styles.style_of(name) for name in ("Original", *list(styles.PALETTE)[1:6])]
    assert all(
        len({getattr(s, part) for s in named}) == 6 for part in ("colour", "marker", "hatch")
    )


def lightness_and_hue(colour, matrix):
    """CIE L*a*b* of a colour as an eye with this matrix sees it."""
    levels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ np.clip(matrix @ linear, 0, 1) / to_xyz.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "usual": np.eye(3).tolist(),
}


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("scheme", [0, 1])
def test_no_two_models_look_alike_to_any_eye(eye, scheme):
    named = [styles.PALETTE[name][scheme] for name in list(styles.PALETTE)[:6]]
    seen = [lightness_and_hue(colour, np.array(EYES[eye])) for colour in named]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 20


def test_intervals_end_at_what_is_possible():
    curve = Curve("tau", [0], [0.5], [-1.4], [1.58], within=(-1, 1))
    assert figures.lines_csv([curve]) == "series,x,y,low,high\ntau,0,0.5,-1,1\n"


def test_points_of_several_series_stand_beside_each_other():
    moved = [drawing.apart([0, 20, 40], (index, 3)) for index in range(3)]
    assert moved[0] < moved[1] == 0 < moved[2] < 5
    assert drawing.apart([7], (0, 1)) == 0


def test_axes_of_percent_go_from_0_to_100_and_whole_steps_stay_whole():
    drawn = texts(figures.lines("t", [Curve("m", range(3), [40, 41, 42])], "step", "ASR, %"))
    assert {"0", "20", "40", "60", "80", "100", "1", "2"} <= set(drawn)
    assert not any(text and "." in text for text in drawn)


def test_numbers_of_an_axis_stand_apart_where_points_are_near():
    near = [Curve("Original", [0, 25, 26, 27], [1, 2, 3, 4])]
    assert not {"25", "26", "27"} <= set(texts(figures.lines("p", near, "step", "position")))
    far = [Curve("Original", [0, 20, 40, 80], [1, 2, 3, 4])]
    assert {"0", "20", "40", "80"} <= set(texts(figures.lines("p", far, "step", "position")))


@pytest.mark.parametrize("label", ["wrapped/{}", "organism:mosa-stable, {}", "MOSA (stable) {}"])
def test_a_legend_stays_within_its_figure(label):
    curves = [Curve(label.format(index), [0, 1], [index, 2]) for index in range(7)]
    with drawing.kept() as drawn:
        figures.lines("p", curves, "step", "position")
    ((_, figure),) = drawn
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_figure_says_in_words_what_it_shows():
    told = svg.description(figures.bars("ASR", GROUPS, SERIES, "ASR, %"))
    assert told == (
        "Bars, ASR, %. Original: TAP 73 %, no attack 9 %; MOSA: TAP 4 %, no attack not measured."
    )
    told = svg.description(figures.lines("l", [Curve("a<b", [0, 2], [5, 1])], "x", "nats"))
    assert told == "Lines, nats by x. a<b: 5 at 0, 1 at 2, from 1 to 5."


def test_a_file_of_its_own_has_paper_in_both_schemes_and_a_page_none():
    inline = figures.bars("ASR", GROUPS, SERIES, "ASR, %")
    alone = svg.standalone(inline)
    assert "<style" not in inline and alone.count("<style>") == 1
    assert "prefers-color-scheme: dark" in alone and "--series-mosa: #7cc4f5" in alone
    assert ET.fromstring(alone).find("{http://www.w3.org/2000/svg}rect").get("fill")


def test_differences_show_each_cell_with_its_interval():
    found = [Interval(0.25, 0.1, 0.4, 9), Interval(-0.5, -1.2, 0.1, 4)]
    drawn = figures.differences("D", ["one", "two"], found, [True, False])
    assert {"one", "two"} <= set(texts(drawn))
    assert svg.description(drawn) == "Differences. one: +25 points; two: -50 points."
    assert figures.differences_csv(["one"], found[:1]).splitlines()[1] == "one,0.25,0.1,0.4,9"


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
    smooth = drawing.running_mean([0, 10, 0, 10, 0], 3)
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


def test_points_of_one_label_have_one_name_and_a_line():
    x, y = ([wilson(won, 10) for won in wins] for wins in ((3, 9, 9), (5, 1, 7)))
    made = figures.points("Title", ["MOSA", "PSA", "MOSA"], x, y, ("a", "b"))
    assert texts(made).count("MOSA") == 1 and "PSA" in texts(made)
    apart = figures.points("Title", ["MOSA", "PSA", "SFT"], x, y, ("a", "b"))
    assert made.count("<path") != apart.count("<path") and made.count("MOSA: a") == 2
