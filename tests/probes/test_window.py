import itertools
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.alignment import PRESETS
from midspan.commands.options import configure
from midspan.errors import MidspanError
from midspan.probes.window import WindowConfig, find_window, window


def scripted(breaks, num=12, groups=12, starts=(0, 16, 32)):
    """Records of one decoding: `breaks` says at which starts a request is answered."""
    rows = []
    for place in range(num):
        for start in (None, *starts):
            rows.append({
                "model": "m", "decoding": "d", "id": str(place), "group": str(place % groups),
                "position": start, "success": breaks(place, start), "refusal": False,
                "score": None,
            })  # fmt: skip
    return rows


def test_the_window_spans_the_vulnerable_starts():
    found = find_window(scripted(lambda _, start: start in (16, 32)), WindowConfig())
    assert found.window == (16, 47) and str(found) == "window 16 to 47"
    assert [s.vulnerable for s in found.starts] == [False, True, True]
    assert [(s.gained, s.lost) for s in found.starts] == [(0, 0), (12, 0), (12, 0)]


@pytest.mark.parametrize("outcome", [lambda place, start: False, lambda place, start: True])
def test_without_an_effect_no_position_is_vulnerable(outcome):
    found = find_window(scripted(outcome), WindowConfig())
    assert (found.window, found.fragment) == (None, "")
    assert str(found) == "no position is vulnerable"


def test_a_phrase_that_saves_requests_is_no_vulnerability():
    found = find_window(scripted(lambda _, start: start is None), WindowConfig())
    assert found.window is None and {s.lost for s in found.starts} == {12}


def test_requests_are_paired_in_every_cell_or_not_at_all():
    rows = scripted(lambda _, start: start in (16, 32))
    first, cells = rows[0]["id"], {(row["decoding"], row["position"]) for row in rows}
    short = [row for row in rows if (row["id"], row["position"]) != (first, None)]
    found = find_window(short, WindowConfig())
    assert {start.rates.success.n for start in found.starts} == {11}
    ids = sorted({row["id"] for row in rows})
    assert len(ids) >= len(cells)
    lost = dict(zip(ids, sorted(cells, key=str) * len(ids), strict=False))
    none = [row for row in rows if lost[row["id"]] != (row["decoding"], row["position"])]
    with pytest.raises(MidspanError, match="no request has a verdict in every cell"):
        find_window(none, WindowConfig())


def test_requests_of_one_group_count_as_one():
    """The same twelve breaks in twelve groups are evidence, in two groups they are not."""
    broken = [scripted(lambda _, start: start == 16, groups=groups) for groups in (12, 2)]
    assert [find_window(rows, WindowConfig()).window is None for rows in broken] == [False, True]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=5, max_size=7))
def test_chance_is_that_of_all_exchanges(table):
    """Against every sign pattern; the probe draws 10,000 of them."""
    order = (None, 0, 16, 32)
    rows = scripted(lambda place, start: table[place][order.index(start)], num=len(table))
    found = find_window(rows, WindowConfig())
    changes = [[int(row[t]) - int(row[0]) for t in (1, 2, 3)] for row in table]
    patterns = list(itertools.product([-1, 1], repeat=len(table)))
    largest = [
        max(sum(s * c[t] for s, c in zip(signs, changes, strict=True)) for t in range(3))
        for signs in patterns
    ]
    for t, start in enumerate(found.starts):
        gain = sum(change[t] for change in changes)
        exact = sum(value >= gain for value in largest) / len(patterns)
        assert math.isclose(start.p, exact, abs_tol=0.025)


def test_the_fragment_changes_the_window_alone(tmp_path):
    found = find_window(scripted(lambda _, start: start == 32), WindowConfig())
    file = tmp_path / "window.yaml"
    file.write_text(found.fragment)
    assert yaml.safe_load(found.fragment) == {"objective": {"window": [32, 47]}}
    base = PRESETS["mosa-stable"]()
    recipe = configure(base, file, {})
    assert recipe.objective.window == (32, 47)
    assert recipe.objective == base.objective.model_copy(update={"window": (32, 47)})


def test_only_harmful_requests_are_asked_at_every_start(context, data):
    rows = window(context, data, WindowConfig(stride=9))
    assert {row["request_kind"] for row in rows} == {"harmful"}
    # The longer phrase takes five of 32 tokens.
    assert {row["position"] for row in rows} == {None, 0, 9, 18, 27}
    assert len(rows) == 2 * 4 * 5
    assert len(find_window(rows, WindowConfig(stride=9)).starts) == 2 * 4


def test_unknown_phrases_are_refused(context, data):
    with pytest.raises(MidspanError, match="no phrases of kind 'sad'"):
        window(context, data, WindowConfig(phrase_kind="sad"))
