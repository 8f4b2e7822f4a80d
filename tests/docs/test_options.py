"""Every option and command that a text names exists: documents, help, docstrings and messages."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import click
import pytest
from accelerate.commands.launch import launch_command_parser
from test_commands import BLOCK, PAGES, ROOT, SHELL, resolve
from torch.distributed.run import get_args_parser
from typer.main import get_command

from midspan.commands import app

SOURCE = ROOT / "src" / "midspan"
OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z][\w-]*")
# A call in a code span ends with the span; one in a sentence ends with its first punctuation.
# Variables of style sheets; a formatted string ends where the name's value begins.
STYLE = re.compile(r"var\(--[\w-]+\)|--[\w-]+(?=:)|--[\w-]+-$")
CALL = re.compile(
    # Other programs' `--model midspan` is no call.
    r"`midspan(?P<span> [^`]+)`"
    r"|(?<!--model )\bmidspan(?:\.cli)?(?P<words>(?: [^\s`()]*[^\s`().,;:])+)"
)


def options_of(command: click.Command) -> set[str]:
    return {"--help"}.union(*((*given.opts, *given.secondary_opts) for given in command.params))


def tree(command: click.Command, name: str = "midspan") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for word, child in getattr(command, "commands", {}).items():
        yield from tree(child, f"{name} {word}")


COMMANDS = dict(tree(get_command(app)))
OWN = set().union(*map(options_of, COMMANDS.values()))
# Options of other programs, for texts that name the program.
OTHERS = {
    "accelerate": set(launch_command_parser()._option_string_actions),
    "torchrun": set(get_args_parser()._option_string_actions),
    "pytest": set(
        OPTION.findall((ROOT / "tests" / "goldens" / "conftest.py").read_text(encoding="utf-8"))
    ),
    **dict.fromkeys(
        ("lm-eval", "lm_eval"),
        {"--batch_size", "--device", "--include_path", "--log_samples", "--model_args"}
        | {"--model", "--output_path", "--tasks"},
    ),
    "vllm": {"--max-num-seqs", "--port"},
    "ray start": {"--address", "--block", "--head", "--port"},
    "srun": {"--exclude", "--exclusive", "--gpus-per-node", "--nodelist", "--nodes", "--ntasks"}
    | {"--ntasks-per-node"},
    "sglang": {
        "--dllm-algorithm",
        "--max-running-requests",
        "--model-path",
        "--port",
        "--trust-remote-code",
    },
    "inspect": {
        "--epochs",
        "--extra-body",
        "--log-dir",
        "--max-connections",
        "--max-tokens",
        "--model-role",
        "--num-choices",
        "--stop-seqs",
        "--temperature",
        "--top-p",
        "--seed",
        "--model",
    },  # fmt: skip
    **{
        f"{folder}/": {
            option
            for path in (ROOT / folder).glob("*.py")
            for option in OPTION.findall(path.read_text(encoding="utf-8"))
        }
        for folder in ("benchmarks", "scripts")
    },
}


class Text(NamedTuple):
    """What is read, and the command whose help it is."""

    where: str
    text: str
    command: click.Command | None = None


def faults(given: Text) -> Iterator[str]:
    """Calls of commands that do not exist, and options that their command does not have."""
    lone = " ".join(given.text.split())
    for call in CALL.finditer(lone):
        arguments = (call["span"] or call["words"]).split()
        command, left = resolve(arguments)
        options = [option for word in left for option in OPTION.findall(word)]
        is_call = len(left) < len(arguments) or options or call["span"]
        is_group = hasattr(command, "commands") and left and not left[0].startswith("-")
        if not is_call:
            continue
        lone = lone.replace(call[0], "", 1)
        if is_group and (options or call["span"]):
            yield f"{given.where}: no such command: {call[0]}"
        else:
            unknown = [option for option in options if option not in options_of(command)]
            yield from (f"{given.where}: {call[0]} has no {option}" for option in unknown)
    known = options_of(given.command) if given.command else OWN
    known = known.union(*(OTHERS[name] for name in OTHERS if name in given.text))
    for option in OPTION.findall(lone):
        if option not in known:
            yield f"{given.where}: no such option: {option}"


def without_commands(page: str) -> str:
    """A page's text; its blocks of commands are parsed in test_commands."""
    return BLOCK.sub(lambda block: "" if block["language"] in SHELL else block[0], page)


def source_texts() -> Iterator[Text]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = STYLE.sub("", node.value)
                yield Text(f"{path.relative_to(ROOT)}:{node.lineno}", text)


def help_texts() -> Iterator[Text]:
    for name, command in COMMANDS.items():
        for text in (command.help, *(getattr(given, "help", None) for given in command.params)):
            yield Text(name, text or "", command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_what_exists(page):
    text = without_commands(page.read_text(encoding="utf-8"))
    assert not list(faults(Text(page.name, text)))


def test_strings_of_the_source_name_only_what_exists():
    texts = list(source_texts())
    assert sum(bool(OPTION.search(text.text)) for text in texts) > 30
    assert not [fault for text in texts for fault in faults(text)]


def test_help_names_only_the_command_s_own_options():
    assert not [fault for text in help_texts() for fault in faults(text)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Correct it: midspan study --calibration JUDGE=FILE.", "has no --calibration"),
        ("See `midspan judges`.", "no such command"),
        ("run midspan attacks --judge exact", "no such command"),
        ("`midspan attack organism\n--judges exact`", "has no --judges"),
        ("python -m midspan.cli task organism --tasks arithmetic", "has no --tasks"),
        ("Give --judges-of.", "no such option: --judges-of"),
        ("--nproc-per-node counts processes", "no such option"),
    ],
)
def test_a_false_name_is_noticed(text, fault):
    (found,) = faults(Text("page", text))
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        "midspan ships none; choose one with --judge (midspan attack) or --data.",
        "`midspan judge calibrate exact FILE --output F` and `midspan attack M --calibration J=F`",
        "torchrun --nproc-per-node 2 -m midspan.cli task organism --task arithmetic",
        "fill: var(--series-1); a--b; <!-- --",
    ],
)
def test_a_true_name_passes(text):
    assert not list(faults(Text("page", text)))


def test_the_help_of_a_command_is_about_itself():
    generate = COMMANDS["midspan generate"]
    assert not list(faults(Text("help", "With --watch.", generate)))
    assert list(faults(Text("help", "With --judge.", generate)))
