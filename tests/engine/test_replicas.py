"""Several servers with one model: all are kept full, and one that dies loses nothing."""

import json
import socket
from collections import Counter

import pytest
from engines import FakeVllm, serving

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Anchor, Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.replicas import Replicas
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal

CALLS = 240


@pytest.fixture
def pair(gemma):
    with (
        serving(FakeVllm(gemma[1], delay=0.05)) as one,
        serving(FakeVllm(gemma[1], delay=0.05)) as other,
    ):
        yield one, other


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def endpoint(gemma, *roots, **fields):
    spec = f"vllm:{','.join(roots)}#gemma"
    own = {"timeout": 10, "backoff": 0.05, "attempts": 4, "tokenizer": str(gemma[0])}
    return Endpoint(EndpointConfig.from_spec(spec, **own | fields))


def study(role, path, count=CALLS):
    """The replies to different calls of one study."""
    replies = []

    def attack(state, _):
        asked = (user(state.behavior.text),)
        replies.extend((yield [Chat("target", asked, anchors=(Anchor("w60", 2),), max_tokens=4)]))
        return "exhausted"

    spec = Attack("ask", attack, AttackConfig, counts="any")
    jobs = [
        AttackJob(spec, AttackConfig(), Behavior(f"b{n}", f"w{n % 40 + 10} number {n}"),
                  {"target": role})
        for n in range(count)
    ]  # fmt: skip
    with Journal(path) as journal:
        run_attacks(jobs, journal)
    return replies


def asked(server):
    return Counter(body["messages"][0]["content"] for body in server.bodies)


def test_thirty_two_requests_are_under_way_at_each(gemma, pair, tmp_path):
    for server in pair:
        server.waits_for = 32
    replies = study(endpoint(gemma, *(server.root for server in pair)), tmp_path / "j")
    assert all(reply.ok for reply in replies)
    assert [server.most_under_way for server in pair] == [32, 32]
    shares = [len(server.bodies) for server in pair]
    assert sum(shares) == CALLS and min(shares) > CALLS / 4


def test_a_replica_that_dies_in_the_middle_loses_nothing_and_doubles_nothing(gemma, pair, tmp_path):
    whole, dying = pair
    dying.dies_after = 60
    role = endpoint(gemma, whole.root, dying.root)
    replies = study(role, tmp_path / "j")
    assert all(reply.ok for reply in replies) and len(replies) == CALLS
    assert dying.is_dead and 0 < dying.answered < CALLS / 2
    # Each call was answered once, by one of them.
    assert whole.answered + dying.answered == CALLS
    assert max(asked(whole).values()) == 1
    lines = (tmp_path / "j").read_text().splitlines()
    keys = {json.loads(line)["key"] for line in lines}
    assert len(lines) == len(keys) == CALLS
    # The same study again, with both of them gone, is in the journal.
    whole.is_dead = True
    before = len(whole.bodies)
    again = study(endpoint(gemma, whole.root, dying.root), tmp_path / "j")
    assert [reply.text for reply in again] == [reply.text for reply in replies]
    assert len(whole.bodies) == before


def test_replicas_of_the_config_may_change_between_runs(gemma, pair, tmp_path):
    """They do not name the model: what one has answered another need not answer."""
    one, other = pair
    study(endpoint(gemma, one.root, replicas=[other.root]), tmp_path / "j", 20)
    sent = len(one.bodies) + len(other.bodies)
    study(endpoint(gemma, one.root), tmp_path / "j", 20)
    assert len(one.bodies) + len(other.bodies) == sent == 20


def test_of_several_the_absent_are_named_at_contact_and_the_rest_is_asked(
    gemma, pair, nobody, tmp_path, caplog
):
    role = endpoint(gemma, nobody, pair[0].root)
    role.contact({"anchors"})
    assert "no connection" in caplog.text and "goes on with the other replicas" in caplog.text
    assert all(reply.ok for reply in study(role, tmp_path / "j", 20))
    with pytest.raises(MidspanError, match=f"gemma at {nobody}/v1: no connection"):
        endpoint(gemma, nobody).contact()


def test_a_request_goes_where_fewest_are_and_not_where_it_has_failed():
    replicas = Replicas(["a", "b"])
    with replicas.lease() as first, replicas.lease() as second:
        assert {first, second} == {"a", "b"}
        with replicas.lease(first) as third:
            assert third == second
    replicas.is_gone("a")
    with replicas.lease("b") as only:
        assert only == "b" and replicas.has_another
    replicas.is_gone("b")
    assert not replicas.has_another
    replicas.is_back("a")
    with replicas.lease() as back:
        assert back == "a"
