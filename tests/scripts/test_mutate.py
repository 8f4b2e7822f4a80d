"""Mutations change one thing each, leave texts alone, and are found again when lines move."""

import ast
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SOURCE = '''"""A text of 3 lines."""

from typing import Literal

LIMIT = 10


def first(values: Literal[5], low: int = 2) -> int:
    """Not 7."""
    if not values or len(values) < low:
        raise ValueError(f"{low + 1} at least")
    total = 0
    for value in values:
        if value:
            continue
        total += min(value, LIMIT)
    values.sort(reverse=True, key=abs)
    return values[0] - total
'''
EXPECTED = {
    ("constant", "10", "(11)"), ("constant", "10", "(9)"), ("constant", "2", "(3)"),
    ("constant", "2", "(1)"), ("not", "not values", "(values)"),
    ("and/or", "not values or len(values) < low", "(not values and len(values) < low)"),
    ("comparison", "len(values) < low", "(len(values) <= low)"), ("constant", "0", "(1)"),
    ("constant", "0", "(-1)"), ("condition", "value", "(not value)"), ("loop", "continue", "break"),
    ("deleted statement", "total += min(value, LIMIT)", "pass"),
    ("name", "min(value, LIMIT)", "(max(value, LIMIT))"),
    ("deleted statement", "values.sort(reverse=True, key=abs)", "pass"),
    ("removed keyword", "values.sort(reverse=True, key=abs)", "(values.sort(key=abs))"),
    ("removed keyword", "values.sort(reverse=True, key=abs)", "(values.sort(reverse=True))"),
    ("constant", "True", "(False)"), ("operator", "values[0] - total", "(values[0] + total)"),
    ("index", "values[0]", "(values[-1])"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_every_kind_is_found_and_texts_are_left_alone() -> None:
    import mutations

    found = mutations.find("a.py", SOURCE)
    assert {(m.kind, m.before, m.after) for m in found} == EXPECTED
    assert len({m.key for m in found}) == len(found)
    assert {m.line for m in found if m.at_import} == {5, 8}
    for mutation in found:
        changed = mutation.apply(SOURCE)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE))


def test_a_sample_is_the_same_for_its_seed_and_is_found_again_when_lines_move() -> None:
    import mutate

    drawn = mutate.draw({"a.py": SOURCE}, 6, seed=1)
    assert drawn == mutate.draw({"a.py": SOURCE}, 6, seed=1) != mutate.draw({"a.py": SOURCE}, 6, 2)
    assert len({mutation.line for mutation in drawn}) == 6
    rows = [vars(mutation) for mutation in drawn]
    above = '"""é."""\nimport é\n'
    for old, new in zip(drawn, mutate.again({"a.py": above + SOURCE}, rows), strict=True):
        assert new is not None and new.line == old.line + 2
        assert new.apply(above + SOURCE) == above + old.apply(SOURCE)
    assert mutate.again({"a.py": above}, rows) == [None] * 6


def test_the_tests_of_its_statement_run_within_the_budget_the_quickest_of_each_file_first() -> None:
    import mutate

    (mutation,) = (m for m in mutate.draw({"a.py": "def f(x):\n    return x(\n        1)\n"}, 1, 0))
    seconds = {"t.py::a": 2.0, "t.py::b": 1.0, "t.py::c": 9.0, "u.py::d": 0.5, "v.py::e": 1.5}
    tests = {"2": ["t.py::a", "t.py::b", "t.py::c", "v.py::e"], "1": ["u.py::d"]}
    test_map = {"seconds": seconds, "lines": {"a.py": tests}}
    assert mutate.related(test_map, mutation, set(), 5) == ["t.py::b", "v.py::e", "t.py::a"]
    assert mutate.related(test_map, mutation, set(), 0.1) == ["t.py::b"]
    # At import: whatever names the module, then whatever runs a line of its file.
    test_map["lines"]["a.py"] = {"1": ["t.py::a"]}
    assert mutate.related(test_map, mutation, {"u.py"}, 5) == ["u.py::d", "t.py::a"]
