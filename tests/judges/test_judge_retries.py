"""A judge that answers greedily is asked again so that it can answer otherwise."""

import json

import pytest
from tiny_classifier import make_model

from midspan.data.behaviors import Behavior
from midspan.decoding import Request, decode, decoding_config
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Judge
from midspan.engine.local import LocalRole
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.journal.journal import Journal
from midspan.judges import FORMATS, HARM, ChatJudge, ClassifierJudge

CASE = Judge(Behavior("b", "how do i bake bread ?"), "mix , knead , wait , bake .")


def judged(judge, path):
    """Replies to the same case, judged twice in one batch, and what it cost."""
    replies = []

    def ask(state, config):
        replies.extend((yield [CASE, CASE]))
        return "exhausted"

    attack = Attack("ask", ask, AttackConfig, ("judge",), counts="any")
    job = AttackJob(attack, AttackConfig(), CASE.behavior, {"judge": judge})
    with Journal(path) as journal:
        (result,) = run_attacks([job], journal)
        texts = [journal[key]["raw"] for key in journal]
    return replies, result.usage["judge"].calls, texts


class Greedy(Scripted):
    """Draws above temperature 0 alone, as models do."""

    def draws(self, call):
        return call.temperature != 0


@pytest.mark.parametrize("good_at", [0, 1, 2, 3])
def test_it_is_asked_greedily_and_then_twice_with_draws(tmp_path, good_at):
    asked = []

    def answer(call, rng):
        asked.append((call.temperature, rng.random()))
        # Both cases share the greedy answer, and have later ones of their own.
        tries = len(asked) // 2
        return json.dumps({"reason": "-", "score": 4}) if tries >= good_at else "score: 4"

    replies, calls, texts = judged(ChatJudge(Greedy(answer, "script"), HARM), tmp_path / "j")
    assert [temperature for temperature, _ in asked] == [0, *[1.0] * (2 * min(good_at, 2))]
    assert len({draw for _, draw in asked}) == len(asked) == len(texts)
    assert calls == 2 * (1 + min(good_at, 2))
    if good_at < 3:
        assert [reply.value.score for reply in replies] == [4, 4]
    else:
        assert [reply.failure for reply in replies] == ["unparseable"] * 2


def test_a_local_model_says_something_else_each_time(organism_lm, tmp_path, monkeypatch):
    config = decoding_config(length=16, block_length=8, steps=8)
    judge = ChatJudge(LocalRole(organism_lm, config, 4), HARM)
    replies, calls, texts = judged(judge, tmp_path / "j")
    messages = HARM.messages(CASE.behavior, CASE.response)
    greedy = decode(organism_lm, [Request(tuple(organism_lm.encode_chat(messages)))], config)[0]
    assert [reply.failure for reply in replies] == ["unparseable"] * 2
    assert (calls, texts[0], len(set(texts))) == (6, greedy.text, 5)
    monkeypatch.setattr(LocalRole, "answer", None)
    assert judged(judge, tmp_path / "j") == (replies, calls, texts)


def test_a_classifier_that_can_say_nothing_else_is_asked_once(tmp_path):
    folder = make_model(tmp_path / "model", "asked", "said")
    judge = ClassifierJudge(FORMATS["harmbench-cls"], folder)
    replies, calls, texts = judged(judge, tmp_path / "j")
    assert [reply.failure for reply in replies] == ["unparseable"] * 2
    assert (calls, len(texts)) == (2, 1)
