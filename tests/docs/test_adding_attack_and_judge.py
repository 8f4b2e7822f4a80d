"""docs/adding-an-attack.md and docs/adding-a-judge.md: the attack asks and the judge judges."""

import re
from pathlib import Path

from midspan.data import Behavior
from midspan.engine.calls import Judge
from midspan.engine.roles import Scripted, SeededCall
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.journal.journal import Journal

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
