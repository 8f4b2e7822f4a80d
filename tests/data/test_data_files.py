"""Formats: every kind gives the same rows, and a bad file is named in one line."""

import csv
import gzip
import json
import lzma

import pytest

from midspan.data.files import read_rows
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
        ("p.jsonl", b'{"prompt": "a"}\n{', "line 2 is not JSON"),
        ("p.jsonl", b"[1]", "line 1 is not a JSON object"),
        ("p.json", b"{", "p.json is not JSON"),
        ("p.json", b'{"prompt": "a"}', "p.json is not a JSON list of objects"),
        ("p.json", b'["a"]', "p.json is not a JSON list of objects"),
        ("p.json", b"[]", "holds no row"),
        ("p.csv", b'prompt\n"' + b"a" * 200_000 + b'"\n', "p.csv is not CSV: field larger"),
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
