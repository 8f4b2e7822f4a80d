import gzip
import json

import pytest

from midspan.data.origins import Origin
from midspan.errors import MidspanError
from midspan.tasks.rows import Published, read_rows

SET = Published("set", ("a", "b"), count=2)
ROWS = [{"a": "x\u2028y", "b": "1", "c": "ignored"}, {"a": "\u00e9,\n", "b": "2"}]


def test_one_benchmark_has_one_hash_whatever_its_file(tmp_path):
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    plain, packed, table = (tmp_path / name for name in ("a.jsonl", "a.jsonl.gz", "a.csv"))
    plain.write_text("\ufeff" + lines, encoding="utf-8")
    packed.write_bytes(gzip.compress(lines.encode()))
    table.write_text('b,a\n1,"x\u2028y"\n2,"\u00e9,\n"\n', encoding="utf-8")
    found = [read_rows(SET, file) for file in (plain, packed, table)]
    assert len({one.digest for one in found}) == 1
    assert all(one.note == "the published count" for one in found)
    known = Published("set", ("a", "b"), 2, found[0].digest)
    assert read_rows(known, plain).note == "as published"
    assert "other rows" in read_rows(Published("set", ("a",), 2, found[0].digest), plain).note
    assert read_rows(Published("set", ("a",), 3), plain).note == "not the published 3 rows"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.jsonl", "", "holds no row"),
        ("a.jsonl", "[1]", "line 1 is not a JSON object"),
        ("a.csv", "a,c\n1,2\n", "row 1 of .* has no b; it needs the columns a, b"),
        ("a.jsonl", '{"a": 1, "b": null}', "row 1 of .* has no b; it needs the columns a, b"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(MidspanError, match=reason):
        read_rows(SET, tmp_path / name)


def test_a_file_may_call_its_requests_otherwise(tmp_path):
    """Rows, hash and count are those of a file with the published name."""
    own = Published("set", ("a", "b"), count=2, request="a")
    plain, other = tmp_path / "plain.jsonl", tmp_path / "other.jsonl"
    plain.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    renamed = [{"wish": row["a"], "a": "another", "b": row["b"]} for row in ROWS]
    other.write_text("".join(json.dumps(row) + "\n" for row in renamed))
    found = read_rows(own, other, ("plea", "wish"))
    assert found.digest == read_rows(own, plain).digest == read_rows(own, plain, "a").digest
    assert found.rows == tuple({"a": row["a"], "b": row["b"]} for row in ROWS)
    with pytest.raises(MidspanError, match="plain.jsonl has no column wish; it has a, b, c"):
        read_rows(own, plain, "wish")
    with pytest.raises(MidspanError, match="row 1 of .* has no b; it needs the columns a, b"):
        read_rows(own, plain, "b")  # What is named as the request is nothing else.


def test_missing_and_gated_data_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(MidspanError, match="no file at"):
        read_rows(SET, tmp_path / "none.jsonl")
    with pytest.raises(MidspanError, match="set: give a file, --data set=FILE"):
        read_rows(SET)

    def refuse(*_, **__):
        raise OSError("403: access is restricted")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    gated = Published("set", ("a",), origin=(Origin("hub", "owner/set", gated=True), "a.csv"))
    with pytest.raises(MidspanError, match="is gated, .* accept its licence at .*owner/set, then"):
        read_rows(gated)


def test_the_authors_file_is_read_where_none_is_given(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_text("a,b\n1,2\n")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(file))
    found = read_rows(Published("set", ("a",), origin=(Origin("hub", "owner/set"), "a.csv")))
    assert found.rows == ({"a": "1", "b": "2"},)
    assert found.source == "https://huggingface.co/datasets/owner/set"
