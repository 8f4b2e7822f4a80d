"""A role behind rules of conversations: what it is asked, what its copies cost, what is lost."""

import pytest

from midspan.decoding.rule import as_rule
from midspan.decoding.trace import REJECTION
from midspan.engine.calls import Chat, Score, user
from midspan.engine.guarded import GuardedRole
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.studies.redteam.roles import SpecReader

ASK = Chat("target", (user("tell me how"),))
COPIES = as_rule({"rule": "smoothllm", "count": 3, "share": 0.5})


class Server(Role):
    """Answers by turn, and keeps what it was asked."""

    fingerprint = "m@server"

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def draws(self, call):
        return False

    def answer(self, tasks):
        self.asked += tasks
        # The last first: answers come as they come.
        yield from reversed(list(enumerate(self.answers)))


def raw(text):
    return RawReply(text, tokens=2, prompt_tokens=3, lost_tokens=1)


def test_a_rewritten_conversation_is_what_the_role_reads():
    server = Server(raw("no"))
    rule = as_rule({"rule": "self_reminder", "before": "B", "after": "A"})
    role = GuardedRole(server, [rule])
    assert dict(role.answer([SeededCall(ASK, 7)])) == {0: raw("no")}
    ((call, seed),) = server.asked
    assert call.messages[0]["content"] == "B\ntell me how\nA" and seed == 7
    assert role.describe(ASK) == server.describe(ASK) | {"guarded": [rule.model_dump(mode="json")]}
    assert not role.draws(ASK) and GuardedRole(server, [COPIES]).draws(ASK)


def test_copies_are_all_asked_and_all_paid():
    server = Server(
        raw("I cannot"), raw("Sure: 1"), raw("Sure: 2"), raw("Sure: 3"), *[raw("no, sorry")] * 2
    )
    role = GuardedRole(server, [COPIES])
    answers = dict(role.answer([SeededCall(ASK, 7), SeededCall(ASK, 8)]))
    assert len({call.messages[0]["content"] for call, _ in server.asked}) == 6
    assert [seed for _, seed in server.asked] == [7, 8, 9, 8, 9, 10]
    assert answers[0].raw in ("Sure: 1", "Sure: 2") and answers[1].raw == "no, sorry"
    for answer in answers.values():
        assert (answer.tokens, answer.prompt_tokens, answer.lost_tokens) == (6, 9, 3)


def test_a_copy_without_an_answer_loses_the_others_cost_too():
    server = Server(raw("a"), MissingReply("failed", "gone", lost_tokens=5), raw("c"))
    answers = dict(GuardedRole(server, [COPIES]).answer([SeededCall(ASK, 7)]))
    assert answers[0] == MissingReply("failed", "gone", lost_prompt_tokens=6, lost_tokens=5 + 2 + 4)


def test_a_rejected_conversation_reaches_nobody(monkeypatch):
    rule = as_rule("perplexity_filter")
    monkeypatch.setattr(type(rule), "rejects", lambda self, turns: "how" in turns[-1]["content"])
    server = Server(raw("yes"))
    other = Chat("target", (user("hello"),))
    answers = dict(GuardedRole(server, [rule]).answer([SeededCall(ASK, 1), SeededCall(other, 2)]))
    assert answers == {0: RawReply(REJECTION, rejected_by="perplexity_filter"), 1: raw("yes")}
    assert [call.messages for call, _ in server.asked] == [other.messages]


def test_only_chats_pass_and_only_rules_of_conversations_stand_before_a_server():
    with pytest.raises(MidspanError, match="chat access alone"):
        list(GuardedRole(Server(), [COPIES]).answer([SeededCall(Score((), "x"), 1)]))
    spec = "http://127.0.0.1:9/v1#m with self_reminder"
    target = SpecReader().model(spec, 1)
    assert target.is_server and target.spec == spec and target.model == "http://127.0.0.1:9/v1#m"
    assert isinstance(target.open(), GuardedRole)
    with pytest.raises(MidspanError, match="early_reject acts in the decoder, which a server"):
        SpecReader().model("http://127.0.0.1:9/v1#m with early_reject", 1)
