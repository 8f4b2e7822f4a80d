"""Judges by a published rubric: named on the command line, recorded with the file's hash."""

import hashlib
import json

import pytest

from midspan.engine.budget import Budget
from midspan.engine.roles import Scripted
from midspan.errors import MidspanError
from midspan.judges.calibration import Calibration
from midspan.runs.folder import FinishedRun
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.judged_by import judged_by, write_judges
from midspan.studies.redteam.presets import organism_attack
from midspan.studies.redteam.roles import Participant, SpecReader
from midspan.studies.redteam.run import run_redteam

TEXT = "Asked: {prompt}\nSaid: {response}\nGrade it."
SERVER = "http://localhost:1/v1#judge"


@pytest.fixture
def rubric(tmp_path):
    file = tmp_path / "rubric.txt"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize("grader", ["strongreject", "pair", "harmbench"])
def test_the_model_stands_before_the_file_and_keeps_its_servers_settings(rubric, grader):
    judge = SpecReader().judge(f"{grader}={SERVER}:rubric={rubric}")
    assert (judge.model, judge.is_server) == (SERVER, True)
    name = f"{grader}:rubric.txt@{hashlib.sha256(TEXT.encode()).hexdigest()[:12]}"
    assert judge.open().fingerprint.endswith(f"/{name}")


@pytest.mark.parametrize(
    "spec",
    ["harm=M:rubric=FILE", "pair=M", "harmbench=M", "strongreject=:rubric=FILE", "pair", "pair=",
     "harmbench-cls=M:rubric=FILE", "exact:rubric=FILE", "strongreject"],
)  # fmt: skip
def test_other_combinations_name_what_there_is(rubric, spec):
    with pytest.raises(
        MidspanError, match="strongreject=MODEL:rubric=FILE, pair=MODEL:rubric="
    ) as e:
        SpecReader().judge(spec.replace("FILE", str(rubric)))
    assert "\n" not in str(e.value)


def test_a_bad_file_is_said_before_anything_is_loaded(tmp_path):
    with pytest.raises(MidspanError, match="rubric .*none.txt cannot be read"):
        SpecReader().judge(f"pair=M:rubric={tmp_path / 'none.txt'}")
    with pytest.raises(MidspanError, match="rubric . cannot be read"):
        SpecReader().judge("pair=M:rubric=")


def test_records_and_report_say_which_rubric_judged_and_another_file_judges_anew(
    rubric, tmp_path, monkeypatch
):
    asked = []

    def answer(call, rng):
        asked.append(call.messages)
        return "1.b 0\n2.b 4\n3.b 5"

    plain = SpecReader.model

    def model(self, spec, *args):
        role = Scripted(answer, "grader")
        return Participant(spec, lambda: role, spec) if spec == "M" else plain(self, spec, *args)

    monkeypatch.setattr(SpecReader, "model", model)
    judge = f"strongreject=M:rubric={rubric}"
    config = RedteamConfig(
        models=("organism",),
        attacks=(organism_attack("direct"),),
        behaviors="organism:1",
        judges=("exact", judge),
        budget=Budget(target=1),
        decoding={"length": 32, "block_length": 32, "steps": 2},
    )
    folder = tmp_path / "run"
    for text in (TEXT, TEXT + " Kindly."):
        rubric.write_text(text)
        done = run_redteam(config, folder)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        lines = (folder / "judges.jsonl").read_text().splitlines()
        names = {row["name"]: row["judge"] for row in map(json.loads, lines)}
        assert names == {
            "exact": "organism-exact-v2",
            judge: f"grader/strongreject:rubric.txt@{digest}",
        }
        assert names[judge] in done.report.with_suffix(".md").read_text().replace("\\", "")
    assert len(asked) == 2 and len(asked[0]) == 1
    (record,) = done.cells["organism", "direct"]
    (attempt,) = record["attempts"]
    assert attempt["response"] in asked[0][0]["content"]
    verdict = attempt["verdicts"][judge]
    assert (verdict["refusal"], verdict["convincing"], verdict["specific"]) == (False, 4, 5)
    assert verdict["strongreject_score"] == 0.875
    (folder / "judges.jsonl").unlink()  # as in folders of earlier versions
    assert judged_by(FinishedRun.open(folder)) == {"judges": f"exact, {judge}"}


def test_a_calibration_of_another_judge_is_named_as_such(tmp_path):
    (tmp_path / "run.json").write_text('{"config": {"judges": ["a", "b", "c"]}}')
    (tmp_path / "records.jsonl").touch()
    judges = {name: Scripted(None, f"{name}-v2") for name in ("a", "b", "c")}
    of = {name: Calibration(name, 1, 1, 1, 1, {}, {}) for name in ("a-v1", "b-v2")}
    write_judges(tmp_path, judges, {"a": of["a-v1"], "b": of["b-v2"]})
    assert judged_by(FinishedRun.open(tmp_path)) == {
        "judges": "a, b, c",
        "judge: a": "a-v2", "calibration: a": "a-v1, another judge",
        "judge: b": "b-v2", "judge: c": "c-v2",
    }  # fmt: skip
