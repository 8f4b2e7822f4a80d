"""lm-eval's own command line: how it finds the model, its arguments, and the page of its folder."""

import json

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

from lm_eval.api.registry import get_model  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from midspan.adapters.lm_eval_page import is_lm_eval, report_of  # noqa: E402
from midspan.commands import app  # noqa: E402
from midspan.errors import MidspanError  # noqa: E402

LOADER = """\
group: midspan
task: []
metadata: {version: 1.0, model: !function midspan.adapters.lm_eval_model.RegisteredLM}
"""


def test_a_task_file_that_names_the_class_registers_the_model(organism_folder, tmp_path):
    file = tmp_path / "midspan.yaml"
    file.write_text(LOADER)
    load_yaml(file, resolve_func=True)  # as lm-eval does before it looks the model up
    arguments = {"pretrained": str(organism_folder), "length": 8, "block_length": 8, "steps": 4,
                 "draws": 4, "seed": 3, "rules": "order"}  # fmt: skip
    lm = get_model("midspan").create_from_arg_obj(
        arguments, {"batch_size": "2", "max_batch_size": None, "device": "cuda:0"}
    )
    assert (lm.config.length, lm.config.steps, lm.config.rules[0].rule) == (8, 4, "order")
    assert (lm.settings.batch_size, lm.settings.draws, lm.settings.seed) == (2, 4, 3)
    assert lm.get_model_info()["midspan_fingerprint"] == lm.lm.fingerprint


def test_arguments_that_mean_nothing_are_refused(organism_folder):
    from midspan.adapters.lm_eval_model import RegisteredLM

    with pytest.raises(MidspanError, match="--batch_size: must be a number of rows; got 'auto'"):
        RegisteredLM(str(organism_folder), batch_size="auto")
    with pytest.raises(MidspanError, match="stepz"):
        RegisteredLM(str(organism_folder), stepz=3)


UNKNOWN = ("f1,strict", "f1_stderr,strict")


@pytest.fixture
def folder(tmp_path):
    """What lm-eval 0.4.13 writes for two models, one of them twice."""
    for model, date, value in (
        ("a", "2026-01-01", 0.1),
        ("a", "2026-01-02", 0.6),
        ("b", "2026", 1),
    ):
        place = tmp_path / "out" / model
        place.mkdir(parents=True, exist_ok=True)
        figures = {"alias": "t", "acc,none": value, "acc_stderr,none": 0.2}
        results = {
            "results": {"t": figures, f"of_{model}": dict.fromkeys(UNKNOWN, "N/A")},
            "n-samples": {"t": {"original": 5, "effective": 5}}, "n-shot": {"t": 2},
            "configs": {"t": {"output_type": "multiple_choice"}}, "lm_eval_version": "0.4.13",
            "config": {"model": "midspan", "model_args": {"steps": 4}}, "model_name": model,
        }  # fmt: skip
        (place / f"results_{date}.json").write_text(json.dumps(results))
        row = {"doc_id": 7, "target": "x", "filtered_resps": ["secret " * 9], "filter": "none",
               "metrics": ["acc"], "acc": value}  # fmt: skip
        (place / f"samples_t_{date}.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path / "out"


def test_the_newest_scores_of_each_model_stand_side_by_side(folder):
    assert is_lm_eval(folder)
    scores = report_of(folder).sections[0].tables[0]
    assert scores.columns == ("Task", "Metric", "Filter", "shots", "a", "b")
    by_task = {row[0]: row for row in scores.rows}
    assert by_task["t"][:4] == ("t", "acc", "none", "2")
    assert [(cell.text, cell.note) for cell in by_task["t"][4:]] == [
        ("0.6", "+- 0.2 n=5"),
        ("1", "+- 0.2 n=5"),
    ]
    assert [cell.text for cell in by_task["of_b"][4:]] == ["not run", "N/A"]


def test_the_command_writes_the_page_without_what_models_wrote(folder):
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    page = (folder / "report.md").read_text()
    assert "secret" not in page and "0.6 +- 0.2 n=5" in page and "steps" in page
    CliRunner().invoke(app, ["report", str(folder), "--include-generations"])
    assert "secret" in (folder / "report.md").read_text()


def test_a_run_folder_and_another_folder_are_not_lm_evals(folder, tmp_path):
    (folder / "run.json").write_text("{}")
    assert not is_lm_eval(folder)
    assert not is_lm_eval(tmp_path / "nothing")


def test_a_damaged_file_is_named(folder):
    (folder / "b" / "results_2026.json").write_text("{")
    with pytest.raises(MidspanError, match="results_2026.json"):
        report_of(folder)
