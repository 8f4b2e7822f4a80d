"""Probes of a user's model with a judge of their choice: a server, or an object from Python."""

import json
import re

import pytest
from odd_server import completion, serving
from typer.testing import CliRunner

import midspan
from midspan.commands import app
from midspan.errors import MidspanError
from midspan.judges import keyword_judge
from midspan.probes.prefill import PrefillConfig
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.sections.prefill import prefill_section

SMALL = {"length": 16, "steps": 2, "block_length": 16}


def verdict_of(sent):
    """Harmful is what answers a request for a bowl."""
    asked = " ".join(message["content"] for message in sent["messages"])
    score = 5 if "bowl" in asked else 1
    return 200, completion(json.dumps({"reason": "so", "score": score, "coherent": True}))


@pytest.fixture(scope="module")
def server():
    silent = (200, completion(None, "content_filter"))
    with serving({"judge": verdict_of, "silent": silent}) as running:
        yield running


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "harmful.txt").write_text("make a red bowl\nmake a blue cup\n")
    (tmp_path / "benign.txt").write_text("make a red hat\n")
    return tmp_path


def run(server, inputs, folder, probe, name="judge", **fields):
    file = inputs / f"{probe}.yaml"
    quick = {f"{server.url}#{name}": {"attempts": 2, "backoff": 0}}
    file.write_text(json.dumps({"decoding": SMALL, "servers": quick, **fields}))
    options = ["--behaviors", str(inputs / "harmful.txt"), "-n", "2"]
    options += ["--judge", f"harm={server.url}#{name}"]
    return CliRunner().invoke(
        app, ["probe", probe, str(folder), *options, "--config", str(file), "-o", str(inputs / "r")]
    )


def records(folder):
    return [json.loads(line) for line in (folder / "r" / "records.jsonl").read_text().splitlines()]


def test_a_judge_says_what_harmful_requests_came_to(server, inputs, foreign_folder):
    fields = {"start": None}
    done = run(server, inputs, foreign_folder, "samples", **fields)
    assert done.exit_code == 0, done.output
    judged = {row["prompt"]: (row["success"], row["score"]) for row in records(inputs)}
    assert judged == {"make a red bowl": (True, 5), "make a blue cup": (False, 1)}
    info = json.loads((inputs / "r" / "run.json").read_text())
    assert info["config"]["judged_by"].startswith(f"harm={server.url}#judge; benign requests by")
    asked = len(server.bodies)
    again = run(server, inputs, foreign_folder, "samples", **fields)
    assert again.exit_code == 0 and len(server.bodies) == asked


def test_a_judge_that_never_answers_ends_the_probe_with_its_reason(server, inputs, foreign_folder):
    done = run(server, inputs, foreign_folder, "samples", "silent", start=None)
    assert done.exit_code and isinstance(done.exception, MidspanError)
    assert "content filter held the reply back" in str(done.exception)


@pytest.mark.parametrize(
    ("lost", "caption"),
    [
        (None, "n = 2 a point.*; the line without a phrase has .* n=2"),
        (("no phrase", None), "n = 2 a point, 95 % Wilson intervals"),
        (("neutral", 40), "n = 2 a point.*; the line without a phrase has .* n=2"),
    ],
)
def test_a_cell_that_the_judge_never_rated_is_left_out_of_the_figure(lost, caption):
    cells = [("no phrase", None), *((kind, at) for kind in ("neutral", "mine") for at in (0, 40))]
    rows = [
        {"model": "m", "decoding": "d", "request_kind": "harmful", "phrase_kind": kind,
         "position": at, "success": True, "refusal": False, "score": None, "settings": {}}
        for kind, at in cells for _ in range(2) if (kind, at) != lost
    ]  # fmt: skip
    (figure,) = prefill_section(rows, PrefillConfig()).figures
    assert re.fullmatch(rf"{caption}\.", figure.caption)


def test_phrases_that_the_judge_never_rated_have_no_figure():
    rows = [
        {"model": "m", "decoding": "d", "request_kind": "harmful", "phrase_kind": "no phrase",
         "position": None, "success": True, "refusal": False, "score": None, "settings": {}}
    ]  # fmt: skip
    section = prefill_section(rows, PrefillConfig())
    assert section.figures == () and len(section.tables[0].rows) == 1


def test_benign_requests_keep_the_words_and_a_judge_may_be_an_object(inputs, foreign_folder):
    judge = keyword_judge()
    done = midspan.probe(
        "samples", [str(foreign_folder)], harmful=str(inputs / "harmful.txt"),
        benign=str(inputs / "benign.txt"), start=None, decoding=SMALL, judge=judge,
        out=inputs / "r", progress=False,
    )  # fmt: skip
    assert {row["request_kind"] for row in done.records} == {"harmful", "benign"}
    info = json.loads((inputs / "r" / "run.json").read_text())
    assert info["config"]["judged_by"].startswith(judge.fingerprint)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"probe": "order", "models": ("m",)}, "judge: order rates no responses; prefill, gcg"),
        ({"probe": "prefill", "models": ("organism",)}, "judge: the organism has its exact judge"),
    ],
)
def test_a_judge_without_a_use_is_refused(fields, message):
    with pytest.raises(MidspanError, match=message):
        ProbeSpec(judge="refusal-keywords", **fields)


def test_a_judge_of_another_world_is_refused(inputs):
    with pytest.raises(MidspanError, match="judge: exact knows the organism's world alone"):
        midspan.probe("samples", "m", harmful=str(inputs / "harmful.txt"), judge="exact")
