"""A real server on the loopback that fails in every way: nothing is lost, doubled or misread."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Anchor, Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUICK = {"timeout": 0.3, "backoff": 0.05, "concurrency": 8}


@pytest.fixture
def server_module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("faulty_server", None)
    return importlib.import_module("faulty_server")


def score(text):
    return json.loads(text)["score"]


def ask(endpoint, path, count=1, **fields):
    replies = []

    def attack(state, config):
        chat = Chat("target", (user(state.behavior.text),), parse=score, retries=4, **fields)
        replies.extend((yield [chat]))
        return "exhausted"

    spec = Attack("ask", attack, AttackConfig, counts="any")
    jobs = [
        AttackJob(spec, AttackConfig(), Behavior(f"b{i}", f"question {i}"), {"target": endpoint})
        for i in range(count)
    ]
    with Journal(path) as journal:
        run_attacks(jobs, journal)
    return replies


def test_a_faulty_server_loses_doubles_and_misreads_nothing(server_module, tmp_path):
    with server_module.serving(rate=0.5, slow=0.6) as server:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, attempts=8, **QUICK))
        replies = ask(endpoint, tmp_path / "j", 150)
        assert set(server.faults) == set(server_module.FAULTS)
        received = sum(server.seen.values())
        again = ask(endpoint, tmp_path / "j", 150)
        assert sum(server.seen.values()) == received
    expected = sorted(server_module.score_of(f"question {i}") for i in range(150))
    assert sorted(reply.value for reply in replies) == expected
    assert [reply.value for reply in again] == [reply.value for reply in replies]
    keys = [json.loads(line)["key"] for line in (tmp_path / "j").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 150 + server.faults["cut_short"]


def test_a_key_is_sent_and_written_nowhere(server_module, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MIDSPAN_API_KEY", "secret-key-1")
    caplog.set_level(0)
    with server_module.serving(rate=0) as server:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, **QUICK))
        ask(endpoint, tmp_path / "j")
        assert server.keys == {"Bearer secret-key-1"}
    texts = [(tmp_path / "j").read_text(), caplog.text, endpoint.fingerprint, repr(endpoint.config)]
    assert not any("secret-key-1" in text for text in texts)


@pytest.mark.parametrize("status", [401, 400])
def test_a_refusal_of_the_server_hides_the_key_that_it_repeats(
    server_module, tmp_path, monkeypatch, status
):
    monkeypatch.setenv("MIDSPAN_API_KEY", "secret-key-1")

    def refuse(handler):
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler._send(status, b'{"error": {"message": "wrong\\n key secret-key-1"}}')

    monkeypatch.setattr(server_module._Handler, "do_POST", refuse)
    with server_module.serving() as server:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, **QUICK))
        if status == 401:
            with pytest.raises(
                MidspanError, match=r"HTTP 401 wrong key \[key\]; is the right key in"
            ):
                ask(endpoint, tmp_path / "j")
        else:
            (reply,) = ask(endpoint, tmp_path / "j")
            assert (reply.failure, reply.reason) == ("failed", "judge: HTTP 400 wrong key [key]")


def test_a_server_that_goes_fails_the_call_and_the_next_run_asks_again(server_module, tmp_path):
    with server_module.serving(rate=0) as server:
        endpoint = Endpoint(EndpointConfig.from_spec(server.spec, attempts=2, **QUICK))
        ask(endpoint, tmp_path / "before")
    (reply,) = ask(endpoint, tmp_path / "j")
    assert (reply.failure, reply.value) == ("failed", None)
    assert "ConnectError" in reply.reason and reply.reason.endswith("(2 tries)")
    assert (tmp_path / "j").read_text() == ""


def test_the_cost_limit_ends_the_run_and_what_was_paid_is_kept(server_module, tmp_path):
    with server_module.serving(rate=0) as server:
        # Each reply costs 10 * 1 + 5 * 2 = 20 millionths of a dollar.
        prices = {"input_price": 1, "output_price": 2, "max_cost": 100e-6}
        config = EndpointConfig.from_spec(server.spec, **QUICK | {"concurrency": 2}, **prices)
        with pytest.raises(MidspanError, match="max_cost: .* raise it"):
            ask(Endpoint(config), tmp_path / "j", 100)
        sent = sum(server.seen.values())
        kept = (tmp_path / "j").read_text().count("\n")
        assert 5 <= sent == kept <= 9
        more = config.model_copy(update={"max_cost": 1.0})
        assert len(ask(Endpoint(more), tmp_path / "j", 100)) == 100
        assert sum(server.seen.values()) == 100


def test_what_a_run_has_cost_and_will_cost_at_most(server_module, tmp_path):
    with server_module.serving(rate=0) as server:
        config = EndpointConfig.from_spec(server.spec, **QUICK, input_price=3, output_price=15)
        priced, unpriced = (
            Endpoint(config),
            Endpoint(EndpointConfig.from_spec(server.spec, **QUICK)),
        )
        ask(priced, tmp_path / "j", 20)
        ask(unpriced, tmp_path / "j", 20)  # From the journal.
    assert config.dollars(10, 5) == pytest.approx(105e-6)
    assert priced.cost == pytest.approx(20 * 105e-6) == config.dollars(10, 5, calls=20)
    assert unpriced.cost is None


@pytest.mark.parametrize(
    ("prices", "dollars"),
    [
        ({}, None),
        ({"input_price": 1}, None),
        ({"output_price": 1}, None),
        ({"input_price": 0, "output_price": 0}, 0.0),
        ({"input_price": 2.5, "output_price": 10}, 340 * (0.0025 + 0.005)),
    ],
)
def test_a_price_that_is_not_known_is_not_zero(prices, dollars):
    config = EndpointConfig(url="http://h/v1", model="m", **prices)
    assert config.dollars(1000, 500, calls=340) == (
        None if dollars is None else pytest.approx(dollars)
    )


def test_the_pace_is_kept(server_module, tmp_path):
    import time

    with server_module.serving(rate=0) as server:
        config = EndpointConfig.from_spec(server.spec, requests_per_minute=1200, **QUICK)
        start = time.monotonic()
        ask(Endpoint(config), tmp_path / "j", 8)
        assert time.monotonic() - start >= 7 * 0.05


def test_an_endpoint_gives_chat_access_alone(tmp_path):
    endpoint = Endpoint(EndpointConfig(url="http://127.0.0.1:9/v1", model="m"))
    with pytest.raises(
        MidspanError, match="target: needs prefix; m@http://127.0.0.1:9/v1 gives chat alone"
    ):
        ask(endpoint, tmp_path / "j", anchors=(Anchor("sure"),))


def test_specs(monkeypatch):
    config = EndpointConfig.from_spec("openai:gpt-4.1", timeout=5)
    assert (config.model, config.key_variable, config.timeout) == ("gpt-4.1", "OPENAI_API_KEY", 5)
    config = EndpointConfig.from_spec("http://localhost:8000/v1/#org/model")
    assert (config.url, config.model) == ("http://localhost:8000/v1", "org/model")
    for wrong in ("openai:", "gpt-4.1", "http://host/v1", "ftp://host/v1#m", "#m"):
        with pytest.raises(MidspanError, match="neither"):
            EndpointConfig.from_spec(wrong)
    with pytest.raises(MidspanError, match="environment") as caught:
        EndpointConfig.from_spec("https://me:secret@host/v1#m")
    assert "secret" not in str(caught.value)
    with pytest.raises(MidspanError, match="max_cost: give input_price"):
        Endpoint(EndpointConfig(url="http://h/v1", model="m", max_cost=1, input_price=1))


def test_openai_without_a_key_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint = Endpoint(EndpointConfig.from_spec("openai:gpt-4.1"))
    with pytest.raises(MidspanError, match="set OPENAI_API_KEY"):
        ask(endpoint, tmp_path / "j")
