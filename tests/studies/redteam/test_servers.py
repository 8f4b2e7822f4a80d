"""Servers as there are, as target, evaluator and judge: the right value, or one clear line."""

import json
import re

import pytest
from odd_server import MODELS, VERDICT, serving
from typer.testing import CliRunner

from midspan.commands import app
from midspan.engine.records import Outcome
from midspan.errors import MidspanError
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.run import run_redteam

# What each server comes to: its text is read, its reason is told, or the run ends at once.
READ = {
    "good", "usage-null", "usage-missing", "no-temperature", "no-seed", "int32-seed", "max-tokens",
    "think-inline", "parts", "surrogate",
}  # fmt: skip
TOLD = {
    "error-200": "HTTP 200 with an error: the model is overloaded (2 tries)",
    "thinking-cut": "no answer came before the limit of tokens",
    "filter": "the server's content filter held the reply back",
    "filter-400": "HTTP 400 The response was filtered: content management policy.",
}
ENDED = {
    "sse": "a stream of events",
    "html": "a page, not JSON",
    "nested": "a malformed reply",
    "unknown": "HTTP 404 no such model; are the address and the model's name right?",
}
# Texts that a target may say, and that are no verdict.
NO_VERDICT = {
    "nested-verdict": "JSON nested too deeply",
    "not-json-verdict": "wanted one JSON object",
}
TINY = {"depth": 1, "branching": 1, "width": 1}
QUICK = {"attempts": 2, "backoff": 0}
ITEMS = [
    {"request": "Name a fruit.", "response": "An apple.", "success": True, "kind": "a"},
    {"request": "Name a tree.", "response": "No.", "success": False, "kind": "b"},
]


def test_every_server_is_expected_to_come_to_something():
    assert READ | TOLD.keys() | (ENDED.keys() - {"unknown"}) | NO_VERDICT.keys() == MODELS.keys()


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def requests_file(tmp_path):
    file = tmp_path / "requests.txt"
    file.write_text("how is bread made?\n")
    return str(file)


def config_of(server, *asked, **fields):
    """A study of one request; `asked` are the servers' models, which are asked quickly."""
    servers = {f"{server.url}#{model}": QUICK for model in asked}
    direct = {"attacks": (AttackSpec(attack="direct"),), "judges": ("refusal-keywords",)}
    return RedteamConfig(**{"helpers": {}, "servers": servers} | direct | fields)


def by_name(problems):
    """Who did not answer, and the reason."""
    return dict(re.match(r"(.+?): not one answer came \((.+)\); mend", line).groups()
                for line in problems)  # fmt: skip


def test_servers_under_attack(server, requests_file, tmp_path):
    answering = READ | NO_VERDICT.keys()
    specs = {f"{server.url}#{model}": model for model in (*sorted(answering), *TOLD)}
    config = config_of(server, *specs.values(), models=tuple(specs), behaviors=requests_file)
    done = run_redteam(config, tmp_path / "run", "a test")
    silent = by_name(done.problems)
    assert silent.keys() == {f"target {server.url}#{model}" for model in TOLD}
    page = (tmp_path / "run" / "report.md").read_text().replace("\\", "")
    for (spec, _), (record,) in done.cells.items():
        model, outcome = specs[spec], record["outcome"]["refusal-keywords"]
        if model in TOLD:
            assert (outcome, record["attempts"]) == (Outcome.DID_NOT_RUN, [])
            assert TOLD[model] in silent[f"target {spec}"] and TOLD[model] in record["reason"]
            assert TOLD[model] in page
        else:
            assert (outcome, record["lost"], record["reason"]) == (Outcome.WON, [], "")
            if model in READ - {"surrogate"}:
                assert record["attempts"][0]["response"] == VERDICT


def test_servers_as_judges(server, requests_file, tmp_path):
    models = (*sorted(READ), *TOLD, *NO_VERDICT)
    judges = {f"harm={server.url}#{model}": model for model in models}
    config = config_of(
        server, *models, models=(f"{server.url}#good",), behaviors=requests_file,
        judges=tuple(judges),
    )  # fmt: skip
    done = run_redteam(config, tmp_path / "run", "a test")
    ((record,),) = done.cells.values()
    silent = by_name(done.problems)
    for judge, model in judges.items():
        verdict = record["attempts"][0]["verdicts"][judge]
        if model in READ:
            assert (verdict["score"], record["outcome"][judge]) == (4, Outcome.WON)
            assert judge not in silent
        else:
            words = TOLD.get(model) or NO_VERDICT[model]
            assert record["outcome"][judge] == Outcome.UNREADABLE
            assert words in verdict["reason"] and words in silent[judge]


def test_servers_as_evaluators(server, tmp_path):
    """Their texts are no ratings: they are asked for anew, and the loss is told with its reason."""
    for model in ("parts", "thinking-cut", "no-temperature"):
        config = config_of(
            server, "good", model, models=(f"{server.url}#good",), behaviors="organism:1",
            judges=("exact",), attacks=(AttackSpec(attack="tap", config=TINY),),
            helpers={"attacker": "organism", "evaluator": f"{server.url}#{model}"},
        )  # fmt: skip
        done = run_redteam(config, tmp_path / model, "a test")
        ((record,),) = done.cells.values()
        assert record["outcome"]["exact"] in (Outcome.DID_NOT_RUN, Outcome.UNREADABLE)
        assert TOLD.get(model, "wanted one value in [[ ]]") in by_name(done.problems)["evaluator"]


@pytest.mark.parametrize("model", ENDED)
@pytest.mark.parametrize("role", ["target", "evaluator", "judge"])
def test_a_server_that_cannot_be_asked_ends_the_run_before_it_begins(
    server, requests_file, tmp_path, role, model
):
    good, odd = f"{server.url}#good", f"{server.url}#{model}"
    fields = {
        "target": {"models": (odd,)},
        "evaluator": {
            "models": (good,), "attacks": (AttackSpec(attack="tap"),),
            "helpers": {"attacker": good, "evaluator": odd},
        },
        "judge": {"models": (good,), "judges": (f"harm={odd}",)},
    }  # fmt: skip
    config = config_of(server, model, behaviors=requests_file, **fields[role])
    with pytest.raises(MidspanError, match=re.escape(ENDED[model])):
        run_redteam(config, tmp_path / "run", "a test")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["good", "no-temperature", "thinking-cut", *NO_VERDICT, *ENDED])
def test_a_server_as_the_judge_that_is_calibrated(server, tmp_path, model):
    items, config = tmp_path / "items.jsonl", tmp_path / "servers.yaml"
    items.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    spec = f"{server.url}#{model}"
    config.write_text(json.dumps({"servers": {spec: QUICK}}))
    arguments = ["judge", "calibrate", f"harm={spec}", "--items", items, "--config", config]
    found = CliRunner().invoke(app, [*map(str, arguments), "-o", str(tmp_path / "run")])
    if model in ENDED:
        assert isinstance(found.exception, MidspanError) and ENDED[model] in str(found.exception)
        return
    counts = json.loads((tmp_path / "run" / "calibration.json").read_text())
    told = TOLD.get(model) or NO_VERDICT.get(model)
    if told is None:
        assert found.exit_code == 0
        assert (counts["hits"], counts["false_alarms"], counts["reasons"]) == (1, 1, {})
        return
    ((reason, count),) = counts["reasons"].items()
    assert told in reason and count == 2
    assert "2 of them" in found.stdout and told in found.stdout
    assert found.exit_code == 1 and f"not one answer came ({reason})" in found.stderr


def test_a_command_says_what_never_answered_and_fails(server, requests_file, tmp_path):
    arguments = ["attack", f"{server.url}#filter", "--method", "direct", "--behaviors"]
    arguments += [requests_file, "--judge", "refusal-keywords", "-o", str(tmp_path / "run")]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert "1 x target: the server's content filter" in found.stdout
    line = f"midspan: target {server.url}#filter: not one answer came (the server's content filter"
    assert line in found.stderr


def test_nobody_there_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    """Nor is a folder left that holds on to the wrong address."""
    monkeypatch.setattr("midspan.models.load", lambda *a, **k: pytest.fail("loaded"))
    config = RedteamConfig(
        models=("organism",), behaviors="organism:1", attacks=(AttackSpec(attack="direct"),),
        judges=("harm=http://127.0.0.1:9/v1#gone",), helpers={},
    )  # fmt: skip
    with pytest.raises(MidspanError, match="gone at http://127.0.0.1:9/v1: no connection"):
        run_redteam(config, tmp_path / "run", "a test")
    assert not (tmp_path / "run").exists()


def test_a_classifier_that_will_not_do_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("midspan.models.load", lambda *_: pytest.fail("loaded"))
    (tmp_path / "other").mkdir()
    fields = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}
    (tmp_path / "other" / "config.json").write_text(json.dumps(fields))
    config = RedteamConfig(
        models=("organism",),
        attacks=(AttackSpec(attack="direct"),),
        behaviors="organism:2",
        judges=(f"harmbench-cls={tmp_path / 'other'}",),
    )
    with pytest.raises(MidspanError, match="is a LlamaForSequenceClassification"):
        run_redteam(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_who_is_needed_is_asked_for_a_word(server, requests_file, tmp_path):
    before = len(server.bodies)
    gone = {"evaluator": "http://127.0.0.1:9/v1#gone"}  # no attack asks it
    config = config_of(
        server, models=(f"{server.url}#good",), behaviors=requests_file, helpers=gone
    )
    assert run_redteam(config, tmp_path / "run", "a test").problems == []
    assert len(server.bodies) == before + 2  # the first contact and the request
    run_redteam(config, tmp_path / "run", "a test")
    assert len(server.bodies) == before + 2  # a folder that holds replies asks nobody
