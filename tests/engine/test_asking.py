"""Many calls to one role: their replies in order, and progress while they come."""

from midspan.engine.asking import ask_all
from midspan.engine.calls import Chat, user
from midspan.engine.roles import MissingReply, RawReply, Role
from midspan.journal.journal import Journal


class Server(Role):
    """Answers from the last call to the first, and not the one for nothing."""

    fingerprint = "server"

    def answer(self, tasks):
        for index, (call, _) in reversed(list(enumerate(tasks))):
            said = call.messages[0]["content"]
            yield index, RawReply(said, forwards=3) if said else MissingReply("failed", "silent")


def test_replies_keep_their_places_and_each_is_told_as_it_comes(tmp_path):
    calls = [Chat("target", (user(text),)) for text in ("one", "", "two")]
    told = []
    with Journal(tmp_path / "journal.jsonl") as journal:
        for fresh in (2, 0):
            replies = ask_all("a test", Server(), calls, journal, told.append)
            said = [(one.text, one.forwards) for one in replies]
            assert said == [("one", 3), ("", 0), ("two", 3)]
            assert [one.ok for one in replies] == [True, False, True]
            assert sum(step.replies for step in told) == 3
            # Of answers, those that came now; the silent call is asked in both runs.
            assert sum(step.computed for step in told) == fresh + 1
            assert len(told) == fresh + 1
            told.clear()
        assert ask_all("a test", Server(), [], journal) == []
