"""inspect's and lm-eval's own command lines: the provider, a served organism, logs and folders."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from midspan.commands import app

FEW = ("-T", "behaviors=organism:2", "-T", "attacks=direct,tap", "-T", "budget=3")
CANVAS = ("--max-tokens", "64")
REFUSALS = ("midspan/overrefusal", "--limit", "4")
LOADER = """\
group: midspan
task: []
metadata: {version: 1.0, model: !function midspan.adapters.lm_eval_model.RegisteredLM}
"""
TASK = """\
task: choose
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
doc_to_choice: [compute, tell me]
metric_list: [{metric: acc}]
metadata: {version: 1.0}
"""


def run(command, folder, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=kept | environment, capture_output=True,
        text=True, timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def inspect_eval(place, tmp_path):
    """Runs ``inspect eval`` and reads its log as inspect dumps it."""
    program = place / "inspect" / "bin" / "inspect"

    def evaluate(task, model, *options, **environment):
        own = ("--display", "plain", "--log-dir", tmp_path / "logs", "--log-format", "eval")
        run([program, "eval", *task, "--model", model, *own, *options], tmp_path, **environment)
        file = max((tmp_path / "logs").glob("*.eval"), key=lambda path: path.stat().st_mtime)
        return json.loads(run([program, "log", "dump", file], tmp_path))

    return evaluate


def outcomes(log):
    return {
        sample["id"]: (
            [a["response"] for a in sample["store"]["midspan"]["attempts"]],
            sample["scores"]["midspan_judge"]["metadata"]["outcome"],
        )
        for sample in log["samples"]
    }


def test_the_provider_and_the_server_answer_inspect_alike(inspect_eval, url):
    served = {"MIDSPAN_BASE_URL": url, "MIDSPAN_API_KEY": "none"}
    audit = ("midspan/audit", *FEW, *CANVAS)
    here = inspect_eval(audit, "midspan/organism:psa", "-M", "steps=16", "-M", "block_length=32")
    body = '{"midspan": {"steps": 16, "block_length": 32}}'
    there = inspect_eval(audit, "openai-api/midspan/organism:psa", "--extra-body", body, **served)
    assert here["status"] == there["status"] == "success"
    assert len(outcomes(here)) == 4 and outcomes(here) == outcomes(there)
    assert here["eval"]["model"] == "midspan/organism:psa"
    usage = here["stats"]["model_usage"]["midspan/organism:psa"]
    assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0


def test_over_refusal_runs_by_its_name(inspect_eval):
    log = inspect_eval(REFUSALS, "midspan/organism", "-M", "steps=16", *CANVAS)
    assert log["status"] == "success" and len(log["samples"]) == 4
    assert {score["name"] for score in log["results"]["scores"]} == {"refused", "helped"}


def test_lm_evals_own_command_finds_the_model_and_its_folder_has_a_page(place, tmp_path):
    (tmp_path / "midspan.yaml").write_text(LOADER)
    rows = [{"question": f"what is {n} plus 1 ?", "answer": n % 2} for n in range(4)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "choose.yaml").write_text(TASK.replace("DATA", str(data)))
    arguments = "pretrained=organism,length=8,block_length=8,steps=4,draws=4"
    shared = ["--model", "midspan", "--model_args", arguments, "--include_path", tasks,
              "--output_path", tmp_path / "out", "--log_samples"]  # fmt: skip
    programs = Path(place / "inspect" / "bin")
    for program, names in (("lm_eval", "midspan.yaml,choose"), ("midspan-lm-eval", "choose")):
        run([programs / program, *shared, "--tasks", names], tmp_path, HF_HUB_OFFLINE="1")
    results = sorted((tmp_path / "out" / "organism").glob("results_*.json"))
    both = [json.loads(file.read_text())["results"]["choose"]["acc,none"] for file in results]
    assert len(both) == 2 and both[0] == both[1]
    done = CliRunner().invoke(app, ["report", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert f"| choose | acc | none | 0 | {both[0]:.4g}" in (tmp_path / "out/report.md").read_text()
