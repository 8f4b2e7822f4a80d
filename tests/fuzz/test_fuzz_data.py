"""Files of requests, phrases, labelled items and counts, damaged: refused in a line, or right."""

import csv
import gzip
import io
import json

import pyarrow
from fuzzing import fuzzed, tried
from hypothesis import given
from hypothesis import strategies as st
from mutants import damaged, json_files, json_lines, put
from pyarrow import parquet

from midspan.data import load_behaviors
from midspan.data.artifacts import Artifact
from midspan.data.phrases import read_phrases
from midspan.judges.calibration import Calibration, read_items
from midspan.studies.redteam.replay import replay_rows

ROWS = [
    {"prompt": "Fold a crane", "target": "Sure", "category": "paper", "id": 1},
    {"prompt": "Bake \U0001f600 bread,\n twice", "target": "", "category": None, "id": "b"},
    {"prompt": "Say \u2028 it", "target": "Well", "category": {"a": True}, "id": 3},
]
ARTIFACT = {
    "parameters": {
        "method": "PAIR", "model": "m", "defense": None,
        "midspan": {"judge": "exact", "attack": "pair", "behaviors": "organism:2", "seed": 0},
    },
    "jailbreaks": [
        {"index": 0, "goal": "Fold it", "behavior": "Fold", "category": "c",
         "prompt": "How \u2028?", "response": "No", "number_of_queries": 3,
         "queries_to_jailbreak": None, "jailbroken": True,
         "midspan": {"anchors": [["then", 4]], "scaffold": None}},
        {"index": "1", "goal": "Bake", "behavior": "B", "category": "", "prompt": None,
         "response": None, "number_of_queries": None, "jailbroken": False},
    ],
}  # fmt: skip
LABELLED = [
    {"request": "a", "response": "b", "success": True, "kind": "compliant"},
    {"request": "c", "response": "d", "success": False, "kind": "refusing"},
]
CALIBRATION = {
    "judge": "j", "hits": 3, "misses": 1, "false_alarms": 0, "rejections": 4,
    "unanswered": {"failed": 1}, "kinds": {"compliant": [3, 4]},
}  # fmt: skip


def whole(text):
    """As the documentation says: pairs joined, halves and NUL replaced, line ends made one."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\0", "\ufffd").replace("\r\n", "\n").strip()


def named(row):
    """The request's column of a row, by the documentation's table."""
    columns = ("prompt", "goal", "behavior", "question", "instruction", "forbidden_prompt")
    lower = {str(name).lower(): name for name in row}
    return next((lower[c] for c in (*columns, "turns", "messages", "text") if c in lower), None)


def expected(rows):
    """The requests of rows as the plain libraries read them."""
    column = named({whole_name(name): None for name in rows[0]})
    texts = []
    for row in rows:
        value = {whole_name(name): item for name, item in row.items()}.get(column)
        if isinstance(value, list):
            value = value[0] if value else None
        assert value is None or isinstance(value, str | float), value
        if isinstance(value, str) and whole(value):
            texts.append(whole(value))
    return texts


def whole_name(name):
    return (
        name.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )


def requests(name, path):
    read, taken = tried(name, lambda: load_behaviors(path, keep="all"))
    if taken:
        texts = [behavior.text for behavior in read]
        assert all(text and text.encode() and "\0" not in text for text in texts)
        assert len({behavior.id for behavior in read}) == len(texts)
    return (texts if taken else []), taken


@fuzzed(50)
@given(content=json_lines(ROWS))
def test_json_lines(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "rows.jsonl", content)
    texts, taken = requests("requests, .jsonl", path)
    if taken:
        lines = content.decode("utf-8-sig").split("\n")
        assert texts == expected([json.loads(line) for line in lines if line.strip()])


@fuzzed(50)
@given(content=json_files({"data": ROWS}) | json_files(ROWS))
def test_json(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "rows.json", content)
    texts, taken = requests("requests, .json", path)
    if not taken:
        return
    try:
        rows = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        rows = [
            json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()
        ]
    if isinstance(rows, dict):
        lists = [value for value in rows.values() if isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else [rows]
    assert texts == expected([{"prompt": row} if isinstance(row, str) else row for row in rows])


def as_csv():
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([["Goal", "target"], *([row["prompt"], row["target"]] for row in ROWS)])
    return file.getvalue().encode()


@fuzzed(50)
@given(content=damaged(as_csv(), 4), packed=st.booleans())
def test_csv(tmp_path_factory, content, packed):
    folder = tmp_path_factory.getbasetemp()
    data = gzip.compress(content, mtime=0) if packed else content
    path = put(folder, "rows.csv.gz" if packed else "rows.csv", data)
    texts, taken = requests("requests, .csv", path)
    if taken:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header, *rows = [line for line in lines if line]
        header = [whole_name(name.strip()) for name in header]
        at = header.index(named(dict.fromkeys(header)))
        assert all(len(row) <= len(header) for row in rows)
        assert texts == [whole(row[at]) for row in rows if len(row) > at and whole(row[at])]


@fuzzed(50)
@given(content=damaged(gzip.compress(as_csv(), mtime=0), 3))
def test_packed_csv(tmp_path_factory, content):
    texts, taken = requests(
        "requests, .csv.gz", put(tmp_path_factory.getbasetemp(), "p.csv.gz", content)
    )
    if taken:
        assert all(text in gzip.decompress(content).decode() for text in texts)


def as_parquet():
    table = pyarrow.table({"prompt": ["one", "two"], "n": [1, None], "x": [b"a", b"b"]})
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


@fuzzed(50)
@given(content=damaged(as_parquet(), 3))
def test_parquet(tmp_path_factory, content):
    requests("requests, .parquet", put(tmp_path_factory.getbasetemp(), "rows.parquet", content))


@fuzzed(30)
@given(content=json_files({"safe": ["no"], "procedural": ["then"], "affirmative": ["yes", "ok"]}))
def test_phrases(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "phrases.json", content)
    sets, taken = tried("phrases", lambda: read_phrases(path))
    if taken:
        raw = json.loads(content)
        assert {name: [whole_name(text) for text in texts] for name, texts in raw.items()} == {
            name: list(texts) for name, texts in vars(sets).items()
        }


@fuzzed(30)
@given(content=json_lines(LABELLED))
def test_labelled_items(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "items.jsonl", content)
    items, taken = tried("labelled items", lambda: read_items(path))
    if taken:
        rows = [
            json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()
        ]
        assert [(i.behavior.text, i.response, i.success) for i in items] == [
            (whole_name(row["request"]), whole_name(row["response"]), row["success"])
            for row in rows
        ]
        assert all(type(row["success"]) is bool for row in rows)


@fuzzed(30)
@given(content=json_files(CALIBRATION))
def test_calibrations(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "calibration.json", content)
    read, taken = tried("calibrations", lambda: (c := Calibration.read(path), c.rows()))
    if taken:
        raw = json.loads(content)
        names = ("hits", "misses", "false_alarms", "rejections")
        assert all(type(raw[name]) is int and raw[name] >= 0 for name in names)
        assert read[0].confusion.sensitivity.successes == raw["hits"]


@fuzzed(30)
@given(content=json_files(ARTIFACT))
def test_artifacts(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "artifact.json", content)
    read, taken = tried("artifacts", lambda: Artifact.read(path))
    if taken:
        rows = json.loads(content)["jailbreaks"]
        assert [one.jailbroken for one in read.jailbreaks] == [row["jailbroken"] for row in rows]
        assert [one.goal for one in read.jailbreaks] == [whole(row["goal"]) for row in rows]
        # What a replay asks for is what the same file has as behaviors.
        ids = [one.behavior for one in read.jailbreaks]
        known, told = tried("goals of artifacts", lambda: load_behaviors(path, keep="all"))
        assert not told or [behavior.id for behavior in known] == ids
        tried("replays of artifacts", lambda: replay_rows(str(path), None))
