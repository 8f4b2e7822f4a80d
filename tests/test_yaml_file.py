"""YAML as fields: plain values alone, and one line for everything else."""

import pytest

from midspan.errors import MidspanError
from midspan.yaml_file import read_fields


def test_fields_are_plain_values():
    text = "a: 1\nb: [x, 2.5, null, true]\nc: &c {d: 'e'}\nf: *c\ng: {<<: *c, h: 1}\n"
    assert read_fields(text, "f.yaml") == {
        "a": 1, "b": ["x", 2.5, None, True], "c": {"d": "e"}, "f": {"d": "e"},
        "g": {"d": "e", "h": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2\nb: 3\n", "line 2"),
        ("a: 1\na: 2\n", "line 2: 'a' is there twice"),
        ("a: 1\nb: {c: 1, c: 2}\n", "line 2: 'c' is there twice"),
        ("- a\n", "must hold field: value lines"),
        ("", "must hold field: value lines"),
        ("a: 2001-01-01\n", "line 1: a timestamp is no value of a field; put it into quotes"),
        ("no: 1\n", "line 1: a name must be a text"),
        ("1: 1\n", "line 1: a name must be a text"),
        ("a: !!python/object:os.system {}\n", "line 1"),
        ("a: !!int b\n", "not YAML"),
        ("a: !!bool b\n", "not YAML"),
        ("a: .nan\n", "nan is no value of a field"),
        ("a: -.inf\n", "inf is no value of a field"),
        ("a: &a [*a]\n", "line 1: a value holds itself"),
        ("a: " + "{a: " * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: \x00\n", "not YAML"),
    ],
)
def test_anything_else_is_refused_in_one_line(text, said):
    with pytest.raises(MidspanError) as caught:
        read_fields(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml") and said in message and "\n" not in message
