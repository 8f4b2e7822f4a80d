"""Over-refusal by a judge, named on the command line, in Python or in a study."""

import json

import pytest
from typer.testing import CliRunner

import midspan
from midspan.commands import app
from midspan.engine.roles import Scripted
from midspan.errors import MidspanError
from midspan.judges import XSTEST, ChatJudge
from midspan.runs.folder import FinishedRun
from midspan.studies.given import Given
from midspan.studies.paper.prepare import _prepare_part
from midspan.studies.redteam.roles import Participant, SpecReader, with_refusal_judge
from midspan.studies.servers import record_of
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.tasks.page import report_of, text
from midspan.studies.tasks.run import problems_of, run_tasks

SMALL = {"length": 8, "block_length": 8, "steps": 1}
JUDGE = "xstest=openai:some"
CLASSES = {"safe": "full_refusal", "unsafe": "full_compliance", "plain": "partial_refusal"}


@pytest.fixture
def asked():
    """Requests that the judge was asked about."""
    return []


@pytest.fixture
def config():
    return TaskConfig(
        models=("organism",),
        tasks=("overrefusal",),
        items=3,
        decoding=SMALL,
        judge=JUDGE,
    )


@pytest.fixture
def without_page(monkeypatch):
    """Pages take longer than the rest."""
    monkeypatch.setattr("midspan.studies.tasks.run.write_page", lambda folder: folder)


def judge_of(asked, answer):
    """A judge whose model's words are `answer` of how often it was asked."""

    def says(call, rng):
        asked.append(call.fields["behavior"])
        return answer(call.fields["behavior"])

    return ChatJudge(Scripted(says, "some"), XSTEST)


def by_group(behavior):
    return json.dumps({"reason": behavior, "class": CLASSES[behavior.partition("/")[0]]})


def rates(result):
    (records,) = result.records.values()
    return {
        measure.name: [measure.of(row) for row in records if measure.counts(row)]
        for measure in result.measures
    }


def test_three_classes_stand_in_records_and_on_the_page(config, asked, tmp_path):
    given = Given(judges={JUDGE: judge_of(asked, by_group)})
    (result,) = run_tasks(config, tmp_path / "run", "", given)
    assert sorted(asked) == sorted(f"{group}/{n}" for group in CLASSES for n in range(3))
    assert rates(result) == {
        "false refusals, safe": [True] * 3,
        "missed refusals, unsafe": [True] * 3,
        "safe requests helped": [False] * 3,
        "plain requests helped": [False] * 3,
        "partial refusals, safe": [False] * 3,
        "partial refusals, unsafe": [False] * 3,
    }
    assert f"Judge: {JUDGE}." in text(result)
    run = FinishedRun.open(tmp_path / "run")
    assert f"Judge: {JUDGE}." in report_of(run).sections[0].tables[0].caption
    assert run.rows("records.jsonl")[0]["verdict"]["detail"] == "safe/0"
    # The journal has the verdicts.
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    run_tasks(config, tmp_path / "run", "", given)
    assert len(asked) == 9 and (tmp_path / "run" / "records.jsonl").read_bytes() == before


def test_missing_verdicts_give_bounds_and_reasons(config, asked, tmp_path):
    def answer(behavior):
        return "I would rather not." if behavior == "safe/1" else by_group(behavior)

    given = Given(judges={JUDGE: judge_of(asked, answer)})
    (result,) = run_tasks(config, tmp_path / "run", "", given)
    assert asked.count("safe/1") == 3  # twice anew, at temperature 1
    shown = text(result)
    assert "66.7 to 100.0 %" in shown and "n=3, 1 without outcome" in shown
    assert "1 of 9" in shown and "1 x wanted one JSON object" in shown
    # Its words are in the journal, and no command would ask again.
    assert problems_of([result]) == []
    page = report_of(FinishedRun.open(tmp_path / "run"))
    assert "Where a verdict is missing" in page.limits[-1]


def test_a_verdict_that_did_not_come_is_told_and_asked_again(config, asked, tmp_path, without_page):
    def answer(behavior):
        return None if behavior == "safe/1" else by_group(behavior)

    given = Given(judges={JUDGE: judge_of(asked, answer)})
    (result,) = run_tasks(config, tmp_path / "run", "", given)
    (line,) = problems_of([result])
    assert line.startswith("1 responses have no verdict, since the judge did not answer (some did")
    asked.clear()
    given = Given(judges={JUDGE: judge_of(asked, by_group)})
    assert problems_of(run_tasks(config, tmp_path / "run", "", given)) == []
    assert asked == ["safe/1"]


def test_a_judge_that_never_answers_ends_the_command_and_is_asked_again(
    config, asked, tmp_path, without_page
):
    given = Given(judges={JUDGE: judge_of(asked, lambda behavior: None)})
    with pytest.raises(MidspanError, match=rf"{JUDGE} gave not one verdict \(some did not answer"):
        run_tasks(config, tmp_path / "run", "", given)
    assert not (tmp_path / "run" / "records.jsonl").exists()
    given = Given(judges={JUDGE: judge_of(asked, by_group)})
    (result,) = run_tasks(config, tmp_path / "run", "", given)
    assert "without verdict" not in text(result)


def test_an_error_of_the_judge_costs_its_response_alone(config, asked, tmp_path, without_page):
    def answer(behavior):
        if behavior == "safe/1":
            raise ZeroDivisionError("nothing\nat all")
        return by_group(behavior)

    given = Given(judges={JUDGE: judge_of(asked, answer)})
    (result,) = run_tasks(config, tmp_path / "run", "", given)
    assert result.errors == {"organism": {"ZeroDivisionError: nothing at all": 1}}
    assert rates(result)["false refusals, safe"] == [True, None, True]
    (failed,) = (row for row in result.records["organism"] if "error" in row["verdict"])
    assert "in answer" in failed["verdict"]["traceback"]
    (line,) = problems_of([result])
    assert line.startswith("1 responses met an error in the code of an attack, task or judge (Zero")
    with pytest.raises(ZeroDivisionError):
        run_tasks(config, tmp_path / "run", "", given, fail_fast=True)


def test_a_draw_without_unsafe_requests_has_its_page(tmp_path):
    """A smoke test of one request leaves one side of the figure empty."""
    file = tmp_path / "xstest.csv"
    kinds = [("safe", "homonyms"), ("unsafe", "contrast_homonyms")]
    lines = [f"{n},Question {n}?,{kind},{label}" for n, (label, kind) in enumerate(kinds * 4)]
    file.write_text("\n".join(["id,prompt,type,label", *lines]), encoding="utf-8")
    fields = {"data": {"xstest": str(file)}, "decoding": SMALL, "items": 1}
    config = TaskConfig(models=("organism",), tasks=("overrefusal",), **fields)
    run_tasks(config, tmp_path / "run", "")
    assert (tmp_path / "run" / "report.html").is_file()


def test_python_takes_a_judge_as_an_object(asked, tmp_path, without_page):
    judge = judge_of(asked, by_group)
    fields = {"items": 1, "decoding": SMALL}
    run = midspan.evaluate("organism", "overrefusal", judge=judge, progress=False, **fields)
    assert run.score().rate == 1 and len(asked) == 3
    words = midspan.evaluate(
        "organism", "overrefusal", judge="xstest-strmatch", progress=False, **fields
    )
    assert words.records[0]["verdict"]["detail"] == "XSTest's string match alone"


def test_the_command_line_names_the_judge(tmp_path, monkeypatch, without_page):
    opened = []

    def model(self, spec, batch_size, decoding=None):
        def open_role():
            opened.append(spec)
            return Scripted(lambda call, rng: by_group(call.fields["behavior"]), "some")

        return Participant(spec, open_role, spec, record_of(spec, {}))

    monkeypatch.setattr(SpecReader, "model", model)
    file = tmp_path / "c.yaml"
    file.write_text(
        "length: 8\nblock_length: 8\nsteps: 1\nservers: {'openai:some': {concurrency: 2}}\n"
    )
    command = ["task", "organism", "--task", "overrefusal", "-n", "2", "--config", str(file)]
    done = CliRunner().invoke(
        app, [*command, "--judge", JUDGE, "-o", str(tmp_path / "run")], catch_exceptions=False
    )
    assert done.exit_code == 0 and f"Judge: {JUDGE}." in done.stdout
    assert opened == ["openai:some"]
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert kept["judge"] == JUDGE and "servers" not in kept


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        ("harm=openai:some", "judge: must be one of refusal-keywords, xstest-strmatch, xstest=MOD"),
        ("harmbench-cls", "judge: must be one of refusal-keywords, .*; got 'harmbench-cls'"),
        ("xstest", "judge: must be one of .*xstest=MODEL.*; got 'xstest'"),
        ("nobody=openai:some", "judge: must be one of"),
    ],
)
def test_judges_that_say_nothing_of_refusals_are_refused_at_the_door(judge, reason):
    with pytest.raises(MidspanError, match=reason):
        with_refusal_judge(judge, {})


def test_servers_that_nobody_asks_are_refused():
    with pytest.raises(MidspanError, match="servers: nobody asks openai:other"):
        with_refusal_judge(JUDGE, {"openai:other": {}})


def test_a_judge_without_its_task_and_one_that_was_not_given(config, tmp_path):
    with pytest.raises(ValueError, match="judge: overrefusal alone is judged"):
        TaskConfig(models=("a",), tasks=("gsm8k",), judge=JUDGE)
    with pytest.raises(MidspanError, match=f"judge: {JUDGE} was not given"):
        run_tasks(config, tmp_path / "run", "")


def test_a_part_of_a_study_names_its_judge_and_opens_it_once(config, monkeypatch, tmp_path):
    opened = []

    def judge(self, spec, batch_size=8):
        return Participant(spec, lambda: opened.append(spec) or Scripted(None, "some"), spec)

    monkeypatch.setattr(SpecReader, "judge", judge)
    (task,) = _prepare_part(config, tmp_path).tasks
    assert task.judged_by == JUDGE and not opened  # nothing is loaded before it is asked
    assert task.judged.open() is task.judged.open() and opened == [JUDGE]
    (plain,) = _prepare_part(config.model_copy(update={"judge": None}), tmp_path).tasks
    assert plain.judged is None and plain.judged_by == ""
