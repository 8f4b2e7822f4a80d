"""First and last lines of commands, and what Ctrl-C leaves."""

import shlex
import signal
import sys
import threading

import pytest
import typer
from typer.testing import CliRunner

from midspan.commands import ends
from midspan.commands.ends import (
    Group,
    Run,
    again,
    command_line,
    expected_responses,
    given_words,
    next_audit,
    spent,
    stopping_at,
)
from midspan.commands.ends import typed as pasted
from midspan.runs.processes import _unstopped


@pytest.fixture
def typed(monkeypatch):
    """Set the command line, as a shell hands it over."""

    def set_line(line):
        monkeypatch.setattr(sys, "argv", shlex.split(line))

    return set_line


def stopped(where=""):
    app = typer.Typer(cls=Group)

    @app.command()
    def work():
        raise KeyboardInterrupt(where)

    @app.command()
    def other():
        """So that the name stays a part of the command."""

    return CliRunner().invoke(app, ["work"])


def test_ctrl_c_says_the_command_that_continues_quoted_for_a_shell(typed):
    typed("midspan align organism -o 'my adapters/one'")
    done = stopped("at step 6 of 100 (goes on from step 5)")
    assert done.exit_code == 130
    assert done.stderr == (
        "midspan: stopped at step 6 of 100 (goes on from step 5); this continues it: "
        "midspan align organism -o 'my adapters/one'\n"
    )


@pytest.mark.parametrize("line", ["midspan data", "midspan organism inspect", "midspan"])
def test_ctrl_c_promises_nothing_of_what_begins_anew(typed, line):
    typed(line)
    assert stopped().stderr == "midspan: stopped\n"


@pytest.mark.parametrize(
    ("checkpoints", "said"),
    [((), "at step 6 of 100 (no checkpoint yet, so anew)"),
     ((5, 10), "at step 6 of 100 (goes on from step 10)")],
)  # fmt: skip
def test_a_stopped_training_says_what_is_kept(tmp_path, checkpoints, said):
    for step in checkpoints:
        (tmp_path / f"checkpoint-{step}").mkdir()
    with (
        pytest.raises(KeyboardInterrupt) as error,
        stopping_at(tmp_path, {"done": 6, "total": 100}),
    ):
        raise KeyboardInterrupt
    assert str(error.value) == said


def test_the_first_and_last_line_of_a_new_a_continued_and_a_kept_run(tmp_path, capsys):
    folder = tmp_path / "my runs"
    folder.mkdir()

    def call(computes, finishes):
        run = Run("tap on organism", folder, "at most 9 responses")
        if computes:
            with (folder / "journal.jsonl").open("a") as journal:
                journal.write("{}\n")
        if finishes:
            (folder / "records.jsonl").write_text("{}\n")
        run.end(folder / "report.html", "midspan", "audit", "a b")
        return capsys.readouterr()

    begun, continued, kept = call(True, False), call(True, True), call(False, True)
    place = shlex.quote(str(folder))
    assert begun.err == f"tap on organism; at most 9 responses; goes in {place}\n"
    assert continued.err.endswith(f"continues in {place}\n")
    report = shlex.quote(str(folder / "report.html"))
    assert begun.out == f"Done in 0 s. Open {report}\nNext: midspan audit 'a b'\n"
    assert continued.out == begun.out
    assert kept.out.startswith(f"Kept: nothing had to be computed again. Open {report}\n")


def test_a_line_to_be_pasted_names_midspan_as_this_shell_finds_it(tmp_path, monkeypatch):
    program = tmp_path / ".venv/bin/midspan"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "audit", "a b"])
    monkeypatch.setenv("PATH", "/nowhere")
    # Begun by its path, as make does, without an activated environment.
    assert again() == ".venv/bin/midspan audit 'a b'"
    assert command_line() == "midspan audit 'a b'"  # for run folders, alike everywhere
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr(sys, "argv", [str(program.resolve())])
    assert pasted("midspan", "env") == f"{program.relative_to(tmp_path.parent)} env"
    monkeypatch.setenv("PATH", str(program.parent))
    assert pasted("midspan", "env") == "midspan env"
    monkeypatch.setattr(sys, "argv", ["/src/midspan/cli.py"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert pasted("midspan", "env") == f"{sys.executable} -m midspan.cli env"
    assert pasted("inspect", "view") == "inspect view"


def test_the_command_is_given_without_an_option(typed):
    typed("midspan study --part order --dry-run --part=samples -p ''")
    assert given_words("--dry-run")[1:] == ["study", "--part", "order", "--part=samples", "-p", ""]
    assert given_words("--part", has_value=True)[1:] == ["study", "--dry-run", "-p", ""]


def test_a_time_is_said_in_seconds_or_minutes():
    assert (spent(0.4), spent(89), spent(150)) == ("0 s", "89 s", "2.5 min")


def test_one_process_of_several_says_how_its_results_are_collected(tmp_path, capsys, typed):
    typed("midspan attack organism")
    Run("tap", tmp_path).end(None)
    assert capsys.readouterr().out.endswith("Collect with one process: midspan attack organism\n")


def test_a_process_of_a_run_is_begun_deaf_to_ctrl_c():
    with _unstopped():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.fixture
def interrupts():
    """Ctrl-C raises, also where a shell began the tests in the background and has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_a_process_begins_is_not_lost(interrupts):
    with pytest.raises(KeyboardInterrupt), _unstopped():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        reached = True
    assert reached


def test_how_long_an_attack_takes_is_said_where_it_is_known(monkeypatch):
    monkeypatch.setattr(ends, "_ORGANISM_RESPONSE_SECONDS", 0.5)
    assert expected_responses(1200, ["organism"]) == (
        "at most 1,200 responses, about 10 min on one core"
    )
    assert expected_responses(1200, ["owner/model"]) == "at most 1,200 responses"


def test_the_next_audit_is_one_that_needs_nothing_named():
    assert next_audit("organism:psa") == (
        "midspan", "audit", "organism:psa", "-o", "runs/audit-organism-psa",
    )  # fmt: skip
    assert next_audit("organism", aligned=True)[2] == "organism:mosa-stable"
    assert next_audit("organism:mosa-stable", aligned=True) == next_audit("owner/model") == ()
