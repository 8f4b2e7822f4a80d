"""Options win over the file of ``--config`` field by field: what else its groups hold stays."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from midspan.commands import app
from midspan.engine.budget import Budget
from midspan.errors import MidspanError


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Calls a command with a file of configuration; returns the config that it comes to."""

    class Reached(Exception):
        """The command knows its config."""

    def reached(*configs, **_):
        raise Reached(*configs)

    idle = SimpleNamespace(tokens=None, config=None)
    monkeypatch.setattr("midspan.alignment.check_data", lambda _, recipe: reached(recipe))
    monkeypatch.setattr("midspan.commands.attack.run_and_print", reached)
    monkeypatch.setattr("midspan.models.load", lambda *_, **__: idle)
    monkeypatch.setattr("midspan.studies.choice.run.run_choice", reached)

    def call(line, file):
        (tmp_path / "c.yaml").write_text(file)
        words = [*line.split(), "-o", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]
        ended = CliRunner().invoke(app, words)
        if not isinstance(ended.exception, Reached):
            raise ended.exception
        return ended.exception.args[0]

    return call


@pytest.mark.parametrize(
    ("options", "file", "expected"),
    [
        ("--probe-every 50", "{every: 25, max_benign_kl: 0.5}", (50, 0.5, None)),
        ("--max-benign-kl 0.5", "{every: 25}", (25, 0.5, None)),
        ("--max-benign-kl 0.5", "{every: 25, max_benign_kl: 0.1}", (25, 0.5, None)),
        ("--max-refusal-drop 3", "{every: 9, max_benign_kl: 0.1}", (9, 0.1, 3)),
        ("--num-prompts 8", "{every: 25, max_benign_kl: 0.5}", (25, 0.5, None)),
    ],
)
def test_an_option_of_probes_keeps_the_file_s_other_limits(asked, options, file, expected):
    probes = asked(f"align organism {options}", f"probes: {file}\n").probes
    assert (probes.every, probes.max_benign_kl, probes.max_refusal_drop) == expected


def test_a_limit_without_probes_in_the_file_is_refused_still(asked):
    with pytest.raises(MidspanError, match="max_benign_kl needs probes; set every"):
        asked("align organism --max-benign-kl 0.5", "response_length: 64\n")


def test_responses_of_the_target_keep_the_file_s_other_budgets(asked):
    line = "attack organism --method direct --budget 3"
    assert asked(line, "budget: {target: 9, helper: 5}\n").budget == Budget(target=3, helper=5)
    assert asked(line, "seed: 2\n").budget == Budget(target=3)


def test_a_calibration_keeps_those_of_other_judges(asked, tmp_path):
    file = tmp_path / "own.json"
    file.write_text("{}")
    line = f"attack organism --method direct --calibration exact={file}"
    judges = "judges: [exact, refusal-keywords]\n"
    config = asked(line, f"{judges}calibrations: {{exact: a.json, refusal-keywords: b.json}}\n")
    assert config.calibrations == {"exact": str(file), "refusal-keywords": "b.json"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", (200, 250, 4)), ("-n 300 --batch-size 2", (300, 300, 2))],
)
def test_requests_to_choose_on_win_over_the_file(asked, options, expected):
    file = "choose: {n: 200, held_out: 250, batch_size: 4}\n"
    choice = asked(f"probe fidelity organism --choose {options}", file).choice
    assert (choice.n, choice.held_out, choice.batch_size) == expected
