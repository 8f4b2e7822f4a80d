"""Attacks and audits of models behind engines, from the spec to the report."""

import json

import pytest
from engines import FakeMidspan, FakeSglang, FakeVllm, logprobs, serving
from typer.testing import CliRunner

from midspan.attacks import get_attack
from midspan.commands import app
from midspan.data.behaviors import Behavior
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.run import run_redteam

QUICK = {"attempts": 2, "backoff": 0, "timeout": 10}


@pytest.fixture
def requests_file(tmp_path):
    file = tmp_path / "requests.txt"
    file.write_text("w40 w41\nw42 w43\n")
    return str(file)


def study(spec, requests_file, *rows, **server):
    return RedteamConfig(
        models=(spec,), behaviors=requests_file, helpers={"attacker": spec},
        judges=("refusal-keywords",),
        attacks=tuple(AttackSpec(attack=name, config=config) for name, config in rows),
        servers={spec: QUICK | server},
    )  # fmt: skip


PLACED = (
    ("direct", {}),
    ("prefill", {"positions": [0, 6], "opening": "w60 w61"}),
    ("pad", {"positions": [2, 9], "connectors": ["w50", "w51"]}),
    ("dija", {"channel": "response", "shapes": ["w33 [3] w34 [2]"]}),
)


def test_words_stand_where_attacks_put_them_in_a_served_canvas(gemma, requests_file, tmp_path):
    with serving(FakeVllm(gemma[1], stops=(1, 4))) as server:
        spec = f"vllm:{server.root}#gemma"
        config = study(spec, requests_file, *PLACED, tokenizer=str(gemma[0]))
        done = run_redteam(config, tmp_path / "run", "a test")
        sent = len(server.bodies)
        run_redteam(config, tmp_path / "run", "a test")
        assert len(server.bodies) == sent
    assert done.problems == []
    said = {
        label: [attempt["response"].split() for attempt in records[0]["attempts"]]
        for (_, label), records in done.cells.items()
    }
    assert [words[:2] for words in said["prefill"]][0] == ["w60", "w61"]
    assert said["prefill"][1][6:8] == ["w60", "w61"]
    assert (said["pad"][0][2], said["pad"][0][9]) == ("w50", "w51")
    assert said["dija"][0][0] == "w33" and said["dija"][0][4] == "w34" and len(said["dija"][0]) > 5


def test_the_likelier_candidate_is_read_of_a_served_canvas(gemma, tmp_path):
    plan = {
        "thing": "w40", "others": ["w41"], "slots": {"a": ["w60", "w61", "w62"]},
        "canvases": [{"prompt": "w42 {thing}", "text": "w50 [1]", "slots": ["a"]}],
        "statements": ["w44 {a}"],
    }  # fmt: skip
    with serving(FakeVllm(gemma[1])) as server:
        spec = f"vllm:{server.root}#gemma"
        target = Endpoint(EndpointConfig.from_spec(spec, **QUICK, tokenizer=str(gemma[0])))
        roles = {"target": target, "attacker": Scripted(lambda *_: json.dumps(plan), "a plan")}
        attack = get_attack("readout")
        job = AttackJob(attack, attack.config(canvases=1, baseline=0), Behavior("b", "x"), roles)
        with Journal(tmp_path / "j") as journal:
            (result,) = run_attacks([job], journal)
        canvas = server.bodies[0]["vllm_xargs"]["diffusion_seed_canvas"]
    best = max((60, 61, 62), key=lambda token: logprobs(canvas, 1)[token])
    assert [attempt.response for attempt in result.attempts] == [f"w44 w{best}"]
    assert result.access == "logprobs"


@pytest.mark.parametrize(
    ("make", "engine", "rows", "words"),
    [
        (FakeSglang, "sglang", ("pad", {}), "pad: needs anchors; sglang:.* gives chat, prefix"),
        (FakeSglang, "sglang", ("best_of_n", {}), "best_of_n: needs draws; sglang:"),
        (FakeMidspan, "midspan", ("decode_sweep", {}), "decode_sweep: needs decoding; midspan:"),
        (FakeMidspan, "midspan", ("first_step_gcg", {}), "needs gradients; midspan:.* rules"),
        (FakeVllm, "vllm", ("trajhijack", {}), "trajhijack: needs rules; vllm:.* log-probs"),
        (FakeVllm, "vllm", ("dija", {}), "dija: needs user canvas; vllm:"),
        (FakeVllm, "vllm", ("scale_adapter", {}), "scale_adapter: needs weights; vllm:"),
    ],
)
def test_what_a_server_cannot_do_is_refused_by_name_and_nothing_is_sent(
    gemma, requests_file, tmp_path, make, engine, rows, words
):
    with serving(make(gemma[1])) as server:
        config = study(f"{engine}:{server.root}#gemma", requests_file, rows, tokenizer="somewhere")
        with pytest.raises(MidspanError, match=words):
            run_redteam(config, tmp_path / "run", "a test")
        assert server.bodies == [] and not (tmp_path / "run").exists()


def test_behind_a_defence_no_likelihoods_are_read(gemma, requests_file, tmp_path):
    with serving(FakeVllm(gemma[1])) as server:
        spec = f"vllm:{server.root}#gemma"
        config = study(spec, requests_file, ("readout", {}), tokenizer=str(gemma[0]))
        config = config.model_copy(update={"models": (f"{spec} with self_reminder",)})
        with pytest.raises(MidspanError, match="readout: needs log-probs; .* with self_reminder"):
            run_redteam(config, tmp_path / "run", "a test")


def test_a_server_that_lacks_what_its_engine_has_is_found_out_at_contact(
    gemma, requests_file, tmp_path
):
    with serving(FakeVllm(gemma[1], diffusion=False)) as server:
        spec = f"vllm:{server.root}#gemma"
        config = study(spec, requests_file, PLACED[2], tokenizer=str(gemma[0]))
        with pytest.raises(MidspanError, match="target: needs anchors; .* gives chat alone"):
            run_redteam(config, tmp_path / "run", "a test")
        assert len(server.bodies) == 1 and not (tmp_path / "run").exists()


def test_an_audit_runs_what_the_record_allows_and_lists_the_rest(gemma, requests_file, tmp_path):
    with serving(FakeVllm(gemma[1], stops=(1, 4))) as server:
        spec = f"vllm:{server.root}#gemma"
        file = tmp_path / "audit.yaml"
        own = f"{{tokenizer: {gemma[0]}, attempts: 2, backoff: 0}}"
        rows = ["direct: chat", "pad: infill", "dija: infill", "trajhijack: sampler"]
        pairs = (row.split(": ") for row in rows)
        few = ", ".join(f"{{attack: {name}, access: {level}}}" for name, level in pairs)
        fields = f"attacks: [{few}]\nutility: null\nover_refusal: null\n"
        file.write_text(f"{fields}servers:\n  {spec}: {own}\n")
        arguments = ["audit", spec, "--behaviors", requests_file, "--judge", "refusal-keywords"]
        arguments += ["--config", str(file), "-o", str(tmp_path / "run")]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (0, 1), done.output
    page = (tmp_path / "run" / "report.md").read_text().replace("\\", "")
    assert "needs user canvas; the server gives chat, prefix, anchors, log-probs" in page
    assert "needs rules" in page and "gives chat, prefix, anchors, log-probs" in done.stderr
