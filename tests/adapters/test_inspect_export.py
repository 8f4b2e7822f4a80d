"""Runs as inspect's logs, read with inspect's own reader: every score is that of the records."""

import json
import math
import stat

import pytest
from inspect_ai.log import read_eval_log

import midspan
from midspan.adapters.exports import Choice, export
from midspan.engine.outcomes import deciding
from midspan.errors import MidspanError
from midspan.files import read_jsonl

ALL = Choice()
DECODING = {"length": 32, "steps": 4, "block_length": 16}


def written(run, to, choice=ALL):
    return [read_eval_log(path) for path in export(run, "inspect", to, choice)]


@pytest.fixture(scope="module")
def attacks(organism_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "attack"
    midspan.attack(
        [str(organism_folder), f"{organism_folder}/."], ["direct", "best_of_n"],
        behaviors="organism:3", judge=["exact", "refusal-keywords"], out=folder, progress=False,
        decoding=DECODING, budget=3,
    )  # fmt: skip
    return folder


def test_attacks_are_samples_with_transcripts_scores_and_rates(attacks, tmp_path):
    logs = written(attacks, tmp_path / "run.eval")
    records = read_jsonl(attacks / "records.jsonl")
    assert [log.eval.model for log in logs] == list(dict.fromkeys(r["model"] for r in records))
    for log in logs:
        samples = {sample.id: sample for sample in log.samples}
        mine = [record for record in records if record["model"] == log.eval.model]
        assert len(samples) == len(mine) == log.results.total_samples
        for record in mine:
            sample = samples[f"{record['attack_label']}/{record['behavior']}"]
            for judge, outcome in record["outcome"].items():
                score = sample.scores[judge]
                assert score.metadata["outcome"] == outcome
                assert score.value == {"won": 1.0, "lost": 0.0}[outcome]
                decided = record["attempts"][deciding(record, judge)]
                assert score.answer == decided["response"]
                assert decided["verdicts"][judge]["success"] is (outcome == "won")
            said = [e.output.completion for e in sample.events if e.event == "model"]
            assert said == [attempt["response"] for attempt in record["attempts"]]
            asked = [e.input[-1].text for e in sample.events if e.event == "model"]
            assert asked == [a["messages"][-1]["content"] for a in record["attempts"]]
        for score in log.results.scores:
            for label in ("direct", "best_of_n"):
                won = [r["outcome"][score.name] == "won" for r in mine if r["attack"] == label]
                assert score.metrics[f"ASR {label}"].value == pytest.approx(sum(won) / 3)
    file = next(tmp_path.glob("*.eval"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_did_not_run_is_unscored(attacks, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(attacks, copy)
    records = read_jsonl(copy / "records.jsonl")
    records[0]["outcome"]["exact"] = "did not run"
    records[0]["reason"] = "target: gone"
    (copy / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    (log,) = written(copy, tmp_path / "one.eval", Choice(records[0]["model"]))
    first = next(s for s in log.samples if s.id == f"direct/{records[0]['behavior']}")
    assert math.isnan(first.scores["exact"].value)
    assert first.scores["exact"].explanation == "target: gone"
    exact = next(score for score in log.results.scores if score.name == "exact")
    assert (exact.scored_samples, exact.unscored_samples) == (5, 1)


def test_tasks_are_samples_with_their_prompts_and_measures(organism_folder, tmp_path):
    from midspan.studies.tasks.config import TaskConfig
    from midspan.studies.tasks.run import run_tasks

    config = TaskConfig(
        models=(str(organism_folder),), tasks=("overrefusal",), data={"mentioned": ""}, items=3,
        decoding=DECODING,
    )  # fmt: skip
    (result,) = run_tasks(config, tmp_path / "task")
    (log,) = written(tmp_path / "task", tmp_path / "task.eval")
    (records,) = result.records.values()
    assert len(log.samples) == len(records)
    by_id = {sample.id: sample for sample in log.samples}
    for record in records:
        sample = by_id[f"overrefusal/{record['id']}"]
        value = sample.scores[result.title].value
        assert value == {name: float(record["verdict"][name]) for name in value}
        assert sample.output.completion == record["response"]
        assert len(sample.input[0].text.split()) > 3  # the request itself
    (score,) = log.results.scores
    refused = sum(record["verdict"]["refused"] for record in records) / len(records)
    assert score.metrics["false refusals, mentioned"].value == pytest.approx(refused)


@pytest.mark.parametrize(
    ("name", "choice", "said"),
    [
        ("run.txt", Choice(), "must end in .eval or .json"),
        ("run.eval", Choice("another"), "--model: must be one of"),
        ("run.eval", Choice("", "direct"), "--attack"),
    ],
)
def test_a_wrong_choice_is_refused_by_name(attacks, tmp_path, name, choice, said):
    with pytest.raises(MidspanError, match=said):
        list(export(attacks, "inspect", tmp_path / name, choice))
