"""Formats: every kind gives the same rows, and a bad file is named in one line."""

import csv
import gzip
import json
import lzma
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.data.files import read_rows
from midspan.data.text import whole_text
from midspan.errors import MidspanError

# Texts with what CSV quotes, and with separators of lines that are none in JSON lines.
ROWS = [{"prompt": 'a, "b"\nc', "id": "1"}, {"prompt": "d\u2028e\x0bf", "id": "2"}]


def jsonl(rows):
    return "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def write_csv(path):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)


def test_every_format_gives_the_same_rows(tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl(ROWS), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(ROWS), encoding="utf-8")
    write_csv(tmp_path / "a.CSV")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.CSV").read_bytes(), mtime=0))
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress((tmp_path / "a.jsonl").read_bytes()))
    for name in ("a.jsonl", "a.json", "a.CSV", "a.csv.gz", "a.jsonl.xz"):
        assert read_rows(tmp_path / name) == ROWS, name


def test_parquet_gives_the_same_rows(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == ROWS


def test_text_has_a_prompt_a_line(tmp_path):
    (tmp_path / "p.txt").write_bytes("one\r\n\n  two\nthree \u2028 still three".encode())
    texts = [row["prompt"].strip() for row in read_rows(tmp_path / "p.txt")]
    assert texts == ["one", "two", "three \u2028 still three"]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".json"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, suffix):
    text = {".txt": "a", ".csv": "prompt\na\n", ".json": '[{"prompt": "a"}]'}
    path = tmp_path / f"p{suffix}"
    path.write_text(text.get(suffix, '{"prompt": "a"}'), encoding="utf-8-sig")
    assert read_rows(path) == [{"prompt": "a"}]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("p.docx", b"", "p.docx is not .txt, .csv, .jsonl, .json or .parquet"),
        ("p.gz", b"", "p.gz is not .txt"),
        ("p.txt", b" \n\n", "holds no row"),
        ("p.csv", b"", "holds no row"),
        ("p.csv", b"prompt\n", "holds no row"),
        ("p.jsonl", b'{"prompt": "a"}\n{', "line 2 is not JSON.*over several lines is .json"),
        ("p.jsonl", b'{"a": "b", "a": "c"}', "line 1 names 'a' twice"),
        ("p.json", b"[" * 100_000, "is nested too deeply"),
        ("p.csv", b"goal,target\nFold, then unfold,Sure\n", "line 2 has more fields than the 2"),
        ("p.csv", b"goal;target\na;b\n", "between semicolons; save it with commas"),
        ("p.csv", b"goal,goal\na,b\n", "two columns 'goal'"),
        ("p.jsonl", b"[1]", "line 1 is not a JSON object"),
        ("p.json", b"{", "p.json is not JSON"),
        ("p.json", b'{"prompt": "a"}', "p.json is not a JSON list of objects"),
        ("p.json", b'["a", 1]', "p.json is not a JSON list of objects"),
        ("p.json", b"[]", "holds no row"),
        ("p.txt", "caf\u00e9".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        ("p.jsonl.gz", b"no gzip", "cannot read .*p.jsonl.gz: Not a gzipped file"),
        ("p.jsonl.gz", gzip.compress(b"a" * 999, mtime=0)[:20], "cannot read .*p.jsonl.gz"),
        ("p.jsonl.xz", b"no xz", "cannot read .*p.jsonl.xz"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MidspanError, match=match) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_long_fields_and_spaces_in_a_header(tmp_path):
    before = csv.field_size_limit()
    (tmp_path / "p.csv").write_text('prompt, kind\n"' + "a" * 200_000 + '",x\n')
    assert read_rows(tmp_path / "p.csv") == [{"prompt": "a" * 200_000, "kind": "x"}]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    "content",
    [
        '["a", "b"]',
        '{"data": [{"prompt": "a"}, {"prompt": "b"}]}',
        '{"prompt": "a"}\n{"prompt": "b"}',
    ],
)
def test_json_in_the_shapes_that_people_have(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    assert read_rows(tmp_path / "p.json") == [{"prompt": "a"}, {"prompt": "b"}]


def test_texts_come_out_whole_and_empty_cells_as_none(tmp_path):
    content = (
        r'{"a": "smile \ud83d end", "b": "\ud83d\ude00", "c": NaN, "d": -Infinity, "e": "\u0000"}'
    )
    (tmp_path / "p.jsonl").write_text(content)
    (row,) = read_rows(tmp_path / "p.jsonl")
    whole = {"a": "smile \ufffd end", "b": "\U0001f600", "e": "\ufffd"}
    assert row == whole | {"c": None, "d": None}


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=20))
def test_whole_text_can_be_written_and_changes_nothing_else(text):
    whole = whole_text(text)
    assert whole.encode().decode() == whole and "\x00" not in whole
    paired = re.sub("[\ud800-\udbff][\udc00-\udfff]", lambda m: "p", text)
    assert len(whole) == len(paired)
    if re.search("[\ud800-\udfff\x00]", text) is None:
        assert whole == text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([".csv", ".json", ".jsonl", ".txt"]), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("bytes") / f"p{suffix}"
    path.write_bytes(content)
    try:
        rows = read_rows(path)
    except MidspanError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        json.dumps(rows).encode()


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with pytest.raises(MidspanError, match="p.parquet is not Parquet"):
        read_rows(tmp_path / "p.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "p.parquet").write_bytes(b"")
    with pytest.raises(MidspanError, match=r"needs pyarrow: pip install 'midspan\[data\]'"):
        read_rows(tmp_path / "p.parquet")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MidspanError, match="no file at .*p.csv; give a file: .txt, .csv"):
        read_rows(tmp_path / "p.csv")
