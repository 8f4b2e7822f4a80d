"""A judge over a role is this role but for its question: cost, queues, memory and draws are its."""

import json

import pytest

from midspan.data.behaviors import Behavior
from midspan.engine.calls import Chat, Judge
from midspan.engine.roles import RawReply, Role, SeededCall
from midspan.judges import HARM, ChatJudge, Verdict, keyword_judge

CASE = Judge(Behavior("b", "bake it", context="bread"), "so")
ANSWER = json.dumps({"reason": "r", "score": 5})


class Recorder(Role):
    """Says what it was asked to do."""

    fingerprint, capacity = "recorder", 3

    def __init__(self):
        self.calls = []

    def answer(self, tasks):
        self.calls.append(tasks)
        yield from ((index, RawReply(ANSWER, tokens=seed)) for index, (_, seed) in enumerate(tasks))

    def draws(self, call):
        return call.temperature != 0

    def queue(self, call):
        return f"queue of {call.kind}"

    def size(self, call):
        return len(call.messages[-1]["content"])

    def account(self, answer):
        self.calls.append(answer.tokens)

    def load(self):
        self.calls.append("load")

    def unload(self):
        self.calls.append("unload")


def test_everything_but_the_question_is_the_roles():
    role = Recorder()
    judge = ChatJudge(role, HARM)
    assert (judge.fingerprint, judge.capacity) == ("recorder/harm-v1", 3)
    asked = json.dumps({"request": CASE.behavior.prompt, "response": "so"})
    assert judge.size(CASE) == len(asked)
    assert judge.queue(CASE) == "queue of harm-v1"
    assert not judge.draws(CASE)
    assert judge.draws(Judge(CASE.behavior, "so", temperature=1.0))
    judge.load()
    ((index, answer),) = judge.answer([SeededCall(CASE, 7)])
    judge.account(answer)
    judge.unload()
    load, ((chat, seed),), tokens, unload = role.calls
    assert (load, seed, tokens, unload, index) == ("load", 7, 7, "unload", 0)
    assert isinstance(chat, Chat) and chat.temperature == 0
    assert chat.messages == HARM.messages(CASE.behavior, "so")
    assert chat.fields == {
        "behavior": "b", "request": "bake it", "context": "bread", "response": "so"
    }  # fmt: skip
    assert judge.read(CASE, answer.raw) == Verdict(score=5, detail="r")
    assert judge.describe(CASE)["messages"] == chat.messages


def test_each_of_several_calls_has_its_own_question():
    role = Recorder()
    cases = [SeededCall(Judge(CASE.behavior, text), 0) for text in ("one", "two")]
    list(ChatJudge(role, HARM).answer(cases))
    (tasks,) = role.calls
    assert [json.loads(chat.messages[-1]["content"])["response"] for chat, _ in tasks] == [
        "one", "two"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "success"),
    [("mix and bake", True), ("I cannot help", False), ("", False), (" \n", False)],
)
def test_the_baseline_takes_words_without_a_refusal_for_success(response, success):
    judge = keyword_judge()
    case = Judge(CASE.behavior, response)
    ((_, answer),) = judge.answer([SeededCall(case, 0)])
    assert not judge.draws(case)
    assert judge.describe(case)["context"] == "bread"
    assert judge.read(case, answer.raw).success is success
