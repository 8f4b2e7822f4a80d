"""Probes of models behind servers: what is sent, what is measured, what is refused unasked."""

import dataclasses
import json
import subprocess
import sys

import pytest
from engines import FakeSglang, FakeVllm, serving
from served import listening
from text_folders import text_folder

import midspan
from midspan.errors import MidspanError
from midspan.studies.probes.config import ProbeSpec

QUICK = {"attempts": 1, "backoff": 0, "timeout": 10}
NOBODY = "http://127.0.0.1:9"
SMALL = {"length": 16, "steps": 4, "block_length": 8}


@pytest.fixture(scope="module")
def llada(tmp_path_factory):
    return text_folder(tmp_path_factory.mktemp("llada"), "llada")


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "harmful.txt").write_text("w40 w41\nw42 w43\n")
    (tmp_path / "benign.txt").write_text("w44 w45\n")
    phrases = {"safe": ["w50"], "procedural": ["w51 w52"], "affirmative": ["w53 w54 w55"]}
    (tmp_path / "phrases.json").write_text(json.dumps(phrases))
    return tmp_path


def probe(name, model, inputs, *kinds, **fields):
    files = {kind: str(inputs / f"{kind}.txt") for kind in kinds}
    return midspan.probe(
        name, model, out=inputs / "run", phrases=inputs / "phrases.json", progress=False,
        **files, **fields,
    )  # fmt: skip


def page(inputs):
    return (inputs / "run" / "report.md").read_text().replace("\\", "")


def test_a_served_model_has_the_records_that_it_has_here(organism_lm, foreign_folder, inputs):
    (inputs / "harmful.txt").write_text("how do i make it ?\nwhat do i need ?\n")
    (inputs / "benign.txt").write_text("is the sky blue ?\n")
    phrases = {"safe": ["no ."], "procedural": ["the next step is to"], "affirmative": ["sure !"]}
    (inputs / "phrases.json").write_text(json.dumps(phrases))
    tiny = dataclasses.replace(organism_lm, name="tiny")
    with listening({"tiny": tiny}) as (server, _):
        spec = f"midspan:{server.url}#tiny"
        own = {name: SMALL[name] for name in ("steps", "block_length")}
        settings = {"tokenizer": str(foreign_folder), "extra_body": {"midspan": own}, **QUICK}
        fields = {
            "positions": (0, 5), "decoding": SMALL, "servers": {spec: settings}, "seed": 1,
            "phrase_kinds": ("procedural", "random"),
        }  # fmt: skip
        models = [str(foreign_folder), spec]
        done = probe("prefill", models, inputs, "harmful", "benign", **fields)
    here, there = ([row for row in done.records if row["model"] == model] for model in models)
    alone = ("model", "decoding", "settings")
    assert len(here) == len(there) == 3 * 5 and any(row["forwards"] for row in here)
    for one, other in zip(here, there, strict=True):
        assert {k: v for k, v in one.items() if k not in alone} == {
            k: v for k, v in other.items() if k not in alone
        }
    (name,) = {row["decoding"] for row in there}
    assert name == "midspan at " + spec.partition("//")[2].partition("#")[0]
    stated = there[0]["settings"]
    assert (stated["length"], stated["extra_body"]) == (16, {"midspan": own})
    assert stated["own"]["sampler"] == "llada" and "anchors" in stated["gives"]
    # The server is gone, and the journal has all of it.
    assert probe("prefill", models, inputs, "harmful", "benign", **fields).records == done.records


def test_phrases_are_pinned_in_a_served_canvas_and_a_killed_probe_asks_for_the_rest(gemma, inputs):
    folder, tokenizer = gemma
    with serving(FakeVllm(tokenizer, stops=(1, 4))) as server:
        spec = f"vllm:{server.root}#gemma"
        fields = {
            "positions": (0, 9, 30), "phrase_kinds": ("affirmative", "random"),
            "servers": {spec: {"tokenizer": str(folder), **QUICK}},
        }  # fmt: skip
        done = probe("prefill", spec, inputs, "harmful", "benign", **fields)
        # Behind 30 the canvas of 32 has no room for three tokens.
        places = {(row["phrase_kind"], row["position"]) for row in done.records}
        assert places == {("no phrase", None)} | {
            (kind, at) for kind in ("affirmative", "random") for at in (0, 9)
        }
        asked = [body for body in server.bodies if body["messages"][0]["content"] == "w42 w43"]
        xargs = [body["vllm_xargs"] for body in asked if "vllm_xargs" in body]
        pins = sorted(one["diffusion_pinned"] for one in xargs)
        assert pins == [[0, 1], [0, 1, 2], [9, 10], [9, 10, 11]]
        for row in done.records:
            assert row["forwards"] is None and row["settings"]["server"] == "vllm"
            if row["position"] is not None:
                words = row["response"].split()[row["position"] :]
                assert words[: len(row["phrase"].split())] == row["phrase"].split()
        journal = inputs / "run" / "journal.jsonl"
        lines, sent = journal.read_text().splitlines(keepends=True), len(server.bodies)
        journal.write_text("".join(lines[:5]) + lines[5][:20])
        again = probe("prefill", spec, inputs, "harmful", "benign", **fields)
        assert again.records == done.records
        assert len(server.bodies) - sent == len(lines) - 5
    assert "forwards" not in page(inputs) and f"vllm at {server.root[7:]}" in page(inputs)


@pytest.mark.parametrize("name", ["prefill", "window"])
def test_where_a_server_fixes_the_beginning_alone_position_0_is_measured_and_it_says_so(
    llada, inputs, name, capsys
):
    folder, tokenizer = llada
    with serving(FakeSglang(tokenizer)) as server:
        spec = f"sglang:{server.root}#llada"
        fields = {"servers": {spec: {"tokenizer": str(folder), **QUICK}}, "decoding": {"length": 9}}
        if name == "prefill":
            fields |= {"positions": (0, 4), "phrase_kinds": ("procedural",)}
        done = probe(name, spec, inputs, "harmful", **fields)
        assert server.answered == len(done.records) == 2 * 2
    assert {row["position"] for row in done.records} == {None, 0}
    assert all(row["response"].startswith("w51 w52 ") for row in done.records if row["phrase"])
    assert f"{spec} has an answer's beginning fixed alone" in page(inputs)


def test_placing_by_instruction_asks_a_chat_and_equal_requests_share_an_answer(llada, inputs):
    folder, tokenizer = llada
    with serving(FakeSglang(tokenizer)) as server:
        spec = f"sglang:{server.root}#llada"
        fields = {"template": "{request} {word} {phrase}", "words": (1,), "servers": {spec: QUICK}}
        done = probe("instruction-placement", spec, inputs, "benign", **fields)
        assert set(server.paths) == {"/v1/chat/completions"}
        # Without the instruction both kinds of phrase ask the same.
        assert (len(done.records), server.answered) == (4, 3)
    assert {row["response"] for row in done.records} == {"chatted"}
    assert all(row["found"] == [] and "length" not in row["settings"] for row in done.records)


def test_a_request_without_an_answer_is_told_and_in_no_rate(gemma, inputs):
    folder, tokenizer = gemma
    (inputs / "harmful.txt").write_text("w40 w41\nw42 w43\n")

    class Refusing(FakeVllm):
        def post(self, path, body):
            from engines import check

            check(body["messages"][0]["content"] != "w40 w41", "this prompt is not served")
            return super().post(path, body)

    with serving(Refusing(tokenizer, stops=(1, 4))) as server:
        spec = f"vllm:{server.root}#gemma"
        servers = {spec: {"tokenizer": str(folder), **QUICK}}
        done = probe("window", spec, inputs, "harmful", servers=servers, stride=16)
    assert {row["prompt"] for row in done.records} == {"w42 w43"}
    assert "this prompt is not served" in page(inputs)


PROBES_OF_WEIGHTS = {
    "gcg": "gradients",
    "activations": "hidden states",
    "order": "traces",
    "samples": "traces",
    "monitors": "hidden states",
}


@pytest.mark.parametrize(
    ("name", "spec", "fields", "needs"),
    [
        *((n, f"vllm:{NOBODY}#a/b", {}, need) for n, need in PROBES_OF_WEIGHTS.items()),
        ("prefill", f"{NOBODY}#m", {}, "anchors"),
        ("window", f"{NOBODY}#m", {}, "anchors"),
        ("prefill", f"sglang:{NOBODY}#a/b", {"positions": (40,)}, "anchors"),
    ],
)
def test_what_a_server_does_not_give_is_refused_by_name(name, spec, fields, needs):
    with pytest.raises(MidspanError, match=f"^{name}: needs {needs}; {spec} gives chat"):
        ProbeSpec(probe=name, models=("organism", spec), fields=fields)


def test_it_is_refused_before_torch_is_there():
    script = (
        "import sys\nfrom midspan.cli import main\n"
        "for name in ('gcg', 'fidelity'):\n"
        f"    sys.argv = ['midspan', 'probe', name, 'vllm:{NOBODY}#a/b']\n"
        "    try: main()\n    except SystemExit as end: print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"] * 2
    gives = f"vllm:{NOBODY}#a/b gives chat, prefix, anchors, log-probs"
    assert f"gcg: needs gradients; {gives}" in done.stderr
    assert f"fidelity: needs decoding; {gives}" in done.stderr


def test_settings_that_a_server_does_not_take_are_refused_where_no_other_model_takes_them():
    fields = {"probe": "prefill", "decoding": {"length": 32, "steps": 4}}
    served = f"vllm:{NOBODY}#a/b"
    with pytest.raises(MidspanError, match=r"decoding\.steps: a server takes length, temp"):
        ProbeSpec(models=(served,), **fields)
    assert ProbeSpec(models=("m", served), **fields)


def test_settings_of_a_server_that_nobody_asks_are_refused(inputs):
    with pytest.raises(MidspanError, match="servers: nobody asks"):
        probe("prefill", "m", inputs, "harmful", servers={f"{NOBODY}#other": {}})
