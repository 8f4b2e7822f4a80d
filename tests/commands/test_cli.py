"""The command line as a user meets it."""

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from midspan.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def midspan(monkeypatch, capsys):
    """Run the command line inside this process, so that torch is imported once."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["midspan", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Done(int(ended.value.code or 0), output.out, output.err)

    return run


HEAVY = {"torch", "transformers", "peft", "accelerate", "numpy", "matplotlib", "jinja2"}
MAIN = "from midspan.cli import main; main()"
IMPORTED = """
import sys
sys.argv = ["midspan", *{arguments}]
try:
    {start}
except SystemExit:
    pass
names = {{name.partition(".")[0] for name in sys.modules}}
print(len(sys.modules), *sorted(names), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("start", "arguments", "most", "heavy"),
    [
        ("import midspan", (), 150, HEAVY | {"pydantic", "typer", "rich"}),
        (MAIN, ("--help",), 450, HEAVY | {"pydantic"}),
        # Typer itself reads options through pydantic.
        (MAIN, ("attack", "--help"), 700, HEAVY),
        (MAIN, ("report", "--help"), 600, HEAVY),
    ],
)
def test_the_start_imports_nothing_heavy(start, arguments, most, heavy):
    """Modules are counted, not seconds, which would depend on the machine's other work."""
    code = IMPORTED.format(start=start, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and ("Usage: midspan" in done.stdout) == bool(arguments)
    count, *names = done.stderr.split()
    assert "midspan" in names and not heavy & set(names)
    assert int(count) <= most


def test_a_short_answer_waits_for_torch_alone():
    """What transformers would import takes longer than the rest of the command."""
    words = ("generate", "organism", "-p", "hello", "--length", "8", "--steps", "2")
    code = (
        f"import sys; sys.argv[1:] = {words}\n"
        "from midspan.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    loaded = set(done.stderr.split())
    assert "torch" in loaded and "midspan.models.bare" in loaded
    heavy = {"torch._dynamo", "torch.distributed.tensor", "sympy", "scipy", "accelerate", "peft"}
    assert not loaded & (heavy | {"transformers", "huggingface_hub", "jinja2", "matplotlib"})


@pytest.mark.parametrize(
    ("arguments", "loads"),
    [(["--version"], set()), (["compare", "a", "b"], {"report"}), (["audti"], {"audit", "study"})],
)
def test_a_line_that_names_a_command_imports_that_one_alone(arguments, loads):
    code = (
        "import sys, midspan.commands as commands\n"
        f"commands.app_for({arguments})\n"
        "homes = {home.partition(':')[0] for home in commands.COMMANDS.values()}\n"
        "print(*(home for home in homes if f'midspan.commands.{home}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert loaded == loads or (arguments == ["audti"] and loaded > loads), done.stderr


def test_version(midspan):
    from midspan import __version__

    assert midspan("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "organism", "-p", "hello", "--steps", "7", "--block-length", "32"), "steps"),
        (("generate", "organism", "-p", "hello", "--length", "640"), "512"),
        (
            ("generate", "organism", "-p", "hello", "--parallel-factor", "1", "--threshold", ".9"),
            "not both",
        ),
        (("generate", "organism", "-p", "hello", "--anchor", "the next step"), "POSITION:PHRASE"),
        (("task", "organism"), "--task or --lm-eval: give one"),
        (("task", "organism", "--task", "gsm8k", "--data", "gsm8k="), "write NAME=FILE"),
        (("task", "organism", "--task", "humaneval"), "--allow-code"),
        (("task", "organism", "--task", "gsm8k", "--data", "gsm8k=none"), "there is no none"),
        (("task", "organism", "organism:psa", "--lm-eval", "arc_challenge"), "takes one model"),
        (("generate", "organism", "-p", "hello", "--anchor", "126:the next step is to"), "canvas"),
        (
            ("generate", "organism", "-p", "hello", "--anchor", "4:now hold the",
             "--anchor", "5:then turn it and"),
            "overlap",
        ),
        (("generate", "organism", "-p", "hello", "--anchor", "4:zzyzx"), "vocabulary"),
        (("generate", "/no/such/folder", "-p", "hello"), "/no/such/folder"),
        (("generate", "organism:nothing", "-p", "hello"), "no such adapter"),
        (
            ("attack", "owner/name", "--method", "direct", "--behaviors", "organism2:1"),
            "--judge: name one, such as exact, which counts the facts",
        ),
        (
            ("attack", "owner/name", "--method", "direct", "--behaviors", "advbench:4"),
            "--judge: name one, such as strongreject=MODEL",
        ),
        (("align", "organism", "-o", "/tmp/x", "--objective", "best"), "--objective"),
        (("align", "organism", "-o", "/tmp/x", "--behaviors", "/no/file.txt"), "/no/file.txt"),
        (("align", "organism", "-o", "/dev/null/x"), "cannot write"),
        (("align", "organism", "-o", "/tmp/x", "--track", "x"), "track: must be one of none"),
        (("demo", "--smoke", "-o", "/dev/null/x"), "cannot write"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(midspan, arguments, message):
    done = midspan(*arguments)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("midspan: ")]
    assert len(lines) == 1 and message in lines[0]
    assert "Traceback" not in done.stderr


def test_window_beyond_the_canvas_is_refused_by_name(midspan, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("response_length: 40\n", encoding="utf-8")
    done = midspan("align", "organism", "-o", str(tmp_path / "a"), "--config", str(config))
    assert done.returncode == 2 and "beyond the canvas" in done.stderr
    config.write_text("windows: 3\n", encoding="utf-8")
    done = midspan("align", "organism", "-o", str(tmp_path / "a"), "--config", str(config))
    assert done.returncode == 2 and "windows" in done.stderr


def test_generate_writes_text_settings_and_trace(midspan, tmp_path):
    output = tmp_path / "made.json"
    done = midspan(
        "generate", "organism", "-p", "what is 4 plus 5 ?", "--length", "32", "--steps", "32",
        "--watch", "--json", str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(output.read_text(encoding="utf-8"))
    assert made["text"] == "4 plus 5 is 9." and made["text"] in done.stdout
    assert made["settings"]["steps"] == 32 and made["settings"]["eos_policy"] == "model"
    assert len(made["trace"]["position"]) == len(made["trace"]["step"]) > 0


def test_generate_accelerates_by_options(midspan, tmp_path):
    output = tmp_path / "made.json"
    done = midspan(
        "generate", "organism", "-p", "what is 4 plus 5 ?", "--length", "32", "--sampler", "llada",
        "--cache", "prefix", "--threshold", "0.95", "--json", str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(output.read_text(encoding="utf-8"))
    assert (made["settings"]["cache"], made["settings"]["threshold"]) == ("prefix", 0.95)
    assert made["exact"] is False and made["forwards"] < 32


def test_anchor_stays_in_the_answer(midspan):
    done = midspan(
        "generate", "organism", "-p", "how do i make the wooden thing ?",
        "--anchor", "40:the next step is to", "--steps", "32",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_doctor_says_that_midspan_works(midspan):
    done = midspan("doctor")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "midspan works here." in done.stdout


def test_doctor_looks_at_a_model(midspan, tmp_path):
    done = midspan("doctor", "--deep", "organism")
    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok    batch against alone   48 of 48") for line in lines)
    assert lines[-1] == "15 ok, 0 notes, 0 faults"
    done = midspan("doctor", "--deep", str(tmp_path))
    assert done.returncode == 1
    assert "fault loading               config.json is missing in" in done.stdout
