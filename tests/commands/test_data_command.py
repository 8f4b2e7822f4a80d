"""``midspan data``, and the data of ``midspan align``: what is said, and what is refused."""

import sys

import pytest

from midspan.cli import main
from midspan.data import BENCHMARKS
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.training import TrainingData, load_training_data

PROMPTS = ("how do i bake a cake with cherries ?", "tell me about the old town square")


@pytest.fixture
def midspan(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["midspan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS), encoding="utf-8")
    return path


def test_registered_sets_are_listed(midspan):
    code, output, _ = midspan("data")
    assert code == 0 and [line.split()[0] for line in output.splitlines()] == list(BENCHMARKS)
    assert all("gated" in line for line in output.splitlines() if line.startswith("sorry"))


def test_a_set_is_described_without_its_texts(midspan, prompts):
    code, output, _ = midspan("data", f"{prompts}:1")
    assert code == 0 and "cake" not in output and "town" not in output
    said = dict(line.split(maxsplit=1) for line in output.splitlines())
    assert said["behaviors"] == "1" and len(said["sha256"]) == 64
    assert said["licence"] == "licence unknown" and said["source"] == str(prompts)


def test_an_organisms_set_is_described_too(midspan):
    code, output, error = midspan("data", "organism2:held-out:4")
    assert code == 0 and "held out 4" in output and "--behaviors organism2:held-out:4" in error
    code, _, error = midspan("data", "organism2:held:4")
    assert code == 2 and "organism2:held-out:N" in error


def test_prompts_that_the_evaluation_asks_are_refused(midspan, prompts, tmp_path):
    evaluation = tmp_path / "evaluation.txt"
    evaluation.write_text(f"sing a song\n{PROMPTS[0].upper()}", encoding="utf-8")
    command = ("align", "organism", "-o", tmp_path / "a", "--behaviors", prompts)
    code, _, error = midspan(*command, "--exclude", evaluation)
    assert code == 2 and "1 of 2 training prompts" in error and "--allow-overlap" in error
    assert "cake" not in error.lower() and not (tmp_path / "a").exists()
    (tmp_path / "none.txt").touch()
    # Allowed, it is said, and the run goes on to the next refusal.
    code, output, error = midspan(
        *command, "--exclude", evaluation, "--allow-overlap", "--benign", tmp_path / "none.txt"
    )
    assert "1 of 2 prompts repeat" in output and code == 2 and "none.txt" in error


def test_an_exclusion_without_prompts_is_refused(midspan, prompts, tmp_path):
    code, _, error = midspan("align", "organism", "-o", tmp_path / "a", "--exclude", prompts)
    assert code == 2 and "--behaviors" in error


@pytest.fixture
def own(tmp_path):
    """Two files of requests, each under a name that midspan does not know."""
    (tmp_path / "a.csv").write_text("wish,n\nlight the lamp,1\npaint the gate,2\n")
    (tmp_path / "b.csv").write_text("plea\nbake a cake\nsing a song\n")
    return tmp_path / "a.csv", tmp_path / "b.csv"


def test_an_unknown_column_is_named_on_the_command_line(midspan, own):
    code, _, error = midspan("data", own[0])
    assert code == 2 and "it has wish, n" in error and "--column" in error
    code, output, _ = midspan("data", own[0], "--column", "wish")
    assert code == 0 and "different prompts  2" in output
    code, _, error = midspan("data", own[0], "--column", "wishes")
    assert code == 2 and "no column wishes; it has wish, n" in error


@pytest.mark.parametrize(
    "command",
    [
        ("attack", "nowhere", "--method", "direct", "--judge", "refusal-keywords", "--behaviors"),
        ("align", "nowhere", "--objective", "mosa", "-o", "out", "--behaviors"),
        ("probe", "prefill", "nowhere", "--behaviors"),
    ],
)
def test_every_command_that_reads_requests_takes_columns(
    midspan, own, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where the commands' own folders are nobody's
    (tmp_path / "nowhere").mkdir()
    first, second = own
    code, _, error = midspan(*command, first)
    assert code == 2 and "--column" in error
    # With it, the next fault is that of the model.
    both = () if command[0] == "attack" else ("--benign", second, "--column", "plea")
    code, _, error = midspan(*command, first, "--column", "wish", *both)
    assert code == 2 and "nowhere" in error and "config.json" in error


def test_a_registered_set_needs_no_column_beside_a_file_that_does(own):
    names = TrainingData(harmful=str(own[0]), benign=str(own[1]), column=("wish", "plea"))
    found = load_training_data(names, "base")
    assert [example.prompt for example in found.benign] == ["bake a cake", "sing a song"]
    assert RedteamConfig.model_fields["column"].default is None  # as in runs of before
