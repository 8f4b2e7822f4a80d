"""Shells complete commands, options and names: as they ask for it, and without what is heavy."""

import os
import shutil
import subprocess
import sys

import pytest

from midspan.commands import choices
from midspan.commands.completion import joined

# What bash calls by the function that `--show-completion bash` prints: a program of this name.
PROGRAM = "#!{python}\nfrom midspan.cli import main\nmain()\n"
ASKED = """
eval "$(midspan --show-completion bash)"
asked() {{
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _midspan_completion midspan
    echo "${{COMPREPLY[*]}}"
}}
{calls}
"""
# One command is loaded for words like these, and its values stand in the lists of `choices`.
VALUES = {
    ("attack", "organism", "--method", "t"): ["tap", "templates", "trajhijack"],
    ("align", "organism", "--objective", "mo"): ["mosa", "mosa-stable"],
    ("align", "organism", "--objective", "=", "mo"): ["mosa", "mosa-stable"],
    ("task", "organism", "--task", "hu"): ["humaneval"],
    ("study", "--preset", "organism-w"): ["organism-words", "organism-weights"],
    ("study", "--part", "pre"): ["prefill"],
    ("audit", "organism", "--tier", ""): list(choices.TIERS),
    ("generate", "organism", ":", "ps"): ["psa"],
    ("generate", "organism", ":", ""): ["mini", *choices.ORGANISM_ADAPTERS],
    ("generate", "organism2", ":", ""): ["helpful", *choices.ORGANISM2_ADAPTERS],
    ("generate", "mod"): ["models"],
    ("generate", "organism+mod"): ["organism+models"],
    ("generate", "models/"): ["models/mine"],
    ("attack", "organism", "--judge", "harm", "=", "organism", ":", "ps"): ["psa"],
    ("attack", "organism", "--judge", "xst"): ["xstest-strmatch", "xstest="],
    ("attack", "organism", "--behaviors", "harmbench-"): ["harmbench-standard", "harmbench-all"],
    ("probe", "monitors", "organism", "--conditions", "wr"): ["wrapped"],
    ("probe", "monitors", "organism", "--monitors", "p"): ["p_eos"],
    ("probe", "window", "organism", "--phrase-kind", "af"): ["affirmative"],
    ("serve", "organism", "--rule", "self"): ["self_reminder"],
    ("compare", "runs/"): [],
}
COMPLETED = """
import io, json, os, sys
from contextlib import redirect_stdout
from midspan.cli import main
sys.argv = ["midspan"]
calls, answers = json.load(sys.stdin), []
for words in calls:
    os.environ |= {"_MIDSPAN_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words)),
                   "COMP_WORDS": "\\n".join(["midspan", *words])}
    with redirect_stdout(io.StringIO()) as found:
        try:
            main()
        except SystemExit:
            pass
    answers.append(found.getvalue().split())
heavy = {"torch", "transformers", "matplotlib"} & set(sys.modules)
json.dump([answers, sorted(heavy)], sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("completing")
    (place / "models/mine").mkdir(parents=True)
    (place / "models/.hidden").mkdir()
    return place


def test_every_kind_of_name_is_completed_and_nothing_heavy_is_imported(folder):
    import json

    done = subprocess.run(
        [sys.executable, "-c", COMPLETED], input=json.dumps(list(VALUES)), cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers, heavy = json.loads(done.stdout)
    assert dict(zip(VALUES, answers, strict=True)) == VALUES
    assert heavy == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_by_the_function_that_is_shown(folder):
    program = folder / "bin/midspan"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    calls = ('asked midspan generate organism : ps', 'asked midspan au')  # fmt: skip
    env = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    script = ASKED.format(calls="\n".join(calls))
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=env, cwd=folder, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["psa", "audit"], done.stderr


@pytest.mark.parametrize(
    ("words", "current", "whole"),
    [
        (["m", "g", "a:b"], 2, (["m", "g", "a:b"], 2)),
        (["m", "g", "organism", ":", "mo"], 4, (["m", "g", "organism:mo"], 2)),
        (["m", "g", "organism", ":", "psa", "-"], 5, (["m", "g", "organism:psa", "-"], 3)),
        (["m", "g", "http", ":", "//h", ":", "1/v1#m"], 6, (["m", "g", "http://h:1/v1#m"], 2)),
        (["m", "a", "--tier", "=", "q"], 4, (["m", "a", "--tier", "q"], 3)),
        (["m", "a", "--judge", "harm", "=", "x"], 5, (["m", "a", "--judge", "harm=x"], 3)),
        (["m", "a"], 2, (["m", "a", ""], 2)),
        # What stands behind the cursor is not looked at.
        (["m", "ge", "organism"], 1, (["m", "ge"], 1)),
    ],
)
def test_words_that_bash_parts_are_put_together(words, current, whole):
    assert joined(words, current) == whole
