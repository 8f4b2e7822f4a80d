"""The public names, and what every verb promises: no second load, no change, one-line errors."""

import inspect
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import pytest
import torch

import midspan
from midspan.errors import MidspanError
from midspan.judges import ExactJudge, keyword_judge

SMALL = {"length": 32, "block_length": 32, "steps": 4}
VERBS = ("load", "generate", "align", "attack", "probe", "evaluate", "study")


@pytest.fixture(scope="module")
def lm():
    return midspan.load("organism:mosa")


@pytest.fixture(scope="module")
def attacked(lm):
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    result = midspan.attack(
        lm, ["direct", "tap"], behaviors="organism:2", judge="exact", decoding=SMALL,
        branching=1, width=1, depth=1, budget=2, progress=False,
    )  # fmt: skip
    return result, before


def test_dir_shows_what_is_public_and_all_of_it_exists():
    assert dir(midspan) == sorted(midspan.__all__)
    for name in midspan.__all__:
        if name != "objectives":
            assert getattr(midspan, name) is not None
    assert set(VERBS) <= set(midspan.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        midspan.nothing  # noqa: B018


def test_importing_midspan_loads_nothing_heavy():
    code = "import sys, midspan; print(sorted({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_an_example_arguments_and_errors(name):
    function = getattr(import_module(midspan._HOMES[name]), name)
    text = inspect.getdoc(function)
    for section in ("Examples:\n    >>> ", "Args:", "Raises:"):
        assert section in text
    for parameter in inspect.signature(function).parameters:
        assert f"    {parameter}" in text or f"**{parameter}" in text, parameter


def test_a_loaded_model_is_neither_loaded_again_nor_changed(lm, attacked, monkeypatch):
    result, before = attacked
    monkeypatch.setattr("midspan.models.load", lambda *_, **__: pytest.fail("loaded again"))
    monkeypatch.setattr("midspan.models.loading.load", lambda *_, **__: pytest.fail("again"))
    midspan.probe("samples", lm, n=1, decoding=SMALL, start=None)
    midspan.evaluate([lm], "arithmetic", items=1)
    midspan.generate(lm, "hello", **SMALL)
    after = lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not lm.base.model.layers[0].self_attn.q_proj.merged


def test_names_and_loaded_models_give_the_same_records(attacked, lm):
    (record, *_) = midspan.probe("samples", lm, n=1, decoding=SMALL, start=None).records
    (same, *_) = midspan.probe("samples", "organism:mosa", n=1, decoding=SMALL, start=None).records
    assert record == same


def test_tables_are_shown_without_drawing_a_figure(attacked, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.__init__", lambda *_: pytest.fail("drawn"))
    assert "<table>" in replace(attacked[0])._repr_html_()


def test_an_attack_shows_itself(attacked):
    result, _ = attacked
    assert repr(result).startswith("AttackRun(ASR by exact: direct on organism:mosa ")
    assert "<table>" in result._repr_html_() and "n=2" in result._repr_html_()
    assert result.report.is_file() and result.methods == ("direct", "tap")
    assert result.asr("tap").n == 2 and result.figures == ("asr-by-exact",)
    assert result.figure().axes[0].get_ylabel() == "ASR, %"
    with pytest.raises(MidspanError, match="^figure: must be one of asr-by-exact; got 'x'$"):
        result.figure("x")
    with pytest.raises(MidspanError, match="^method: must be one of direct, tap; got 'pair'$"):
        result.asr("pair")


def test_the_run_folder_holds_the_call(attacked):
    command = json.loads((attacked[0].folder / "run.json").read_text())["command"]
    assert command.startswith("midspan.attack(midspan.load('organism:mosa'), ['direct', 'tap'], ")
    assert "behaviors='organism:2', judge='exact'" in command and "progress" not in command


def test_prompts_are_texts_messages_or_lists(lm):
    text, messages = "hello", [{"role": "user", "content": "hello"}]
    one, other = midspan.generate(lm, text, **SMALL), midspan.generate(lm, messages, **SMALL)
    both = midspan.generate(lm, [text, messages], seed=3, **SMALL)
    assert one.text == other.text == both[0].text == both[1].text == str(one)
    assert [answer.seed for answer in both] == [3, 4] and midspan.generate(lm, []) == []
    fixed = midspan.generate(lm, text, anchors={5: "the next step is"}, **SMALL)
    assert [row["position"] for row in fixed.records if row["step"] == -1] == [5, 6, 7, 8]


def test_an_answer_shows_a_page_of_its_own(lm):
    answer = midspan.generate(lm, 'say "</script>" & <b>', **SMALL)
    shown = answer._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and shown.count("<") == 2
    assert "player-data" in shown and "default-src" in shown
    assert answer.figure().axes[0].get_xlabel() == "step" and len(repr(answer)) < 140


def test_behaviors_are_a_list_a_file_or_a_spec(lm, tmp_path):
    fields = {"judge": "refusal-keywords", "decoding": SMALL, "seed": 0}
    listed = midspan.attack(lm, "direct", behaviors=["go", "stay"], helpers={}, **fields)
    assert [row["request"] for row in listed.records] == ["go", "stay"]
    file = tmp_path / "own.txt"
    file.write_text("go\nstay\n")
    read = midspan.attack(lm, "direct", behaviors=file, **fields)
    assert [row["attempts"] for row in read.records] == [row["attempts"] for row in listed.records]


def test_a_judge_may_be_an_object(lm):
    judge = keyword_judge()
    result = midspan.attack(
        lm, "direct", behaviors="organism:1", judge=[judge, "exact"], decoding=SMALL
    )
    assert result.judges == ("refusal-keywords-v2", "exact")
    assert result.records[0]["outcome"].keys() == set(result.judges)


@pytest.mark.parametrize(
    "call",
    [
        lambda lm: midspan.attack(lm, "tap", dpth=3),
        lambda lm: midspan.attack(lm, "tap", depth="deep"),
        lambda lm: midspan.attack(lm, "nothing"),
        lambda lm: midspan.attack(lm, "tap", behaviors=["a", "a"]),
        lambda lm: midspan.attack([], "tap"),
        lambda lm: midspan.attack([lm, lm], "tap"),
        lambda lm: midspan.probe("nothing", lm),
        lambda lm: midspan.probe("order", lm, shufles=2),
        lambda lm: midspan.probe("order", 3),
        lambda lm: midspan.evaluate(lm, "nothing"),
        lambda lm: midspan.evaluate(lm, "arithmetic", itms=2),
        lambda lm: midspan.study("nothing"),
        lambda lm: midspan.study("demo-smoke", stps=2),
        lambda lm: midspan.study("demo-smoke", parts=["a"]),
        lambda lm: midspan.generate(lm, "hello", stps=2),
        lambda lm: midspan.generate(lm, 3),
        lambda lm: midspan.align(lm, None, "nothing"),
        lambda lm: midspan.align(lm, None, lambda: None),
        lambda lm: midspan.align(lm, None, "mosa", nothing=2),
    ],
)
def test_wrong_calls_are_one_line(lm, call):
    with pytest.raises(MidspanError) as caught:
        call(lm)
    assert "\n" not in str(caught.value)


def test_pandas_is_used_where_there_is_one(attacked, monkeypatch):
    class Frame:
        from_records = staticmethod(list)

    monkeypatch.setitem(sys.modules, "pandas", type("pandas", (), {"DataFrame": Frame}))
    assert attacked[0].to_pandas() == attacked[0].records
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MidspanError, match="pip install pandas"):
        attacked[0].to_pandas()


def test_progress_can_be_had_or_not(lm, capfd):
    midspan.evaluate(lm, "arithmetic", items=1, progress=False)
    midspan.evaluate(lm, "arithmetic", items=1)  # nobody looks at a terminal here
    assert capfd.readouterr().err == ""
    midspan.evaluate(lm, "arithmetic", items=1, progress=True)
    assert "arithmetic (organism), organism:mosa: done (1/1)" in capfd.readouterr().err


def test_temporary_folders_go_with_the_process(warm_python):
    code = (
        "import midspan; lm = midspan.load('organism');"
        "print(midspan.evaluate(lm, 'arithmetic', items=1).report)"
    )
    done = warm_python.run("-c", code)
    from pathlib import Path

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("report.html")
    assert not Path(done.stdout.strip()).parent.parent.exists()


def test_align_has_the_same_default_recipe_as_its_command():
    from midspan.commands.align import align as command

    recipe = inspect.signature(midspan.align).parameters["recipe"].default
    assert recipe == inspect.signature(command).parameters["objective"].default


def test_what_ends_a_command_with_status_1_is_a_warning(lm, caplog):
    def judge(behavior, response):
        raise KeyError("oops")

    run = midspan.attack(
        lm, "direct", behaviors="organism:1", judge=ExactJudge(judge, "mine"), decoding=SMALL,
    )  # fmt: skip
    assert run.records[0]["attempts"][0]["verdicts"]["mine"]["failure"] == "error"
    warnings = [record.getMessage() for record in caplog.records if record.name == "midspan"]
    assert [line.partition(" (")[0] for line in warnings] == [
        "mine: not one answer came",
        "1 behaviors met an error in the code of an attack, task or judge",
    ]
