"""An audit from beginning to end: what is asked of whom, what is counted, what is left behind."""

import json
import re
import shutil
import signal
import time
from collections import defaultdict
from typing import get_type_hints
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

import midspan
from midspan.api.audit import AuditRecord
from midspan.commands import app
from midspan.engine.budget import Budget
from midspan.errors import MidspanError
from midspan.runs.compare import change_table, compare_runs
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import write_page
from midspan.statistics import wilson
from midspan.studies.audit.config import LEVELS, AuditConfig
from midspan.studies.audit.forecast import forecast
from midspan.studies.audit.prepare import prepare
from midspan.studies.audit.presets import smoke
from midspan.studies.audit.run import (
    AUDIT_FILE,
    BADGE_FILE,
    CARD_FILE,
    How,
    part_alone,
    run_audit,
)
from midspan.studies.audit.schema import Audit
from midspan.tasks.overrefusal import MEASURES, MENTIONED_MEASURES

COMMAND = "midspan audit organism"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "run"
    return run_audit(smoke(), folder, How(COMMAND)), folder


@pytest.fixture
def copied(done, tmp_path):
    """The finished folder, to be changed or continued."""
    return shutil.copytree(done[1], tmp_path / "run")


@pytest.fixture(scope="module")
def records(done):
    return FinishedRun.open(done[1]).rows("records.jsonl")


def config_file(folder, **changes):
    file = folder / "audit.yaml"
    fields = {**smoke().model_dump(mode="json"), **changes}
    file.write_text(yaml.safe_dump({n: v for n, v in fields.items() if n != "model"}))
    return file


def test_it_leaves_a_page_fields_a_card_and_a_badge(done):
    result, folder = done
    assert result.problems == () and result.audit.gate is None
    assert Audit.model_validate_json((folder / AUDIT_FILE).read_text()) == result.audit
    page, card = result.report.read_text(), (folder / CARD_FILE).read_text()
    assert "budget cut short" not in page
    for section in ("By access", "Over-refusal", "Utility", "Monitors", "What to do next"):
        assert f"{section}</h2>" in page
    assert result.audit.in_short[1:] in page and str(folder) not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for level in result.audit.levels:
        assert level.worst_case.percent in card
        assert f'<th scope="row" class="plain">{level.access}</th>' in page
    for level in (result.audit.levels[0], result.audit.levels[-1]):
        assert f"<dt>fell with {level.access} access</dt>" in page
    wanted = [measure.name for measure in (*MEASURES, *MENTIONED_MEASURES)]
    assert [measure.name for measure in result.audit.over_refusal] == wanted
    assert [measure.rate.n for measure in result.audit.utility] == [2]
    assert "prefill" in {one.attack for one in result.audit.monitors}
    assert {one.monitor for one in result.audit.monitors} == {"p_eos"}
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    told = [row["facts"]["exact"]["share"][0] for row in rows if row["attack_label"] == "direct"]
    (line,) = (
        text for text in (folder / "tables" / "facts.csv").read_text().splitlines()
        if text.startswith("direct,")
    )  # fmt: skip
    assert line.split(",")[1] == f"{100 * sum(told) / len(told):.1f}"
    drawn = ElementTree.parse(folder / BADGE_FILE)
    shown = "".join(drawn.getroot().itertext())
    assert "chat 67 %" in shown and "of 3" in shown


def test_harmless_requests_are_answered_under_the_audits_own_decoding(done):
    config, over, utility = (
        json.loads((done[1] / part / "run.json").read_text())["config"]
        for part in ("", "over-refusal", "utility")
    )
    assert over["decoding"] == config["decoding"] == smoke().decoding and not utility["decoding"]
    used = FinishedRun.open(done[1] / "over-refusal").rows("tasks.jsonl")[0]["settings"]["decoding"]
    assert {name: used[name] for name in smoke().decoding} == smoke().decoding


def test_a_behavior_that_fell_is_not_asked_for_again(records):
    """But for the sweep, whose parts are reported; and nobody uses more access than its row's."""
    asked, fell = defaultdict(list), set()
    for record in records:
        asked[record["attack_label"]].append(record["behavior"])
        assert LEVELS.index(record["access"]) <= LEVELS.index(record["level"])
    everybody = asked["direct"]
    assert len(everybody) == len(set(everybody)) == 3
    for name in ("direct", "tap", "prefill"):
        assert asked[name] == [one for one in everybody if one not in fell]
        fell |= {r["behavior"] for r in records
                 if r["attack_label"] == name and r["outcome"]["exact"] == "won"}  # fmt: skip
    assert fell and asked["decode_sweep"] == everybody


def test_findings_are_those_of_the_records(done, records):
    audit = done[0].audit
    rows = {row.name: row.access for row in smoke().attacks}
    for level in audit.levels:
        within = {n for n, access in rows.items()
                  if LEVELS.index(access) <= LEVELS.index(level.access)}  # fmt: skip
        fell = {r["behavior"] for r in records
                if r["attack_label"] in within and r["outcome"]["exact"] == "won"}  # fmt: skip
        expected = wilson(len(fell), 3)
        assert set(level.attacks) == within
        assert (level.worst_case.least, level.worst_case.low, level.worst_case.high) == (
            expected.rate, expected.low, expected.high,
        )  # fmt: skip
        single = [attack.of_all for attack in audit.attacks if attack.name in within]
        assert level.best.least == max(one.least for one in single)
        assert level.best.most == max(one.most for one in single)
    calls = sum(record["usage"]["target"]["calls"] for record in records)
    assert next(cost.calls for cost in audit.costs if cost.role == "target") == calls
    assert sum(attack.target_calls for attack in audit.attacks) == calls


def test_what_the_budget_cut_short_stands_on_the_page(tmp_path):
    rows = tuple(row for row in smoke().attacks if row.attack == "tap")
    changes = {"attacks": rows, "budget": Budget(target=1), "over_refusal": None}
    config = smoke().model_copy(update={**changes, "utility": None, "monitors": None})
    result = run_audit(config, tmp_path / "run", How(COMMAND))
    (tap,) = result.audit.attacks
    assert (tap.cut.limits, tap.cut.responses) == ({"target": 1}, 1)
    assert 1 <= tap.cut.behaviors <= tap.asked and tap.cut.most_responses == 2
    page = result.report.read_text()
    assert "What the budget cut short</h2>" in page and "The budget cut short: tap." in page


def test_a_part_that_cannot_be_measured_is_listed_and_all_else_is_written(tmp_path):
    """One harmless request is longer than the model's context; what lies there is not shown."""
    file, folder = tmp_path / "benign.csv", tmp_path / "run"
    file.write_text("goal\nhow do i bake bread ?\n" + "how do i bake bread " * 400 + "?\n")
    fields = {"over_refusal": {"tasks": ("overrefusal",), "benign": str(file)}, "monitors": None}
    rows = smoke().attacks[:1]
    config = AuditConfig.model_validate(smoke().model_dump() | fields | {"attacks": rows})
    stale = folder / "over-refusal" / "records.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    part_alone(config, folder, How(COMMAND), "over-refusal")  # as with several processes
    result = run_audit(config, folder, How(COMMAND))
    assert len(FinishedRun.open(folder).rows("records.jsonl")) == 3 and result.problems == ()
    (missing,) = [one for one in result.audit.not_run if not one.access and not one.tier]
    assert missing.what == "over-refusal"
    assert missing.reason.startswith("cannot be measured: overrefusal: the prompt of item ")
    assert "lower length in --config" in missing.reason
    written = Audit.model_validate_json((folder / AUDIT_FILE).read_text())
    assert written == result.audit and written.over_refusal == () and len(written.utility) == 1
    page = result.report.read_text()
    assert "What was not run</h2>" in page and "the prompt of item " in page
    assert re.search("- Not run: .*over-refusal", (folder / CARD_FILE).read_text())
    compared = compare_runs(FinishedRun.open(folder), FinishedRun.open(folder))
    assert {change.place[1] for change in compared} == {"chat", "utility: choice (organism)"}
    assert run_audit(config, folder, How(COMMAND)).audit.not_run == written.not_run


def command(folder, copied):
    return ["audit", "organism", "--config", str(config_file(folder)), "-o", str(copied),
            "--jobs", "1"]  # fmt: skip


def test_an_interrupted_audit_goes_on_to_the_same_records(done, copied, tmp_path):
    """Half the journal is lost with everything that was written at the end; a gate is passed."""
    _, folder = done
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (copied / "journal.jsonl").write_text("".join(lines[: len(lines) // 2]))
    for name in ("records.jsonl", AUDIT_FILE, "report.html"):
        (copied / name).unlink()
    with pytest.raises(MidspanError, match="is not finished; continue it with"):
        FinishedRun.open(copied)
    gate = ["--fail-above", "100", "--fail-level", "weights"]
    passed = CliRunner().invoke(app, [*command(tmp_path, copied), *gate])
    assert passed.exit_code == 0, passed.output
    assert done[0].audit.in_short in passed.output
    assert (copied / "records.jsonl").read_text() == (folder / "records.jsonl").read_text()
    again, first = (json.loads((f / AUDIT_FILE).read_text()) for f in (copied, folder))
    assert again.pop("seconds") > first.pop("seconds") and again.pop("gate")["limit"] == 100
    assert first.pop("gate") is None and again == first


def test_the_gate_ends_with_status_3(done, copied, tmp_path):
    """Another threshold continues the same run."""
    worst = 100 * done[0].audit.level("infill").worst_case.most
    failed = CliRunner().invoke(app, [*command(tmp_path, copied), "--fail-above", "5"])
    assert failed.exit_code == 3 and f"{worst:.1f} % fell at infill access" in failed.output
    gate = json.loads((copied / AUDIT_FILE).read_text())["gate"]
    level = {"access": "infill", "asked": "infill"}
    assert gate == {**level, "limit": 5.0, "measured": worst, "failed": True}
    assert "The gate failed" in (copied / "report.md").read_text()


def test_a_changed_battery_is_another_audit(copied):
    config = smoke()
    with pytest.raises(MidspanError, match=r"another configuration \(config.seed"):
        run_audit(config.model_copy(update={"seed": 1}), copied, How(COMMAND))


def test_two_audits_are_compared_by_level_and_task(done, copied):
    _, folder = done
    changes = compare_runs(FinishedRun.open(folder), FinishedRun.open(copied))
    assert not change_table(changes).rows
    settings = {change.place[1] for change in changes}
    assert {"chat", "infill", "sampler", "utility: choice (organism)"} <= settings
    levels = [change for change in changes if change.place[1] in LEVELS]
    fell = [change for change in levels if change.place[2] == "worst case by exact"]
    assert all(change.is_tested for change in fell) and len(levels) == 2 * len(fell)
    assert all(change.first.n == 3 for change in levels)
    over = {change.place[2] for change in changes if change.place[1].startswith("over-refusal")}
    assert {measure.name for measure in MENTIONED_MEASURES} <= over


def test_the_most_facts_of_a_level_are_compared_and_unknown_where_a_row_was_not_asked(done, copied):
    rows = FinishedRun.open(done[1]).rows("records.jsonl")

    def shares(level):
        within = LEVELS[: LEVELS.index(level) + 1]
        by_behavior = defaultdict(list)
        for row in rows:
            if row["level"] in within:
                by_behavior[row["behavior"]].append(row["facts"]["exact"]["share"][0])
        return by_behavior.values()

    changes = compare_runs(FinishedRun.open(done[1]), FinishedRun.open(copied))
    told = {c.place[1]: c.first for c in changes if c.place[2].startswith("most facts by exact")}
    for level, asked in (("chat", 2), ("infill", 3), ("sampler", 4)):
        found = shares(level)
        ends = [(max(own), 1.0 if len(own) < asked else max(own)) for own in found]
        least, most = (sum(end) / 3 for end in zip(*ends, strict=True))
        assert told[level].least.mean == pytest.approx(least)
        assert told[level].most.mean == pytest.approx(most)
    assert (told["chat"].unknown, told["infill"].unknown) == (0, 2)
    facts = [change for change in changes if change.place[2].startswith("most facts")]
    assert not any(change.is_tested for change in facts)


def test_audits_of_other_batteries_are_refused_by_name(done, copied):
    info = json.loads((copied / "run.json").read_text())
    (row,) = (row for row in info["config"]["attacks"] if row["attack"] == "prefill")
    row["config"]["positions"] = [1]
    (copied / "run.json").write_text(json.dumps(info))
    changes = compare_runs(FinishedRun.open(done[1]), FinishedRun.open(copied))
    refusals = {change.place[1]: change.refusal for change in changes}
    assert refusals["chat"] == "" and "settings.attacks.prefill.positions" in refusals["infill"]


def test_a_battery_of_which_rows_had_nothing_left_to_ask_is_the_same_battery(done, copied):
    """Where one audit's behaviors had all fallen early, the other one's go on."""
    rows = [json.loads(line) for line in (copied / "records.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["attack_label"] == "direct"]
    (copied / "records.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    changes = compare_runs(FinishedRun.open(done[1]), FinishedRun.open(copied))
    levels = [change for change in changes if change.place[1] in LEVELS]
    assert {change.place[1] for change in levels} == {"chat", "infill", "sampler"}
    assert {change.refusal for change in levels} <= {"", "no outcome"}


def test_a_defence_is_the_targets_and_compares(done, copied):
    """What stands in front of the model changes no setting of a task."""
    info = json.loads((copied / "run.json").read_text())
    info["config"]["behind"] = ["past_end"]
    (copied / "run.json").write_text(json.dumps(info))
    tasks = json.loads((copied / "utility" / "tasks.jsonl").read_text())
    tasks["settings"]["decoding"]["rules"] = [{"rule": "past_end"}]
    (copied / "utility" / "tasks.jsonl").write_text(json.dumps(tasks) + "\n")
    changes = compare_runs(FinishedRun.open(done[1]), FinishedRun.open(copied))
    assert not any(change.refusal for change in changes)
    assert {change.place[0] for change in changes} == {"organism -> organism with past_end"}
    assert "Audit of organism with past_end" in write_page(copied).read_text()


def test_from_python_it_is_the_same_audit(done, copied):
    fields = {n: getattr(smoke(), n) for n in smoke().model_fields_set if n not in ("model",)}
    behaviors, judges = fields.pop("behaviors"), fields.pop("judges")
    fields |= {name: fields[name].model_dump() for name in ("over_refusal", "utility")}
    found = midspan.audit(
        "organism", behaviors=behaviors, judge=judges, out=copied, progress=False, proxies=(),
        **fields,
    )  # fmt: skip
    assert found.levels == ("chat", "infill", "sampler")
    required, known = AuditRecord.__required_keys__, get_type_hints(AuditRecord).keys()
    assert all(required <= row.keys() <= known for row in found.records)
    assert found.worst_case("chat") == done[0].audit.levels[0].worst_case
    assert found.findings.in_short in repr(found) and "<table>" in found._repr_html_()
    with pytest.raises(MidspanError, match="access: must be one of chat, infill, sampler"):
        found.worst_case("weights")


def test_a_forecast_is_no_less_than_what_was_asked(done, records):
    prepared = prepare(smoke())
    rows = {row.part: row for row in forecast(prepared)}
    for level in ("chat", "infill", "sampler"):
        asked = [r for r in records if r["level"] == level]
        calls = sum(record["usage"]["target"]["calls"] for record in asked)
        assert 0 < calls <= rows[f"attacks, {level}"].responses
    assert rows["utility"].responses == 2 and rows["over-refusal"].responses == 9


@pytest.mark.slow
def test_a_killed_audit_of_two_processes_goes_on_in_one(done, tmp_path, warm_python):
    file = config_file(tmp_path, over_refusal=None, utility=None, monitors=None)
    command = ["-m", "midspan.cli", "audit", "organism", "--config", file, "-o", tmp_path / "run"]
    killed = warm_python.start(*command, "--jobs", "2")
    while killed.poll() is None and not any(
        journal.stat().st_size for journal in (tmp_path / "run").glob("journal.*.jsonl")
    ):
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, killed.stderr
    time.sleep(1)
    finished = warm_python.run(*command, "--jobs", "1")
    assert finished.returncode == 0, finished.stderr
    one, two = (f / "records.jsonl" for f in (done[1], tmp_path / "run"))
    assert one.read_text() == two.read_text()
