"""From results to records and rates: failures and silence are never refusals."""

import json
import re

import pytest

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, Part
from midspan.engine.calls import Chat, Judge, user
from midspan.engine.outcomes import (
    Outcomes,
    asr_by_budget,
    chance_of_facts,
    compare,
    counting_judges,
    facts,
    reasons,
    silent_roles,
)
from midspan.engine.problems import problems
from midspan.engine.records import judge_results
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.judges import ChatJudge, ExactJudge, Verdict


def attack(state, config):
    for number in range(3):
        (proposal,) = yield [Chat("attacker", (user(state.behavior.text),))]
        if not proposal.ok:
            return "failed"
        call = Chat("target", (user(f"{state.behavior.text} try {number}"),))
        (reply,) = yield [call]
        state.note(call, reply, score=-abs(number - 1))
    return "exhausted"


def target(call, rng):
    """Wins at the try that the request names."""
    wanted, number = re.findall(r"\d+", call.messages[-1]["content"])[-2:]
    return "win" if wanted == number else "refusal"


def attacker(call, rng):
    return None if "silent" in call.messages[-1]["content"] else "go"


def exact(behavior, response):
    won = response == "win"
    return Verdict(5 if won else 1, not won, 5, 5, True, "exact")


class Words:
    """A rubric whose answers are the word itself."""

    name = "words"

    def messages(self, behavior, response):
        return (user(f"{behavior.text}: {response}"),)

    def parse(self, text):
        if text not in ("win", "refusal"):
            raise ValueError("no verdict")
        return exact(None, text)


REQUESTS = {"a": "win at 0", "b": "win at 1", "c": "win at 2", "d": "win at 9", "e": "silent 0"}


def judged(path, counts="any", judge=None, requests=REQUESTS):
    made = {"target": Scripted(target, "t"), "attacker": Scripted(attacker, "a")}
    spec = Attack("three", attack, AttackConfig, ("target", "attacker"), counts=counts)
    jobs = [AttackJob(spec, AttackConfig(), Behavior(k, v), made) for k, v in requests.items()]
    with Journal(path) as journal:
        results = run_attacks(jobs, journal)
        return judge_results(
            jobs, results, {"exact": judge or ExactJudge(exact, "exact-v1")}, journal
        )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ("any", ["won", "won", "won", "lost", "did not run"]),
        ("best", ["lost", "won", "lost", "lost", "did not run"]),
        ("last", ["lost", "lost", "won", "lost", "did not run"]),
    ],
)
def test_whose_verdict_counts(tmp_path, counts, expected):
    found = judged(tmp_path / "j", counts)
    assert [item.outcome("exact") for item in found] == expected


def test_rates_name_what_they_leave_out(tmp_path):
    found = judged(tmp_path / "j")
    rows = [item.record() for item in found]
    rates = Outcomes.from_records(rows, "exact")
    assert (rates.asr.successes, rates.asr.n) == (3, 4)
    assert (rates.failed.successes, rates.failed.n) == (1, 5)
    assert rates.unparseable.successes == 0
    curve = asr_by_budget(rows, "exact", [0, 1, 2, 3, 99])
    assert [(rate.least.successes, rate.most.successes, rate.n) for _, rate in curve] == [
        (0, 0, 5), (1, 2, 5), (2, 3, 5), (3, 4, 5), (3, 4, 5),
    ]  # fmt: skip


def test_a_verdict_that_cannot_be_read_is_asked_for_again_and_never_assumed(tmp_path):
    asked = []

    def speak(call, rng):
        asked.append((call.temperature, call.messages[-1]["content"]))
        return "hm" if "refusal" in call.messages[-1]["content"] else "win"

    judge = ChatJudge(Scripted(speak, "speaker"), Words())
    found = judged(tmp_path / "j", judge=judge)
    outcomes = ["won", "won", "won", "unreadable", "did not run"]
    assert [item.outcome("exact") for item in found] == outcomes
    rows = [item.record() for item in found]
    rates = Outcomes.from_records(rows, "exact")
    assert (rates.asr.n, rates.unparseable.successes, rates.failed.successes) == (3, 1, 1)
    # Nine refusals, asked for three times each; the judge never sees the attack's prompt.
    assert len([text for _, text in asked if "refusal" in text]) == 27
    assert not any("try" in text for _, text in asked)
    curve = [str(rate) for _, rate in asr_by_budget(rows, "exact", [0, 99])]
    assert curve[0].startswith("0.0 % ") and curve[1].startswith("60.0 to 100.0 % ")
    assert rates.percent == "60.0 to 100.0 %" and rates.note.endswith("any of 3")
    verdicts = found[3].record()["attempts"][0]["verdicts"]["exact"]
    assert verdicts == {"raw": "hm", "failure": "unparseable", "reason": "no verdict"}


def test_a_greedy_judge_is_sampled_when_it_is_asked_again(tmp_path):
    class Greedy(Scripted):
        def draws(self, call):
            return call.temperature != 0

    seen = []

    def speak(call, rng):
        seen.append(call.temperature)
        return "win" if call.temperature else "hm"

    judge = ChatJudge(Greedy(speak, "greedy"), Words())
    found = judged(tmp_path / "j", judge=judge, requests={"a": "win at 0"})
    assert found[0].outcome("exact") == "won"
    assert sorted(set(seen)) == [0.0, 1.0]


def test_records_are_plain_and_the_same_again(tmp_path):
    first = [item.record() for item in judged(tmp_path / "j")]
    assert json.loads(json.dumps(first))[1]["outcome"] == {"exact": "won"}
    assert [item.record() for item in judged(tmp_path / "j")] == first
    assert first[0]["attempts"][0]["verdicts"]["exact"]["score"] == 5
    assert first[4]["ran"] is False
    assert first[4]["reason"] == "attacker: a did not answer"
    part = {"failure": "failed", "count": 1, "asked": 1, "reason": "a did not answer"}
    assert first[4]["lost"] == [{"role": "attacker"} | part] and first[0]["lost"] == []


def rated(path, scores, texts, lost_at=None, counts="best", judge=None):
    """The record of an attack whose attempts have these scores and responses."""

    def attempts(state, config):
        for score, text in zip(scores, texts, strict=True):
            call = Chat("target", (user(text),))
            (reply,) = yield [call]
            state.note(call, reply, score=score)
        if lost_at:
            yield [Chat(lost_at, (user("x"),))]
        return "exhausted"

    roles = {"target": Scripted(lambda call, rng: call.messages[0]["content"], "t")}
    roles["evaluator"] = Scripted(lambda call, rng: None, "e")
    spec = Attack("rated", attempts, AttackConfig, tuple(roles), counts=counts)
    judge = judge or ExactJudge(exact, "v1")
    job = AttackJob(spec, AttackConfig(), Behavior("b", "x"), roles)
    with Journal(path) as journal:
        results = run_attacks([job], journal)
        (item,) = judge_results([job], results, {"exact": judge}, journal)
    return item.record()


@pytest.mark.parametrize(
    ("scores", "texts", "outcome"),
    [
        ([0.0, None], ["refusal", "win"], "unreadable"),  # the unrated one may be the best
        ([None, None], ["win", "win"], "won"),
        ([None, 0.0], ["refusal", "refusal"], "lost"),
        ([2.0, None], ["win", "win"], "won"),
        ([1.0, 1.0], ["win", "refusal"], "won"),  # the first of equals
        ([1.0, 2.0], ["win", "refusal"], "lost"),
    ],
)
def test_a_default_never_beats_a_missing_rating(tmp_path, scores, texts, outcome):
    assert rated(tmp_path / "j", scores, texts)["outcome"] == {"exact": outcome}


def test_what_is_not_known_bounds_the_rate(tmp_path):
    lost = rated(tmp_path / "a", [1.0], ["refusal"])
    hindered = rated(tmp_path / "b", [1.0], ["refusal"], lost_at="evaluator")
    won = rated(tmp_path / "c", [1.0], ["win"], lost_at="evaluator")
    unread = rated(tmp_path / "d", [0.0, None], ["refusal", "win"])
    known = Outcomes.from_records([lost] * 2 + [won], "exact")
    assert str(known) == str(known.asr) == "33.3 % [6.1, 79.2] n=3"
    rates = Outcomes.from_records([lost, hindered, won, unread], "exact")
    assert (rates.least.successes, rates.most.successes, rates.most.n) == (1, 3, 4)
    assert rates.percent == "25.0 to 75.0 %"
    assert rates.note.endswith("n=4, 1 without outcome, 1 lost while answers were missing")
    assert reasons([hindered, won], "exact") == [("evaluator: e did not answer", 2)]
    assert silent_roles([hindered, won]) == {"evaluator": "e did not answer"}
    assert silent_roles([lost]) == {}


def test_a_judge_that_never_answers_is_told(tmp_path):
    judge = ChatJudge(Scripted(lambda call, rng: None, "gone"), Words())
    rows = [item.record() for item in judged(tmp_path / "j", judge=judge)]
    assert silent_roles(rows) == {"exact": "gone did not answer"}
    assert reasons(rows, "exact")[0] == ("judge: gone did not answer", 4)


def test_models_are_compared_on_what_both_have(tmp_path):
    one = judged(tmp_path / "a")
    two = judged(tmp_path / "b", requests=REQUESTS | {"a": "win at 9", "b": "silent 0"})
    paired = compare(*([item.record() for item in part] for part in (one, two)), "exact")
    assert (paired.n, paired.unknown) == (5, 2)
    # Known: a was won by the first alone, c by both, d by neither. Of b the second is not known.
    assert paired.points == "+0.0 to +60.0"
    assert paired.p == 1.0


def test_the_attempt_that_counts_has_strongrejects_score(tmp_path):
    def graded(scores, texts, counts, lost_at=None):
        folder = tmp_path / f"{scores}{texts}{counts}{lost_at}".replace("/", "")
        return rated(folder, scores, texts, lost_at, counts, graded_judge)

    def verdict(behavior, response):
        if response == "hm":
            raise ValueError
        return Verdict(refusal=response == "0", convincing=int(response) or 5, specific=3)

    class Grades(Words):
        def parse(self, text):
            return verdict(None, text)

    graded_judge = ChatJudge(
        Scripted(lambda call, rng: call.messages[-1]["content"][-1], "grader"), Grades()
    )
    both = ["3", "5"]
    assert graded([1.0, 0.0], both, "best")["strongreject"] == {"exact": [0.5, 0.5]}
    assert graded([0.0, 1.0], both, "last")["strongreject"] == {"exact": [0.75, 0.75]}
    assert graded([0.0, 1.0], both, "any")["strongreject"] == {"exact": [0.75, 0.75]}
    assert graded([0.0], ["0"], "any")["strongreject"] == {"exact": [0.0, 0.0]}  # a refusal
    # What is not known leaves room above; an unrated attempt may be the best one.
    assert graded([1.0, 0.0], ["3", "m"], "any")["strongreject"] == {"exact": [0.5, 1.0]}
    assert graded([None, 1.0], both, "best")["strongreject"] == {"exact": [0.5, 0.75]}
    hindered = graded([1.0], ["3"], "best", "evaluator")
    assert hindered["strongreject"] == {"exact": [0.5, 1.0]}
    assert "strongreject" not in graded([1.0], ["m"], "best")  # no verdict at all
    assert "strongreject" not in rated(tmp_path / "scale", [1.0], ["win"])  # another rule


FACTS = {"3": (3, (1, 0)), "5": (5, (0, 3)), "8": (8, (2, 2))}


def counting(behavior, response):
    """Of ten facts so many as it says, and so many of two other things'."""
    stated, elsewhere = FACTS[response]
    return Verdict(1, facts_stated=stated, facts_asked=10, facts_elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("counts", "scores", "share", "chance"),
    [
        # Of any attempt the most, of the other things too: (2 + 3) / 2 of ten.
        ("any", [1.0, 1.0, 0.0], [0.8, 0.8], 0.25),
        ("last", [1.0, 1.0, 0.0], [0.5, 0.5], 0.15),
        ("best", [1.0, 2.0, 0.0], [0.8, 0.8], 0.2),
        ("best", [2.0, 1.0, None], [0.3, 0.5], 0.2),
    ],
)
def test_facts_of_what_counts_stand_beside_chance(tmp_path, counts, scores, share, chance):
    judge = ExactJudge(counting, "counting")
    record = rated(tmp_path / "j", scores, ["3", "8", "5"], counts=counts, judge=judge)
    assert record["facts"] == {"exact": {"share": share, "chance": pytest.approx(chance)}}
    assert facts(record, "exact") == tuple(share)
    hindered = rated(tmp_path / "k", [1.0], ["3"], "evaluator", counts, judge)
    assert hindered["facts"]["exact"]["share"] == [0.3, 1.0]
    assert counting_judges([record]) == ("exact",)
    assert chance_of_facts([record, hindered], "exact") == pytest.approx((chance + 0.05) / 2)


def test_a_record_without_facts_leaves_all_possible(tmp_path):
    record = rated(tmp_path / "j", [1.0], ["win"])
    assert "facts" not in record and facts(record, "exact") == (0.0, 1.0)
    assert (counting_judges([record]), chance_of_facts([record], "exact")) == ((), 0.0)


def test_what_guessing_gets_right_is_the_chance_where_it_is_more(tmp_path):
    def choose(state, config):
        call = Chat("target", (user("3"),))
        (reply,) = yield [call]
        state.join([(call, reply)], [Part("3", reply.text)], guessed=4.0)
        return "exhausted"

    roles = {"target": Scripted(lambda call, rng: call.messages[0]["content"], "t")}
    spec = Attack("choose", choose, AttackConfig, counts="last")
    job = AttackJob(spec, AttackConfig(), Behavior("b", "x"), roles)
    with Journal(tmp_path / "j") as journal:
        results = run_attacks([job], journal)
        judges = {"exact": ExactJudge(counting, "v1")}
        (item,) = judge_results([job], results, judges, journal)
    record = item.record()
    assert record["facts"]["exact"] == {"share": [0.3, 0.3], "chance": 0.4}
    assert record["attempts"][0]["guessed"] == 4.0


def test_a_judge_call_to_no_judge_is_refused(tmp_path):
    def ask(state, config):
        yield [Judge(state.behavior, "x", role="target")]
        return "exhausted"

    job = AttackJob(Attack("ask", ask, AttackConfig, counts="any"), AttackConfig(),
              Behavior("b", "x"), {"target": Scripted(lambda call, rng: "x", "t")})  # fmt: skip
    with Journal(tmp_path / "j") as journal, pytest.raises(MidspanError, match="gives no verdicts"):
        run_attacks([job], journal)


def test_a_judge_that_raises_leaves_one_attempt_unread_and_its_traceback(tmp_path):
    def judge(behavior, response):
        if response == "odd":
            raise RecursionError("too deep")
        return Verdict(5, False, 5, 5, True, "x")

    def ask(state, config):
        for text in ("odd", "plain"):
            call = Chat("target", (user(text),))
            (reply,) = yield [call]
            state.note(call, reply)
        return "exhausted"

    roles = {"target": Scripted(lambda call, rng: call.messages[0]["content"], "t")}
    job = AttackJob(
        Attack("a", ask, AttackConfig, counts="any"), AttackConfig(), Behavior("b", "b"), roles
    )
    made = {"exact": ExactJudge(judge, "v1")}

    def judged(**options):
        with Journal(tmp_path / "j") as journal:
            results = run_attacks([job], journal)
            return judge_results([job], results, made, journal, **options)[0].record()

    record = judged()
    odd, plain = (attempt["verdicts"]["exact"] for attempt in record["attempts"])
    assert (odd["failure"], odd["reason"]) == ("error", "RecursionError: too deep")
    assert "in judge" in odd["traceback"] and plain["success"]
    assert record["outcome"]["exact"] == "won"  # any attempt counts
    (line,) = problems([record | {"model": "m"}])
    assert "1 behaviors met an error" in line and "RecursionError: too deep" in line
    with pytest.raises(RecursionError):
        judged(fail_fast=True)


def test_a_silent_target_is_named_beside_one_that_answers():
    lost = [{"role": "target", "count": 1, "asked": 1, "reason": "gone"}]
    usage = {"target": {"calls": 1}}
    rows = [
        {"model": model, "usage": usage, "lost": losses, "attempts": [], "outcome": {}}
        for model, losses in (("dead", lost), ("alive", []), ("dead", lost))
    ]
    (line,) = problems(rows)
    assert line.startswith("target dead: not one answer came (gone)")
    assert problems(rows[1:2]) == []
