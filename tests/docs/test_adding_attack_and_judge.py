"""docs/adding-an-attack.md and docs/adding-a-judge.md: the attack asks and the judge judges."""

import re
import sys
from pathlib import Path

import midspan
from midspan import attacks
from midspan.data import Behavior
from midspan.engine.calls import Judge
from midspan.engine.roles import Scripted, SeededCall
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.journal.journal import Journal
from midspan.studies.redteam import roles

DOCS = Path(__file__).parents[2] / "docs"


def names_of(page):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    names = {}
    exec("\n".join(blocks), names)
    return names


def test_the_guides_attack_runs_and_its_judges_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attack, judge = names_of("adding-an-attack.md"), names_of("adding-a-judge.md")
    target = Scripted(lambda call, rng: call.messages[-1]["content"], "echo-v1")
    job = AttackJob(
        attack["ATTACK"], attack["PoliteConfig"](), Behavior("b", "go"), {"target": target}
    )
    with Journal(tmp_path / "journal.jsonl") as journal:
        (result,) = run_attacks([job], journal)
    said = [attempt.response for attempt in result.attempts]
    assert said == ["go", "please go", "please please go"] and result.stop == "exhausted"
    assert not judge["count_steps"](Behavior("b", "go"), "1. one").success
    assert judge["count_steps"](Behavior("b", "go"), "1. a\n2. b\n3. c").success
    case = SeededCall(Judge(Behavior("b", "go"), "gone"), 0)
    ((_, reply),) = judge["rated"].answer([case])
    assert judge["rated"].read(case.call, reply.raw).success
    assert "Said: gone" in judge["rated"].describe(case.call)["messages"][0]["content"]


def test_both_are_known_by_name_once_they_are_put_where_the_guides_say(
    organism_lm, tmp_path, monkeypatch
):
    """An attack is a file in the folder of attacks, a judge that is code a line of ``_SIMPLE``."""
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "adding-an-attack.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "polite.py").write_text(code)
    monkeypatch.setattr(attacks, "__path__", [*attacks.__path__, str(tmp_path)])
    count_steps = names_of("adding-a-judge.md")["judge"]
    known = {**roles._SIMPLE, "count-steps": (lambda: count_steps, False)}
    monkeypatch.setattr(roles, "_SIMPLE", known)
    small = {"length": 8, "block_length": 8, "steps": 2}
    fields = {"behaviors": "organism:1", "judge": "count-steps", "decoding": small}
    try:
        result = midspan.attack(organism_lm, "polite", tries=2, progress=False, **fields)
    finally:
        sys.modules.pop("midspan.attacks.polite", None)
    (record,) = result.records
    assert "polite" in attacks.list_attacks() and len(record["attempts"]) == 2
    assert [next(iter(one["verdicts"])) for one in record["attempts"]] == ["count-steps"] * 2
    assert record["attempts"][1]["messages"][-1]["content"].startswith("please ")
