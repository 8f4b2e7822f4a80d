"""The engine against scripted roles: results depend on calls and seeds, and on nothing else."""

import dataclasses
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, together
from midspan.engine.budget import Budget, Usage
from midspan.engine.calls import Anchor, Chat, Likelihood, Score, TokenScore, user
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.errors import MidspanError
from midspan.journal.journal import Journal


class Batched(Scripted):
    """A script that answers in batches of a given size, and counts what it answered."""

    def __init__(self, function, fingerprint, capacity=None):
        super().__init__(function, fingerprint)
        self.capacity = capacity
        self.batches = []
        self.places = []

    def size(self, call):
        return len(call.messages[-1]["content"])

    def queue(self, call):
        return str(call.max_tokens)

    def answer(self, tasks):
        self.batches.append(len(tasks))
        yield from super().answer(tasks)

    def load(self):
        self.places.append("load")

    def unload(self):
        self.places.append("unload")


def number(call, rng):
    """Sometimes not as asked."""
    return str(rng.randrange(100)) if rng.random() < 0.5 else "no number"


def echo(call, rng):
    return f"{call.messages[-1]['content']} {rng.random():.6f}"


class Rounds(AttackConfig):
    rounds: int = 3


def walk(state, config):
    """A bit of everything: branches, retries, own draws, samples, early stops, failures."""
    best = state.behavior.prompt
    for _ in range(config.rounds):
        asked = [Chat("attacker", (user(best),), parse=int, retries=1) for _ in range(2)]
        proposals = yield asked
        if not any(proposal.ok for proposal in proposals):
            return "failed"
        calls = [
            Chat("target", (user(f"{best[:20]} {p.value}"),), max_tokens=p.value % 2)
            for p in proposals
            if p.ok
        ]
        responses = yield calls * 2
        for call, response in zip(calls * 2, responses, strict=True):
            state.note(call, response, score=len(response.text))
        if state.rng.random() < 0.1:
            return "success"
        best = responses[0].text
    return "exhausted"


WALK = Attack("walk", walk, Rounds, ("target", "attacker"), counts="best")


def roles(target=None, attacker=None):
    return {
        "target": Batched(echo, "target-v1", target),
        "attacker": Batched(number, "attacker-v1", attacker),
    }


def jobs(count, made, budget=None):
    return [
        AttackJob(WALK, Rounds(), Behavior(f"b{i}", f"request {i}"), made, budget or Budget())
        for i in range(count)
    ]


def results(path, todo, seed=0):
    with Journal(path) as journal:
        return {result.behavior: result for result in run_attacks(todo, journal, seed)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return results(tmp_path_factory.mktemp("reference") / "j", jobs(12, roles()))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    order=st.permutations(range(12)),
    target=st.none() | st.integers(1, 40),
    attacker=st.none() | st.integers(1, 40),
)
def test_results_do_not_depend_on_order_or_batches(
    tmp_path_factory, reference, order, target, attacker
):
    todo = jobs(12, roles(target, attacker))
    path = tmp_path_factory.mktemp("scheduler") / "j"
    assert results(path, [todo[i] for i in order]) == reference


def test_the_reference_run_has_all_that_matters(reference, tmp_path):
    stops = {result.stop for result in reference.values()}
    assert {"exhausted", "failed", "success"} <= stops
    assert len({attempt.response for r in reference.values() for attempt in r.attempts}) > 20
    assert results(tmp_path / "j", jobs(12, roles()), seed=1) != reference


def test_each_behavior_alone_gives_the_same(reference, tmp_path):
    for job in jobs(12, roles(4, 4))[:3]:
        alone = results(tmp_path / job.behavior.id, [job])
        assert alone[job.behavior.id] == reference[job.behavior.id]


def test_a_journal_answers_everything_and_nobody_is_asked(reference, tmp_path):
    results(tmp_path / "j", jobs(12, roles()))

    def never(call, rng):
        raise AssertionError("asked")

    made = {
        "target": Batched(never, "target-v1", 5),
        "attacker": Batched(never, "attacker-v1"),
    }
    assert results(tmp_path / "j", jobs(12, made)) == reference
    assert made["target"].places == []


def test_batches_are_full_while_there_is_work_elsewhere(tmp_path):
    made = roles(8)
    results(tmp_path / "j", jobs(60, made))
    sizes = made["target"].batches
    assert max(sizes) == 8
    assert sum(sizes) / (8 * len(sizes)) > 0.9


def test_one_large_model_is_loaded_at_a_time(tmp_path):
    made = roles(4, 4)
    log = []
    for name, role in made.items():
        role.places = log
        role.load = lambda name=name: log.append(("load", name))
        role.unload = lambda name=name: log.append(("unload", name))
    results(tmp_path / "j", jobs(10, made))
    held = None
    for what, name in log:
        assert held == (None if what == "load" else name)
        held = name if what == "load" else None
    assert held is None
    assert len(log) >= 4


@pytest.mark.parametrize("interrupted_at", [1, 2, 7, 23, 61])
def test_an_interrupted_run_ends_with_the_same_results_and_pays_once(
    reference, tmp_path, interrupted_at
):
    asked = []

    def dying(function, limit):
        def speak(call, rng):
            if len(asked) == limit:
                raise KeyboardInterrupt
            asked.append(call)
            return function(call, rng)

        return speak

    def made(limit):
        return {
            "target": Scripted(dying(echo, limit), "target-v1"),
            "attacker": Scripted(dying(number, limit), "attacker-v1"),
        }

    with pytest.raises(KeyboardInterrupt):
        results(tmp_path / "j", jobs(12, made(interrupted_at)))
    assert results(tmp_path / "j", jobs(12, made(-1))) == reference
    assert len(asked) == sum(s.calls for r in reference.values() for s in r.usage.values())


KILLED = """
import sys, random, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_scheduler import *
def paid(function):
    def speak(call, rng):
        with open({folder!r} + "/paid", "a") as file:
            file.write("1")
        time.sleep(0.001)
        return function(call, rng)
    return speak
made = {{"target": Scripted(paid(echo), "target-v1"),
        "attacker": Scripted(paid(number), "attacker-v1")}}
found = results(Path({folder!r}) / "j", jobs(12, made))
Path({folder!r}, "done").write_text(json.dumps(
    {{name: dataclasses.asdict(result) for name, result in found.items()}}))
"""


def test_kill_9_at_random_points_changes_nothing(reference, tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    rng = random.Random(5)
    kills = 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", code])
        wanted = rng.randrange(10, 80) + paid_for(tmp_path)
        while child.poll() is None:
            if kills < 4 and paid_for(tmp_path) >= wanted:
                child.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        child.wait()
        if (tmp_path / "done").exists():
            break
    found = json.loads((tmp_path / "done").read_text())
    expected = {name: dataclasses.asdict(result) for name, result in reference.items()}
    assert found == json.loads(json.dumps(expected))
    total = sum(s.calls for r in reference.values() for s in r.usage.values())
    # A kill may fall between a reply and its line; that one reply is lost, no other.
    assert kills >= 2
    assert total <= paid_for(tmp_path) <= total + kills


def paid_for(folder):
    return (folder / "paid").stat().st_size if (folder / "paid").exists() else 0


def test_a_budget_ends_an_attack_where_it_is_spent_and_again_on_resume(tmp_path):
    todo = jobs(12, roles(), Budget(target=5))
    first = results(tmp_path / "j", todo)
    assert all(result.usage["target"].calls <= 5 for result in first.values() if result.ran)
    cut = [result for result in first.values() if result.stop == "budget"]
    assert cut
    assert all(len(result.attempts) == 5 for result in cut)
    assert [attempt.target_calls for attempt in cut[0].attempts] == [1, 2, 3, 4, 5]
    assert results(tmp_path / "j", todo) == first


@pytest.mark.parametrize(
    ("budget", "largest"), [({"helper": 3}, 3), ({"tokens": 1}, 2), ({"forwards": 1}, 99)]
)
def test_other_budgets(tmp_path, budget, largest):
    found = results(tmp_path / "j", jobs(6, roles(), Budget(**budget)))
    calls = [result.usage["attacker"].calls for result in found.values()]
    # With "tokens" the first batch, with its retries, is made in full.
    assert max(calls) <= largest + (2 if "tokens" in budget else 0)


def one(attack_function, made, tmp_path, fail_fast=False, **options):
    spec = Attack("one", attack_function, AttackConfig, tuple(made), counts="any")
    job = AttackJob(spec, AttackConfig(), Behavior("b", "request"), made, **options)
    with Journal(tmp_path / "j") as journal:
        return run_attacks([job], journal, fail_fast=fail_fast)[0]


def test_a_helper_that_does_not_answer_is_no_refusal(tmp_path):
    def attack(state, config):
        (reply,) = yield [Chat("attacker", (user("x"),))]
        assert (reply.ok, reply.failure, reply.value) == (False, "failed", None)
        return "failed"

    result = one(attack, {"attacker": Scripted(lambda c, r: None, "silent")}, tmp_path)
    assert (result.ran, result.stop) == (False, "failed")
    assert result.reason == "attacker: silent did not answer"


def test_an_answer_not_as_asked_is_asked_for_again_and_then_reported(tmp_path):
    seeds = []

    def babble(call, rng):
        seeds.append((rng.random(), call.temperature))
        return "babble"

    def attack(state, config):
        (reply,) = yield [Chat("attacker", (user("x"),), parse=int, retries=3)]
        assert (reply.failure, reply.text, reply.value) == ("unparseable", "babble", None)
        return "failed"

    result = one(attack, {"attacker": Scripted(babble, "v")}, tmp_path)
    assert len(set(seeds)) == 4
    assert result.usage["attacker"] == Usage(4, 4, 0)
    assert "attacker: invalid literal" in result.reason


def test_cycles_are_looked_for_while_a_role_answers_alone(tmp_path):
    seen = []

    def speak(call, rng):
        seen.append(("role", gc.isenabled()))
        return "text"

    def attack(state, config):
        yield [Chat("target", (user("x"),))]
        seen.append(("attack", gc.isenabled()))
        raise KeyError

    for collecting in (gc.enable, gc.disable):
        collecting()
        was_on = gc.isenabled()
        try:
            one(attack, {"target": Scripted(speak, "v")}, tmp_path / f"{was_on}")
            assert gc.isenabled() is was_on
            assert seen[-2:] == [("role", was_on), ("attack", False)]
        finally:
            gc.enable()


def test_equal_calls_are_sampled_apart_and_parts_advance_together(tmp_path):
    def part(state, name):
        replies = yield [Chat("target", (user(name),))] * 2
        (last,) = yield [Chat("target", (user(replies[0].text),))]
        return name, last.text

    def short(state):
        return "short"
        yield

    def attack(state, config):
        values = yield from together([part(state, "a"), short(state), part(state, "b")])
        assert [values[0][0], values[1], values[2][0]] == ["a", "short", "b"]
        assert values[0][1].startswith("a ") and values[2][1].startswith("b ")
        replies = yield [Chat("target", (user("same"),))] * 5
        assert len({reply.text for reply in replies}) == 5
        return "exhausted"

    result = one(attack, {"target": Scripted(echo, "v")}, tmp_path)
    assert (result.stop, result.usage["target"].calls) == ("exhausted", 11)


@pytest.mark.parametrize(
    ("call", "access"),
    [
        (Chat("target", (user("x"),)), "chat"),
        (Chat("target", (user("x"),), anchors=(Anchor("y"),)), "infill"),
        (Score((user("x"),), "y"), "logprobs"),
        (Score((user("x"),), "y", role="proxy"), "chat"),
    ],
)
def test_access_is_what_was_used_of_the_target(tmp_path, call, access):
    def speak(call, rng):
        return (
            Likelihood(3, (TokenScore(1, -0.5, ((2, -0.1),)),)) if isinstance(call, Score) else "t"
        )

    def attack(state, config):
        (reply,) = yield [call]
        if isinstance(call, Score):
            assert reply.value == Likelihood(3, (TokenScore(1, -0.5, ((2, -0.1),)),))
            assert (reply.value.logprob, reply.value.nll) == (-0.5, 0.5)
        return "exhausted"

    made = {"target": Scripted(speak, "t"), "proxy": Scripted(speak, "p")}
    assert one(attack, made, tmp_path).access == access


def test_what_cannot_run_is_refused_before_it_does():
    with pytest.raises(MidspanError, match="attack walk: no attacker was given"):
        AttackJob(WALK, Rounds(), Behavior("b", "x"), {"target": Scripted(echo, "t")})
    with pytest.raises(MidspanError, match="config is AttackConfig, not Rounds"):
        AttackJob(WALK, AttackConfig(), Behavior("b", "x"), roles())


def test_a_fault_in_an_attack_names_it(tmp_path):
    def attack(state, config):
        yield [Chat("target", (user("x"),))]
        raise KeyError("oops")

    result = one(attack, {"target": Scripted(echo, "t")}, tmp_path)
    assert (result.stop, result.ran, result.reason) == ("error", False, "KeyError: 'oops'")
    assert result.traceback.endswith("KeyError: 'oops'\nraised by the attack one on 0/one/b\n")
    with pytest.raises(KeyError) as caught:
        one(attack, {"target": Scripted(echo, "t")}, tmp_path, fail_fast=True)
    assert caught.value.__notes__ == ["raised by the attack one on 0/one/b"]


def test_a_fault_in_what_reads_a_reply_costs_this_reply_alone(tmp_path):
    """Such as a parser that meets a text which its author did not think of."""

    def parse(text):
        return {"good": 1}[text]

    def attack(state, config):
        calls = [Chat("target", (user(text),), parse=parse) for text in ("good", "bad", "good")]
        replies = yield calls
        assert [reply.value for reply in replies] == [1, None, 1]
        assert (replies[1].failure, replies[1].reason) == ("error", "KeyError: 'bad'")
        return "exhausted"

    target = Scripted(lambda call, rng: call.messages[0]["content"], "t")
    result = one(attack, {"target": target}, tmp_path)
    (lost,) = result.lost
    assert (lost.failure, lost.count, lost.reason) == ("error", 1, "KeyError: 'bad'")
    assert result.reason == "KeyError: 'bad'" and "in parse" in result.traceback
    with pytest.raises(KeyError):
        one(attack, {"target": target}, tmp_path, fail_fast=True)


def test_a_fault_in_a_role_costs_its_own_call_alone(tmp_path):
    asked = []

    def speak(call, rng):
        text = call.messages[0]["content"]
        asked.append(text)
        if text == "bad":
            raise RuntimeError("oops")
        return text

    def attack(state, config):
        replies = yield [Chat("target", (user(text),)) for text in ("a", "bad", "z", "q")]
        assert [reply.text for reply in replies] == ["a", "", "z", "q"]
        assert (replies[1].failure, replies[1].reason) == ("error", "RuntimeError: oops")
        return "exhausted"

    result = one(attack, {"target": Scripted(speak, "t")}, tmp_path)
    assert "in speak" in result.traceback and result.lost[0].failure == "error"
    before = len(asked)
    one(attack, {"target": Scripted(speak, "t")}, tmp_path)  # the next run asks for it alone
    assert asked[before:] == ["bad"]
    with pytest.raises(RuntimeError, match="oops"):
        one(attack, {"target": Scripted(speak, "t")}, tmp_path, fail_fast=True)


def test_what_users_can_mend_ends_the_run(tmp_path):
    def speak(call, rng):
        raise MidspanError("name another")

    def attack(state, config):
        yield [Chat("target", (user("x"),))] * 2

    with pytest.raises(MidspanError, match="name another"):
        one(attack, {"target": Scripted(speak, "t")}, tmp_path)


def test_a_models_batch_that_fails_ends_the_run(tmp_path):
    """Memory that ran out is no answer of a model to one prompt."""
    role = Scripted(lambda call, rng: [][0], "t")
    role.capacity = 4

    def attack(state, config):
        yield [Chat("target", (user("x"),))]

    with pytest.raises(IndexError):
        one(attack, {"target": role}, tmp_path)


SHARD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_scheduler import *
from midspan.journal.ranks import open_journal, this_rank
rank = this_rank()
with open_journal(Path({folder!r}), rank) as journal:
    run_attacks(rank.share(jobs(12, roles(4))), journal)
"""


def test_two_processes_give_the_records_of_one(reference, tmp_path):
    from midspan.journal.ranks import Rank, open_journal

    code = SHARD.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | {"RANK": rank, "WORLD_SIZE": "2"}
        )
        for rank in "01"
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal.0.jsonl",
        "journal.1.jsonl",
    ]

    def never(call, rng):
        raise AssertionError("asked")

    made = {"target": Scripted(never, "target-v1"), "attacker": Scripted(never, "attacker-v1")}
    with open_journal(tmp_path, Rank()) as journal:
        found = {result.behavior: result for result in run_attacks(jobs(12, made), journal)}
    assert found == reference
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]
