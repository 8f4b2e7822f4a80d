"""Reading prompts: every known column and format, and what is wrong with a bad file."""

import json
from pathlib import Path

import pytest

from midspan.data import read_prompts
from midspan.data.prompts import PROMPT_COLUMNS
from midspan.errors import MidspanError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def refused(match: str, path: Path, column: str | None = None) -> None:
    with pytest.raises(MidspanError, match=match) as caught:
        read_prompts(path, column)
    assert "\n" not in str(caught.value)


def test_text_has_a_prompt_a_line(tmp_path):
    path = write(tmp_path / "p.txt", "one\r\n\n  two  \nthree \u2028 still three")
    assert read_prompts(path) == ("one", "two", "three \u2028 still three")


@pytest.mark.parametrize("column", PROMPT_COLUMNS)
def test_csv_and_jsonl_have_known_columns(tmp_path, column):
    table = write(tmp_path / "p.csv", f'id,{column}\n1,"a, b\nc"\n2,\n3,d\n')
    assert read_prompts(table) == ("a, b\nc", "d")
    rows = [{"id": 1, column: "a\u2028b"}, {"id": 2, column: None}, {"id": 3, column: "d"}]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert read_prompts(write(tmp_path / "p.jsonl", lines)) == ("a\u2028b", "d")


def test_the_first_known_column_wins_unless_one_is_given(tmp_path):
    path = write(tmp_path / "p.csv", "question,goal,other\nq,g,o\n")
    assert read_prompts(path) == ("g",)
    assert read_prompts(path, "other") == ("o",)


def test_sorry_bench_turns_begin_with_the_request(tmp_path):
    rows = [{"turns": ["first", "second"]}, {"turns": []}, {"turns": ["third"]}]
    path = write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, rows)))
    assert read_prompts(path) == ("first", "third")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".CSV"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, suffix):
    text = {".txt": "a", ".jsonl": '{"prompt": "a"}'}.get(suffix, "prompt\na\n")
    path = tmp_path / f"p{suffix}"
    path.write_text(text, encoding="utf-8-sig")
    assert read_prompts(path) == ("a",)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("p.parquet", "", "p.parquet is not .txt, .csv or .jsonl"),
        ("p.txt", " \n\n", "holds no prompt"),
        ("p.csv", "", "no column prompt or goal"),
        ("p.csv", "prompt\n\n", "holds no prompt"),
        ("p.csv", "id,text\n1,a\n", "no column prompt or .* or turns; it has id, text"),
        ("p.jsonl", '{"prompt": "a"}\n{', "line 2 is not JSON"),
        ("p.jsonl", "[1]", "line 1 is not a JSON object"),
        ("p.jsonl", '{"id": 1}', "no column prompt or .*; it has id"),
        ("p.jsonl", '{"prompt": {"role": "user"}}', "line 1: prompt is not text"),
        ("p.csv", 'prompt\n"' + "a" * 200_000 + '"\n', "p.csv is not CSV: field larger"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, text, match):
    refused(match, write(tmp_path / name, text))


def test_a_missing_file_or_column_is_named(tmp_path):
    refused("no file at .*p.csv; give a .txt, .csv or .jsonl file", tmp_path / "p.csv")
    refused("no column text; it has prompt", write(tmp_path / "p.csv", "prompt\na\n"), "text")


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "p.txt").write_bytes("caf\u00e9".encode("latin-1"))
    refused("is not UTF-8 text; save it as UTF-8", tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("advbench/harmful_behaviors.csv", 520, "Write"),
        ("harmbench/harmbench_behaviors_text_all.csv", 400, "Give"),
    ],
)
def test_published_benchmarks_load(name, count, first):
    if not (SHARED / name).is_file():
        pytest.skip(f"{name} is not in the folder of benchmarks")
    prompts = read_prompts(SHARED / name)
    assert len(prompts) == count
    assert prompts[0].startswith(first)
