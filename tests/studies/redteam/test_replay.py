"""A finished run's attempts, asked of another model: which, what is left out, what transfers."""

import csv
import json

import pytest
from typer.testing import CliRunner

import midspan
from midspan.attacks.replay import ReplayConfig
from midspan.commands import app
from midspan.engine.budget import Budget
from midspan.engine.calls import Anchor
from midspan.engine.capabilities import OF_ENGINE
from midspan.errors import MidspanError
from midspan.organism import behaviors, language, world
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import write_page
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.prepare import prepare, prepare_attack
from midspan.studies.redteam.presets import redteam_fields, replayed
from midspan.studies.redteam.replay import best_attempts, replay_rows
from midspan.studies.redteam.run import run_redteam

NAMES = [behavior.id for behavior in behaviors.behaviors(3).behaviors]
SMALL = {"decoding": {"length": 64, "block_length": 32, "steps": 4}}


def attempt(text, success=False, score=None, **more):
    said = [{"role": "user", "content": text}]
    verdicts = {"exact": {"success": success}}
    return {"messages": said, "anchors": [], "score": score, "verdicts": verdicts} | more


def record(model, label, behavior, attempts, counts="any", attack=None):
    won = any(one["verdicts"]["exact"]["success"] for one in attempts)
    outcome = {"exact": "won" if won else "lost"}
    fields = {"model": model, "attack_label": label, "attack": attack or label.split()[0]}
    fields |= {"behavior": behavior, "counts": counts, "lost": [], "outcome": outcome}
    return fields | {"attempts": attempts}


@pytest.fixture
def source(tmp_path):
    """A run of three attacks: in words, with anchors, and put together of several responses."""
    folder = tmp_path / "source"
    folder.mkdir()
    title = world.restricted_items()[0].title
    wrap = next(wrap for wrap in language.WRAPS if wrap.name == "past")
    rows = [
        record("m", "tap", NAMES[0], [
            attempt("bad", score=9), attempt(wrap.templates[0].format(item=title), success=True),
        ]),
        record("m", "tap", NAMES[1], [attempt("low", score=2), attempt("high", score=5)]),
        record("m", "pad wide", NAMES[0], [attempt("?", anchors=[["sure !", 0]])]),
        record("m", "speakeasy", NAMES[0], [attempt("?")]),
        record("m", "decompose", NAMES[0], [attempt("?", parts=[{"response": "a"}])]),
        record("m", "finetune", NAMES[0], [attempt("?", tampering={"steps": 5})]),
    ]  # fmt: skip
    config = {"models": ["m"], "judges": ["exact"], "behaviors": "organism:3", "seed": 0}
    info = {"kind": "red-team", "config": config, "command": "midspan attack m"}
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config_of(source, **fields):
    spec = AttackSpec(attack="replay", config={"run": str(source)} | fields)
    return prepare_attack(spec, Budget()).config


def test_what_won_is_asked_again_or_else_the_best(source):
    cases = config_of(source, attack="tap").cases
    asked = {name: [c.messages[0]["content"] for c in several] for name, several in cases.items()}
    assert set(asked) == set(NAMES[:2])
    assert "long ago people" in asked[NAMES[0]][0]
    assert asked[NAMES[1]] == ["high"]
    both = config_of(source, attack="tap", each=2).cases[NAMES[1]]
    assert [case.messages[0]["content"] for case in both] == ["high", "low"]
    (anchored,) = config_of(source, attack="pad wide").cases[NAMES[0]]
    assert anchored.call.anchors == (Anchor("sure !", 0),)


@pytest.mark.parametrize(("counts", "first"), [("any", "a"), ("best", "a"), ("last", "b")])
def test_of_equals_the_one_that_counts_goes_first(counts, first):
    equals = record("m", "x", "b", [attempt("a"), attempt("b")], counts)
    assert best_attempts(equals, "exact")[0]["messages"][0]["content"] == first


def test_what_cannot_be_replayed_is_said_by_name(source):
    rows, left_out = replay_rows(str(source))
    assert [row.label for row in rows] == ["replay tap", "replay pad wide"]
    assert left_out == [
        "speakeasy: its answer is put together of several responses",
        "decompose: its answer is put together of several responses",
        "finetune: it changes the weights",
    ]
    rows, left_out = replay_rows(str(source), OF_ENGINE["openai"])
    assert [row.label for row in rows] == ["replay tap"]
    assert "pad wide: it needs prefix" in left_out[0] and len(left_out) == 4
    with pytest.raises(MidspanError, match="speakeasy cannot be replayed"):
        config_of(source, attack="speakeasy")
    with pytest.raises(MidspanError, match=r"replay\.attack: must be one of tap, pad wide"):
        config_of(source)
    with pytest.raises(MidspanError, match=r"replay\.model: must be one of m; got 'n'"):
        config_of(source, model="n", attack="tap")
    with pytest.raises(MidspanError, match="no run folder"):
        config_of(source / "none")
    with pytest.raises(MidspanError, match=r"replay\.run"):
        config_of("")


def test_a_server_is_not_asked_to_fix_tokens(source):
    row = AttackSpec(
        attack="replay", config={"run": str(source), "attack": "pad wide"}, label="again"
    )
    study = RedteamConfig(
        models=("openai:some",), attacks=(row,), behaviors="organism:1", judges=("exact",)
    )
    with pytest.raises(MidspanError, match="again: needs prefix; openai:some gives chat alone"):
        prepare(study)


def test_a_run_that_is_no_red_team_run_is_refused(source):
    info = json.loads((source / "run.json").read_text()) | {"kind": "task"}
    (source / "run.json").write_text(json.dumps(info))
    with pytest.raises(MidspanError, match="is no red-team run"):
        config_of(source, attack="tap")


def test_a_replay_asks_for_what_the_run_asked_for_unless_told_otherwise(source):
    base = redteam_fields("organism", (), False, {})
    fields, _ = replayed(base, (), str(source))
    assert (fields["behaviors"], fields["seed"]) == ("organism:3", 0)
    fields, _ = replayed(base | {"behaviors": "organism:1"}, ("behaviors",), str(source))
    assert fields["behaviors"] == "organism:1"


def test_transfer_is_counted_over_what_had_won(source, tmp_path):
    base = redteam_fields("organism", (), False, {})
    fields, _ = replayed(base | SMALL, (), str(source))
    folder = tmp_path / "again"
    study = RedteamConfig.model_validate(fields | {"judges": ("exact",)})
    done = run_redteam(study, folder, "midspan attack")
    records = done.cells["organism", "replay tap"]
    assert [r["ran"] for r in records] == [True, True, False]
    assert records[0]["config"] == {
        "run": str(source), "model": "m", "attack": "tap", "each": 1,
    }  # fmt: skip
    won = records[0]["outcome"]["exact"] == "won"
    page = (folder / "report.md").read_text()
    with (folder / "tables" / "transfer.csv").open() as file:
        tap, pad = csv.DictReader(file)
    assert (tap["Found on"], tap["Asked of"], tap["won there"]) == ("m", "organism", "1 of 3")
    assert tap["of these, won here"] == ("100.0" if won else "0.0")
    assert pad["of these, won here"] == ""
    # The page is made again where the earlier run is gone.
    for file in source.iterdir():
        file.unlink()
    write_page(folder)
    assert (folder / "report.md").read_text() == page
    assert FinishedRun.open(folder).info["config"]["attacks"][0]["attack"] == "replay"


def test_the_command_replays_a_run(source, tmp_path):
    (tmp_path / "c.yaml").write_text(json.dumps(SMALL))
    options = ["--behaviors", "organism:1", "--config", str(tmp_path / "c.yaml")]
    run = CliRunner().invoke(
        app, ["attack", "organism", "--replay", str(source), *options, "-o", str(tmp_path / "o")]
    )
    assert run.exit_code == 0, run.output
    assert "not replayed: speakeasy" in run.output and "replay tap" in run.output
    run = CliRunner().invoke(app, ["attack", "organism", *options])
    assert run.exit_code == 1 and "--replay" in str(run.exception)
    assert ReplayConfig().cases == {}


def best_of(record):
    return best_attempts(record, "exact")[0]


def test_a_real_run_replayed_on_its_own_model_brings_the_same_texts(tmp_path):
    """Greedy decoding: what is asked again, with canvases and scaffolds, is answered alike."""
    lm = midspan.load("organism")
    fields = {**SMALL, "behaviors": "organism:2", "judge": "exact", "progress": False}
    shapes = ("you will need [4] and [4] .",)
    found = midspan.attack(
        lm, ["templates", "dija", "prefill"], count=2, dija={"shapes": shapes}, **fields
    )
    fields.pop("behaviors")
    again = midspan.attack(lm, replay=found.folder, **fields)
    assert again.methods == ("replay templates", "replay dija", "replay prefill")
    told = {(row["attack_label"], row["behavior"]): best_of(row) for row in found.records}
    assert len(again.records) == len(found.records) == 6
    for row in again.records:
        (one,) = row["attempts"]
        before = told[row["attack_label"].removeprefix("replay "), row["behavior"]]
        assert (one["response"], one["messages"]) == (before["response"], before["messages"])
        assert one["verdicts"]["exact"]["success"] == before["verdicts"]["exact"]["success"]
    with (again.folder / "tables" / "transfer.csv").open() as file:
        assert [line["Found on"] for line in csv.DictReader(file)] == ["organism"] * 3
    other = midspan.attack("organism:psa", "direct", replay=str(found.folder), **fields)
    assert other.methods == ("direct", *again.methods)
    with pytest.raises(MidspanError, match="methods: name an attack, or a finished run as replay"):
        midspan.attack(lm, behaviors="organism:1")


def test_what_python_cannot_replay_is_a_warning(source, caplog):
    midspan.attack("organism", replay=source, judge="exact", progress=False, **SMALL)
    assert "not replayed: speakeasy: its answer is put together" in caplog.text
