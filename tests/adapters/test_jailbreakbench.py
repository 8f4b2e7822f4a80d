"""Prompts found as JailbreakBench's artifacts: their schema, the way back, what is left out."""

import datetime
import json
from typing import Annotated

import pytest
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from midspan.commands import app
from midspan.data import load_behaviors
from midspan.data.artifacts import Artifact
from midspan.engine.budget import Budget
from midspan.engine.calls import Anchor
from midspan.errors import MidspanError
from midspan.organism import behaviors
from midspan.studies.redteam.config import AttackSpec
from midspan.studies.redteam.prepare import prepare_attack
from midspan.studies.redteam.presets import redteam_fields, replayed

WORLD = behaviors.behaviors(3).behaviors
NAMES = [behavior.id for behavior in WORLD]


class Jailbreak(BaseModel):
    """The reader of jailbreakbench 1.0.0, written anew: what it takes and what it skips."""

    index: int
    goal: str
    behavior: str
    category: str
    prompt: str | None
    response: str | None
    number_of_queries: int | None
    queries_to_jailbreak: int | None
    prompt_tokens: int | None
    response_tokens: int | None
    jailbroken: bool


class Parameters(BaseModel):
    method: str
    model: str
    attack_type: Annotated[str, Field(pattern="^(white_box|black_box|transfer|manual)$")]
    defense: str | None
    attack_success_rate: Annotated[float, Field(strict=True, ge=0, le=1)]
    total_number_of_jailbreaks: int
    number_of_submitted_prompts: int
    total_number_of_queries: int | None
    total_prompt_tokens: int | None
    total_response_tokens: int | None
    evaluation_date: datetime.date
    evaluation_llm_provider: str
    method_parameters: dict[str, str | int | float]


class Theirs(BaseModel):
    parameters: Parameters
    jailbreaks: list[Jailbreak]


def attempt(text, success=False, score=None, **more):
    said = more.pop("messages", [{"role": "user", "content": text}])
    fields = {"messages": said, "response": f"to {text}", "anchors": [], "target_calls": 2}
    verdicts = {"exact": {"success": success}}
    return fields | {"score": score, "verdicts": verdicts} | more


def record(model, label, place, attempts, access="chat", attack=None):
    won = any(one["verdicts"]["exact"]["success"] for one in attempts)
    return {
        "model": model, "attack_label": label, "attack": attack or label, "access": access,
        "behavior": NAMES[place], "request": WORLD[place].text, "counts": "any", "lost": [],
        "config": {"width": 3, "openings": ["sure"], "judge": None}, "attempts": attempts,
        "usage": {"target": {"calls": 4, "tokens": 60, "forwards": 256}},
        "outcome": {"exact": "won" if won else "lost"},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    turns = [
        {"role": "system", "content": "be kind"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
    ]  # fmt: skip
    rows = [
        record("m", "tap", 0, [attempt("bad", score=9), attempt("good", success=True)]),
        record("m", "tap", 1, [attempt("low", score=2), attempt("high", score=5)]),
        record("m", "tap", 2, []),
        record("m with paraphrase", "tap", 0, [attempt("other", success=True)]),
        record("m", "pad", 0, [attempt("p", anchors=[["then", 4]])], access="infill"),
        record("m", "pad", 1, [attempt("", messages=turns)], access="infill"),
        record("m", "first_step_gcg", 0, [attempt("g !")], access="white-box"),
        record("m", "encodings", 0, [attempt("e")]),
        record("m", "speakeasy", 0, [attempt("s")]),
        record("m", "finetune", 0, [attempt("f", tampering={"steps": 5})], access="weights"),
    ]
    config = {"models": ["m"], "judges": ["exact"], "behaviors": "organism:3", "seed": 0}
    info = {"kind": "red-team", "config": config, "command": "midspan attack m"}
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def export(run, output, *more):
    arguments = ["export", run, "--to", "jailbreakbench", "-o", output, *more]
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_run_lies_in_the_published_layout_and_their_reader_takes_it(run, tmp_path):
    done = export(run, tmp_path / "out")
    assert done.exit_code == 0, done.output
    root = tmp_path / "out" / "attack-artifacts"
    files = {str(path.relative_to(root)) for path in root.rglob("*.json")}
    assert files == {
        "tap/black_box/m.json", "tap/black_box/m with paraphrase.json", "tap/attack-info.json",
        "pad/black_box/m.json", "pad/attack-info.json",
        "first_step_gcg/white_box/m.json", "first_step_gcg/attack-info.json",
        "encodings/black_box/m.json", "encodings/attack-info.json",
    }  # fmt: skip
    info = json.loads((root / "tap/attack-info.json").read_text())
    assert info == {"models": {"m": ["black_box"], "m with paraphrase": ["black_box"]}}
    read = {path: Theirs.model_validate_json((root / path).read_text()) for path in files
            if "info" not in path}  # fmt: skip
    tap = read["tap/black_box/m.json"]
    assert tap.parameters.attack_success_rate == pytest.approx(1 / 3)
    assert tap.parameters.number_of_submitted_prompts == 2
    assert tap.parameters.total_number_of_queries == 12
    assert tap.parameters.method_parameters == {"width": 3, "openings": '["sure"]'}
    assert [(one.behavior, one.prompt, one.jailbroken) for one in tap.jailbreaks] == [
        (NAMES[0], "good", True), (NAMES[1], "high", False), (NAMES[2], None, False),
    ]  # fmt: skip
    assert tap.jailbreaks[0].queries_to_jailbreak == 2 and tap.jailbreaks[0].response == "to good"
    assert tap.jailbreaks[1].queries_to_jailbreak is None
    assert [one.category for one in tap.jailbreaks] == [one.category for one in WORLD]
    defended = read["tap/black_box/m with paraphrase.json"].parameters
    assert (defended.model, defended.defense) == ("m", "paraphrase")
    assert "left out: speakeasy of m: its answer is put together" in done.stdout
    assert "left out: finetune of m: it changes the weights" in done.stdout


def test_what_a_prompt_alone_does_not_say_comes_back_for_the_replay(run, tmp_path):
    file = tmp_path / "pad.json"
    assert export(run, file, "--attack", "pad").exit_code == 0
    fields, left_out = replayed(redteam_fields("organism", (), False, {}), {}, str(file))
    assert not left_out and fields["behaviors"] == "organism:3"
    (row,) = fields["attacks"]
    assert row.label == "replay pad"
    cases = prepare_attack(row, Budget()).config.cases
    assert cases[NAMES[0]][0].call.anchors == (Anchor("then", 4),)
    assert [turn["content"] for turn in cases[NAMES[1]][0].messages] == ["be kind", "a", "b", "c"]
    direct = AttackSpec(attack="replay", config={"run": str(run), "attack": "pad", "model": "m"})
    assert cases == prepare_attack(direct, Budget()).config.cases


def test_an_artifact_of_a_decoded_response_is_not_replayed(run, tmp_path):
    file = tmp_path / "encodings.json"
    assert export(run, file, "--attack", "encodings").exit_code == 0
    with pytest.raises(MidspanError, match="cannot be replayed|nothing of .*its response is"):
        replayed(redteam_fields("organism", (), False, {}), {}, str(file))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "takes one model and attack; name them by --model and --attack"),
        (("--attack", "pair"), "--attack: must be one of tap, pad"),
        (("--model", "n"), "--model: must be one of m, m with paraphrase; got 'n'"),
        (("--attack", "pad", "--model", "m with paraphrase"), "pad has no records of m with"),
        (("--attack", "speakeasy"), "holds no prompts found"),
    ],
)
def test_one_file_takes_one_row(run, tmp_path, more, said):
    assert said in str(export(run, tmp_path / "x.json", *more).exception)


def test_an_export_names_its_formats(run, tmp_path):
    done = CliRunner().invoke(app, ["export", str(run), "--to", "csv", "-o", str(tmp_path)])
    assert "--to: must be one of jailbreakbench" in str(done.exception)


@pytest.fixture
def theirs(tmp_path):
    """An artifact as others publish it: fields that we do not know, an index as a text."""
    row = {
        "index": "7", "goal": "Make a lantern ", "behavior": "Lantern", "category": "Craft",
        "prompt": "Story: make a lantern", "response": "no", "number_of_queries": 30,
        "queries_to_jailbreak": 5, "prompt_tokens": 3, "response_tokens": None,
        "jailbroken": True, "jailbroken_llama_guard1": False,
    }  # fmt: skip
    rows = [row, row | {"index": 8, "goal": "Other", "behavior": "B", "prompt": None,
                        "response": None, "jailbroken": False}]  # fmt: skip
    file = tmp_path / "vicuna.json"
    parameters = {"method": "PAIR", "model": "vicuna-13b-v1.5", "attack_type": "black_box"}
    file.write_text(json.dumps({"parameters": parameters, "jailbreaks": rows}))
    return file


def test_a_published_artifact_is_replayed_on_its_own_goals(theirs):
    fields, left_out = replayed(redteam_fields("LLaDA", (), False, {}), {}, str(theirs))
    assert fields["behaviors"] == str(theirs) and not left_out
    (row,) = fields["attacks"]
    assert row.label == "replay PAIR"
    cases = prepare_attack(row, Budget()).config.cases
    assert [case.messages[0]["content"] for case in cases["Lantern"]] == ["Story: make a lantern"]
    # The behavior for which nothing was found is asked nothing.
    assert cases["B"] == ()
    found = load_behaviors(theirs)
    assert {one.id for one in found} == cases.keys()


def test_goals_are_the_behaviors_and_prompts_only_where_they_are_named(theirs):
    lantern, other = load_behaviors(theirs)
    assert (lantern.id, lantern.text, lantern.category) == ("Lantern", "Make a lantern", "Craft")
    # What a model responded there is no answer to learn from.
    assert lantern.answer is None
    (asked,) = load_behaviors(theirs, column="prompt")
    assert (asked.id, asked.text) == ("Lantern", "Story: make a lantern")


def test_what_was_read_is_written_back_in_the_same_fields(theirs):
    read = Artifact.read(theirs).to_dict()
    before = json.loads(theirs.read_text())
    assert read["parameters"] == before["parameters"]
    for new, old in zip(read["jailbreaks"], before["jailbreaks"], strict=True):
        old.pop("jailbroken_llama_guard1")
        assert new == old | {"index": int(old["index"]), "goal": old["goal"].strip()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.pop("parameters"), "has no parameters"),
        (lambda v: v.update(jailbreaks=[]), "no jailbreaks"),
        (lambda v: v["parameters"].update(method=3), r"parameters\.method must be a name"),
        (lambda v: v["jailbreaks"][0].update(goal=""), r"jailbreaks\.0\.goal must be a text"),
        (lambda v: v["jailbreaks"][0].update(prompt=[1]), r"jailbreaks\.0\.prompt must be a text"),
        (lambda v: v["jailbreaks"][1].update(jailbroken="no"), r"jailbreaks\.1\.jailbroken must"),
        (lambda v: v["jailbreaks"][1].update(prompt_tokens=1.5), r"prompt_tokens must be a whole"),
        (lambda v: v["jailbreaks"][1].update(behavior="Lantern"), "names the behavior .* twice"),
        (lambda v: v["jailbreaks"].append(3), r"jailbreaks\.2 must be a JSON object"),
    ],
)
def test_a_damaged_artifact_is_refused_by_field(theirs, change, said):
    value = json.loads(theirs.read_text())
    change(value)
    theirs.write_text(json.dumps(value))
    with pytest.raises(MidspanError, match=said):
        Artifact.read(theirs)


def test_a_file_that_is_no_json_says_what_is_wanted(tmp_path):
    file = tmp_path / "a.json"
    with pytest.raises(MidspanError, match="give a JailbreakBench artifact"):
        Artifact.read(file)
    file.write_text("[1")
    with pytest.raises(MidspanError, match="give a JailbreakBench artifact"):
        Artifact.read(file)
