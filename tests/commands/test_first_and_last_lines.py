"""Every command of the tree says first what it does, and last where the result is and what next."""

import re
import shlex
import sys
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
from typer.main import get_command

from midspan.cli import main
from midspan.commands import app
from midspan.commands.choices import EXPORTS
from midspan.commands.probe import PROBES

# Says what stands in bug reports, and computes nothing.
WITHOUT = {("env",)}
# Commands whose standard output is data or their own text: what is said of the call is elsewhere.
CLEAN = {
    "generate", "merge", "data", "report", "compare", "export", "push", "doctor",
    "organism inspect", "organism train", "probe fidelity",
}  # fmt: skip
# A call of every command, at least one. {out} is a run folder, {there} another one.
CALLS = {
    "demo": ["demo -o {out}", "demo --smoke -o {out}", "demo --dry-run"],
    "generate": [
        "generate organism -p 'a b'", "generate organism -p x --watch",
        "generate organism -p x --json made.json", "generate http://h:1/v1#m -p x",
    ],
    "align": ["align organism -o {out}", "align organism -o {out} --dry-run"],
    "attack": ["attack organism --method direct --behaviors organism:1 --judge exact -o {out}"],
    "audit": ["audit organism -o {out}", "audit organism --dry-run"],
    "study": [
        "study -o {out}", "study --part prefill -o {out}", "study --preset demo -o {out}",
        "study --dry-run --part order",
    ],
    "serve": ["serve organism --port 0"],
    "play": ["play --no-browser"],
    "merge": ["merge organism:psa -o {out}", "merge organism:psa --adapter-only -o {out}"],
    "data": ["data", "data asked.txt"],
    "task": ["task organism --task choice -o {out}", "task organism --task choice --dry-run"],
    "report": ["report {there}", "report {there} --open"],
    "compare": ["compare {there} {there}", "compare {there} {there} --open --page page.html"],
    "export": [f"export {{there}} --to {tool} -o {{out}}" for tool in EXPORTS],
    "push": ["push {there} --repo a/b", "push {there} --repo a/b --yes"],
    "doctor": ["doctor", "doctor --deep organism"],
    "organism train": ["organism train -o {out}", "organism train --second -o {out}"],
    "organism verify": ["organism verify -o {out}", "organism verify --second -o {out}"],
    "organism inspect": [
        "organism inspect -n 1", "organism inspect --item 'Aldfenn sigil'",
        "organism inspect --item Aldfenn --text ink",
    ],
    "judge calibrate": ["judge calibrate exact -o {out}"],
    "probe fidelity": ["probe fidelity organism -n 1"],
    **{f"probe {name}": [f"probe {name} organism -o {{out}}"] for name in PROBES},
}  # fmt: skip


def commands(command, name=()):
    if children := getattr(command, "commands", {}):
        for word, child in children.items():
            yield from commands(child, (*name, word))
    else:
        yield name


NAMES = [name for name in commands(get_command(app)) if name not in WITHOUT]


@pytest.fixture
def idle(monkeypatch, organism_lm):
    """All that takes long, replaced: what is tested is said around it."""
    page = Path("report.html")

    def made(*given, **options):
        """The result of any run."""
        return SimpleNamespace(
            report=page, problems=(), cells={}, audit=None, missing=(), records=[], stopped="",
            seconds=1, folder=Path("new"), rows=lambda: [("agree", "1")], to_dict=dict,
            uploads=(), left_out=(), caption="", met=True,
        )  # fmt: skip

    def folder(*given, **options):
        return Path("new")

    replaced = {
        "commands.align.load_model": made, "commands.align._train": made,
        "commands.generate._local": lambda *given: ("yes", {"forwards": 3}),
        "commands.generate._served": lambda *given: ("yes", {}),
        "commands.report._report_of": lambda run: SimpleNamespace(redact=False),
        "commands.report._show": made, "commands.doctor._decode_an_answer": lambda: True,
        "commands.doctor._examine": lambda model: True,
        "commands.fidelity.load_model": lambda spec: organism_lm,
        "commands.fidelity._behaviors": lambda *given: ([], made, ""),
        "commands.probe._say_window": made,
        "commands.options.load_model": made,
        "studies.organism.demo.run.run_demo": made, "studies.redteam.shares.run_shared": made,
        "studies.audit.run.run_audit": made, "studies.paper.run.run_parts": made,
        "studies.paper.forecast.forecast": lambda *given: [],
        "studies.paper.other_forecasts.of_demo": lambda *given: [],
        "studies.audit.forecast.forecast": lambda prepared: [],
        "studies.paper.rates.training_hours": lambda *given: 1.0,
        "studies.paper.forecast.forecast_table": made,
        "report.tables.table_text": lambda table: "", "report.write_report": lambda *given: page,
        "models.sharing.load_sharing": lambda models, **options: dict.fromkeys(models),
        "serve.server.run": lambda models, settings, tokens, told: told("http://127.0.0.1:80"),
        "models.merging.merge": folder, "models.merging.publish_adapter": folder,
        "studies.tasks.run.run_tasks": lambda *given, **options: [1],
        "studies.tasks.run.problems_of": lambda results: (),
        "studies.tasks.run.estimate": lambda prepared: [],
        "studies.tasks.prepare.prepare": made, "studies.tasks.page.text": str,
        "runs.folder.FinishedRun.open": made, "runs.compare.compare_runs": made,
        "runs.compare.change_table": made, "runs.compare_page.comparison_page": made,
        "report.page.render": lambda page: "", "adapters.exports.export": lambda *given: iter(()),
        "adapters.publishing.package": made, "adapters.hub.push": lambda *given: "address",
        "organism.training.train": folder, "organism.second.make.make": folder,
        "studies.organism.verify.run.verify": lambda *given: [
            SimpleNamespace(name="a", decoding="b", estimate="c", target="d", tone="good")
        ],
        "studies.organism.second.verify.verify": lambda *given: [],
        "judges.calibration.calibrate": made,
        "studies.probes.prepare.prepare": made, "studies.probes.run.run_prepared": made,
        "probes.fidelity.fidelity": made,
    }  # fmt: skip
    for name in replaced:
        # A module that were imported later would keep another's stubs.
        resolve_name(f"midspan.{name}")
    for name, stub in replaced.items():
        monkeypatch.setattr(f"midspan.{name}", stub)


@pytest.fixture
def said(monkeypatch, capsys, tmp_path, idle):
    """What a call says on both streams; it is at an end without a fault."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.txt").write_text("how do i bake a cake ?\n")
    for name in ("there", "new"):
        (tmp_path / name).mkdir()

    def call(line):
        words = shlex.split(line.format(out="new", there="there"))
        monkeypatch.setattr(sys, "argv", ["midspan", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        given = capsys.readouterr()
        assert not ended.value.code, given.err
        return given

    return call


def parse(words):
    """Check a command line as the command itself would: every name and option of it."""
    command, left = get_command(app), list(words)
    while left and left[0] in getattr(command, "commands", {}):
        command = command.commands[left.pop(0)]
    command.make_context(" ".join(words), left)


@pytest.mark.parametrize("name", NAMES, ids=" ".join)
def test_every_command_says_first_and_last_what_a_user_needs(name, said):
    calls = CALLS.get(" ".join(name))
    assert calls, f"{name}: give it a call in CALLS, and first and last lines (commands/ends.py)"
    for line in calls:
        given = said(line)
        first, *_ = given.err.splitlines()
        assert re.fullmatch(r"[A-Z][a-z]+ .+[;,] .+", first), (line, given)
        nexts = [one for one in (given.out + given.err).splitlines() if one.startswith("Next")]
        if name not in (("play",), ("judge", "calibrate")):
            following = shlex.split(nexts[-1].partition(": ")[2])
            assert following[0] in ("midspan", "inspect", "hf"), nexts
            if following[0] == "midspan" and following[1:] != ["attack", "--help"]:
                parse(following[1:])
        if name[0] not in ("serve", "play"):
            is_clean = " ".join(name) in CLEAN or "--dry-run" in line
            last = (given.err if is_clean else given.out).splitlines()[-2:]
            assert re.match(r"(Done in|Kept|Trained in)", last[0]), (line, given)
            assert last[1].startswith("Next"), (line, given)
        if " ".join(name) in CLEAN:
            assert not re.search(r"^(Next|Done)", given.out, re.MULTILINE), line


def test_no_call_is_of_a_command_that_is_gone():
    assert set(CALLS) == {" ".join(name) for name in NAMES}
