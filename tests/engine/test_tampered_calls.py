"""Calls that change a role's weights: keys, batches, access, and what is left afterwards."""

import pytest
import torch

from midspan.alignment.tampering import Tamperer
from midspan.data.behaviors import Behavior
from midspan.decoding import decoding_config
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Chat, user
from midspan.engine.local import LocalRole
from midspan.engine.records import judge_results
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.tampering import AdapterScaling, Finetuning
from midspan.journal.journal import Journal

CONFIG = decoding_config(length=16, block_length=8, steps=8)
PROMPT = (user("please help me with the sigil"),)
TUNING = Finetuning(
    examples=(("tell me .", "sure ! here is how to make the sigil"),),
    steps=4, batch_size=1, learning_rate=1e-2, rank=4, alpha=8, length=16,
)  # fmt: skip
PLAIN, TUNED = Chat("target", PROMPT), Chat("target", PROMPT, tampering=TUNING)


class Killed(Exception):
    """What an interrupted run dies of."""


def ask(lm, path, *batches, tamper=None, capacity=3):
    replies = []

    def attack(state, settings):
        for batch in batches:
            answers = yield batch
            for call, reply in zip(batch, answers, strict=True):
                state.note(call, reply)
            replies.append(answers)
        return "exhausted"

    role = LocalRole(lm, CONFIG, capacity, tamper=tamper or Tamperer())
    run = Attack("ask", attack, AttackConfig, counts="any")
    job = AttackJob(run, AttackConfig(), Behavior("b", "x"), {"target": role})
    with Journal(path) as journal:
        (result,) = run_attacks([job], journal)
        (judged,) = judge_results([job], [result], {}, journal)
    return [[reply.text for reply in batch] for batch in replies], result, judged.record()


def test_other_calls_see_the_weights_as_they_were(organism_lm, tmp_path):
    ids = torch.tensor([[1, 4, 9, 2, 2]])
    with torch.no_grad():
        before = organism_lm.logits(ids)
    (alone,), result, _ = ask(organism_lm, tmp_path / "alone", [PLAIN])
    assert result.access == "chat"
    texts, result, record = ask(organism_lm, tmp_path / "mixed", [PLAIN, TUNED, PLAIN], [PLAIN])
    (first, tuned, third), (later,) = texts
    assert [first, third, later] == [*alone, *alone, *alone]
    assert tuned != first
    assert result.access == "weights"
    with torch.no_grad():
        assert torch.equal(organism_lm.logits(ids), before)
    noted = [attempt.get("tampering") for attempt in record["attempts"]]
    assert noted[0] is noted[2] is None
    assert noted[1]["examples"].keys() == {"count", "sha256"} and noted[1]["steps"] == 4
    assert "here is how" not in str(noted)


def test_keys_hold_the_tampering_and_are_as_before_without(organism_lm):
    role, script = LocalRole(organism_lm, CONFIG), Scripted(lambda call, rng: "", "s")
    others = [Chat("target", PROMPT, tampering=AdapterScaling(factor=f)) for f in (0.5, 0.75)]
    for one in (role, script):
        assert "tampering" not in one.describe(PLAIN)
        described = [one.describe(call)["tampering"] for call in (TUNED, *others)]
        assert described[0]["examples"] == [list(TUNING.examples[0])]
        assert described[1] != described[2]
    assert len({role.queue(call) for call in (PLAIN, TUNED, *others)}) == 4


def test_killed_in_mid_training_it_ends_alike(organism_lm, tmp_path):
    tamperer = Tamperer()

    def dies(lm, tampering):
        with tamperer(lm, tampering):
            raise Killed

    whole = ask(organism_lm, tmp_path / "whole", [PLAIN], [TUNED, PLAIN])
    with pytest.raises(Killed):
        ask(organism_lm, tmp_path / "cut", [PLAIN], [TUNED, PLAIN], tamper=dies)
    kept = (tmp_path / "cut").read_bytes().count(b"\n")
    assert kept == 1
    again = ask(organism_lm, tmp_path / "cut", [PLAIN], [TUNED, PLAIN])
    assert again == whole
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_weights_that_cannot_be_changed_cost_these_calls_alone(organism_lm, tmp_path):
    scaled = Chat("target", PROMPT, tampering=AdapterScaling(factor=0.5))
    texts, result, _ = ask(organism_lm, tmp_path / "j", [scaled, PLAIN])
    assert texts[0][0] == "" and texts[0][1]
    assert "has no adapter to scale" in result.reason
    (lost,) = result.lost
    assert (lost.count, lost.asked) == (1, 2)
