"""What a server is sent and how often, when it is given up, and what that costs."""

import json
import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from odd_server import completion, error, serving

from midspan.data.behaviors import Behavior
from midspan.engine import refusals, transport
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.pace import retry_after
from midspan.engine.roles import RawReply, SeededCall
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.journal.journal import Journal

QUICK = {"timeout": 10, "backoff": 0, "attempts": 3}
GOOD = (200, completion("yes"))
CALL = Chat("target", (user("a question"),), temperature=0.0, top_p=0.9, max_tokens=10)


@pytest.fixture
def serve():
    """Start servers that answer a model "m" so."""
    with serving({}) as server:

        def answer(respond):
            server.models["m"] = respond
            return server

        yield answer


def config_of(server, **fields):
    return EndpointConfig(url=server.url, model="m", **QUICK | fields)


def ask(config, call=CALL, calls=1):
    """The replies to equal calls, straight from the endpoint."""
    tasks = [SeededCall(call, 7)] * calls
    return [answer for _, answer in Endpoint(config).answer(tasks)]


def run(config, journal, count=1):
    """The replies to sampled calls of an attack."""
    replies = []

    def attack(state, _):
        replies.extend((yield [Chat("target", (user("x"),), max_tokens=10)] * count))
        return "exhausted"

    job = AttackJob(
        Attack("ask", attack, AttackConfig, counts="any"), AttackConfig(), Behavior("b", "x"),
        {"target": Endpoint(config)},
    )  # fmt: skip
    with Journal(journal) as kept:
        (result,) = run_attacks([job], kept)
    return result, replies


# What each field of the config changes: in the body that a server sees, or in how it is asked.
BODIES = {
    "model": ({}, lambda body: body["model"] == "m"),
    "omit": ({"omit": ("seed", "top_p")}, lambda body: {"seed", "top_p"}.isdisjoint(body)),
    "tokens_field": (
        {"tokens_field": "max_completion_tokens"},
        lambda body: body["max_completion_tokens"] == 10 and "max_tokens" not in body,
    ),
    "min_tokens": ({"min_tokens": 500}, lambda body: body["max_tokens"] == 500),
    "extra_body": (
        {"extra_body": {"reasoning_effort": "low"}},
        lambda body: body["reasoning_effort"] == "low",
    ),
}
ELSEWHERE = {
    "url", "key_variable", "timeout", "attempts", "backoff", "concurrency",
    "requests_per_minute", "max_cost", "input_price", "output_price",
    "engine", "replicas", "capabilities", "tokenizer",
}  # fmt: skip


def test_every_field_of_the_config_has_a_test():
    assert BODIES.keys() | ELSEWHERE == EndpointConfig.model_fields.keys()
    assert not BODIES.keys() & ELSEWHERE


def test_the_body_of_a_plain_request(serve):
    server = serve(GOOD)
    ask(config_of(server))
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "a question"}],
            "temperature": 0.0,
            "top_p": 0.9,
            "max_tokens": 10,
            "seed": 7,
        }
    ]


@pytest.mark.parametrize("field", BODIES)
def test_a_field_is_in_the_body(serve, field):
    fields, holds = BODIES[field]
    server = serve(GOOD)
    ask(config_of(server, **fields))
    assert holds(server.bodies[0])


def test_no_field_is_sent_that_nobody_set(serve):
    server = serve(GOOD)
    ask(config_of(server, omit=("seed",)), Chat("target", (user("x"),)))
    assert server.bodies[0].keys() == {"model", "messages"}


def test_seeds_are_sent_differ_by_sample_and_fit_31_bits(serve, tmp_path):
    server = serve(GOOD)
    run(config_of(server), tmp_path / "j", 40)
    seeds = [body["seed"] for body in server.bodies]
    assert len(set(seeds)) == 40 and all(0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**29  # the whole range is drawn from
    run(config_of(server), tmp_path / "again", 40)
    assert sorted(body["seed"] for body in server.bodies[40:]) == sorted(seeds)


@pytest.mark.parametrize("value", ["sk-1", "sk-1\n", " sk-1\r\n"])
def test_the_key_of_the_variable_goes_into_the_header(serve, monkeypatch, value):
    monkeypatch.setenv("BOX_KEY", value)
    monkeypatch.setenv("MIDSPAN_API_KEY", "another")
    server = serve(GOOD)
    ask(config_of(server, key_variable="BOX_KEY"))
    ask(config_of(server, key_variable="NOT_SET"))
    assert [headers.get("Authorization") for headers in server.headers] == ["Bearer sk-1", None]


@pytest.mark.parametrize(
    "value", ["sk-\u00fc1", "Bearer sk-1", "sk-1\nsk-2", "sk\x00x", "sk-\u202f1"]
)
def test_what_can_be_no_key_is_refused_by_the_variables_name(monkeypatch, value):
    if "\x00" in value:  # no environment holds it
        monkeypatch.setattr("os.environ", {"BOX_KEY": value})
    else:
        monkeypatch.setenv("BOX_KEY", value)
    config = EndpointConfig(url="http://127.0.0.1:9/v1", model="m", key_variable="BOX_KEY")
    with pytest.raises(MidspanError, match="^BOX_KEY: holds white space or a letter") as caught:
        ask(config)
    assert "sk" not in str(caught.value).replace("ask", "")


@pytest.mark.parametrize("attempts", [1, 4])
def test_a_request_has_so_many_tries_and_keeps_the_servers_words(serve, attempts):
    server = serve((503, error("all workers are busy")))
    (reply,) = ask(config_of(server, attempts=attempts))
    assert len(server.bodies) == attempts
    assert reply.reason == f"m: HTTP 503 all workers are busy ({attempts} tries)"


def test_requests_under_way_are_as_many_as_the_config_says(serve):
    def slow(sent):
        time.sleep(0.03)
        return GOOD

    server = serve(slow)
    ask(config_of(server, concurrency=3), calls=9)
    assert server.most_under_way == 3 and len(server.bodies) == 9


def test_a_reply_that_is_late_is_tried_again(serve):
    release = threading.Event()

    def respond(sent):
        if len(server.bodies) == 1:
            release.wait(5)
        return GOOD

    server = serve(respond)
    (reply,) = ask(config_of(server, timeout=0.15))
    release.set()
    assert reply.raw == "yes" and len(server.bodies) == 2
    assert (reply.lost_prompt_tokens, reply.lost_tokens) == (3, 10)  # "a question", the limit


class Pauses(threading.Event):
    """An event that notes how long it was waited for, and waits for nothing."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def wait(self, timeout=None):
        self.seconds.append(timeout)
        return False


def pauses(server, **fields):
    """Between the tries of one request."""
    config, stop = config_of(server, **fields), Pauses()
    with transport.Client(config, stop, config.habits()) as client:
        client.complete(SeededCall(CALL, 0))
    return stop.seconds


def test_pauses_double_up_to_the_longest(serve, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    server = serve((500, error("no")))
    assert pauses(server, attempts=7, backoff=3) == [0.5, 1, 2, 3, 3, 3]
    assert pauses(server, attempts=3, backoff=0) == [0, 0]


def test_a_server_says_how_long_to_wait(serve):
    server = serve((429, error("slow down"), ("Retry-After", "7")))
    assert pauses(server, attempts=3) == [7, 7]
    server = serve((429, error("slow down"), ("Retry-After", "86400")))
    assert pauses(server, attempts=2) == [300]
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server = serve((503, error("slow down"), ("Retry-After", soon)))
    (pause,) = pauses(server, attempts=2)
    assert 50 < pause <= 60


def test_a_limit_of_the_rate_is_waited_for_once(serve, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    limited = (429, error("slow down"))
    server = serve(limited)
    config, stop = config_of(server, attempts=2, backoff=3), Pauses()
    with transport.Client(config, stop, config.habits()) as client:

        def paused(answer):
            server.models["m"] = answer
            stop.seconds.clear()
            client.complete(SeededCall(CALL, 0))
            return list(stop.seconds)

        # Until they come to ten of the longest.
        waited = [0.5, 1, 2, *[3] * 9]
        assert paused(limited) == waited
        # It was in vain: nobody waits so long again before something is answered.
        assert paused(limited) == [0.5]
        assert paused(GOOD) == []
        assert paused(limited) == waited
        assert paused((503, error("busy"))) == [0.5]
    assert pauses(serve(limited), attempts=1, backoff=3) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3), ("0.5", 0.5), ("-3", 0), ("soon", 0), ("", 0), ("nan", 0), ("inf", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015", 0),
    ],
)  # fmt: skip
def test_a_pause_is_a_number_or_a_date(text, seconds):
    assert retry_after(httpx2.Response(429, headers={"Retry-After": text})) == seconds


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, error("wrong key")), "HTTP 401 wrong key; is the right key in MIDSPAN_API_KEY?"),
        ((403, error("no")), "HTTP 403 no; is the right key in MIDSPAN_API_KEY?"),
        ((402, error("no balance")), "HTTP 402 no balance; is there credit left"),
        ((404, error("no such model")), "HTTP 404 no such model; are the address and the model's"),
        ((405, b""), "HTTP 405 Method Not Allowed; are the address"),
        ((400, error("Model Not Exist")), "HTTP 400 Model Not Exist; are the address and the"),
        ((301, b"", ("Location", "/x")), "HTTP 301 Moved Permanently; are the address"),
        ((200, b"<html>Sign in</html>"), "a page, not JSON; is the address that of the API, up"),
        ((200, b"data: {}\n\n"), "a stream of events; .*; is the server running"),
        ((200, b"[" * 100_000), "a malformed reply; is the server running"),
        ((200, {"object": "list"}), "a malformed reply; is the server running"),
    ],
)
def test_a_server_that_cannot_be_asked_is_told_at_first_contact(serve, answer, words):
    server = serve(answer)
    with pytest.raises(MidspanError, match=f"^m at {server.url}: {words}"):
        Endpoint(config_of(server)).contact()
    assert len(server.bodies) <= 2


def test_an_account_without_credit_ends_the_run_at_openai_alone(serve, monkeypatch):
    server = serve((429, error("You exceeded your quota.", code="insufficient_quota")))
    (reply,) = ask(config_of(server))
    assert reply.reason == "m: HTTP 429 You exceeded your quota. (3 tries)"
    monkeypatch.setattr(refusals, "OPENAI_URL", server.url)
    server.bodies.clear()
    words = f"^m at {server.url}: HTTP 429 You exceeded your quota.; is there credit left"
    with pytest.raises(MidspanError, match=words):
        Endpoint(config_of(server)).contact()
    with pytest.raises(MidspanError, match=words):
        ask(config_of(server))
    assert len(server.bodies) == 2
    server = serve((429, error("Rate limit reached", code="rate_limit_exceeded")))
    assert ask(config_of(server))[0].reason == "m: HTTP 429 Rate limit reached (3 tries)"


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        (429, error("slow down")),
        (503, error("loading the model")),
        (200, error("overloaded", code=429)),
        (400, error("Could not finish the message because max_tokens was reached; higher max_")),
        (400, error("filtered by the content management policy")),
        (403, error("the input was flagged by moderation")),
        (200, completion(None, "length")),
        (None, b""),
    ],
)
def test_a_server_that_is_there_is_not_taken_for_dead(serve, answer):
    server = serve(answer)
    Endpoint(config_of(server, attempts=9)).contact()
    assert len(server.bodies) == 1
    assert server.bodies[0]["max_tokens"] <= 16


def test_a_slow_server_is_not_taken_for_dead(serve, monkeypatch, caplog):
    monkeypatch.setattr(transport, "_CONTACT_SECONDS", 0.1)
    release = threading.Event()
    server = serve(lambda sent: release.wait(5) and GOOD)
    begun = time.monotonic()
    Endpoint(config_of(server)).contact()
    assert time.monotonic() - begun < 2
    release.set()
    (line,) = (record.getMessage() for record in caplog.records if record.name == "midspan")
    words = "m, at first contact: no reply within 0.1 s (ReadTimeout: timed out); the run goes on"
    assert line == words


def nobody(monkeypatch):
    return "http://127.0.0.1:9/v1", r"ConnectError: \[Errno 111\] Connection refused"


def no_name(monkeypatch):
    def resolve(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return "http://gpu-box:8000/v1", r"ConnectError: \[Errno -2\] Name or service not known"


@pytest.mark.parametrize("place", [nobody, no_name])
def test_nobody_there_ends_the_first_request_after_two_tries(monkeypatch, place):
    url, words = place(monkeypatch)
    tries = []
    post = httpx2.Client.post
    monkeypatch.setattr(httpx2.Client, "post", lambda *a, **k: tries.append(1) or post(*a, **k))
    endpoint = Endpoint(EndpointConfig(url=url, model="m", attempts=9, backoff=0, concurrency=1))
    line = rf"^m at {url}: no connection \({words}\); is the server running, and is the address"
    with pytest.raises(MidspanError, match=line):
        endpoint.contact()
    assert len(tries) == 2
    with pytest.raises(MidspanError, match=line):
        list(endpoint.answer([SeededCall(CALL, 0)] * 5))
    assert len(tries) == 4  # the others are not tried


def test_another_protocol_is_no_connection(serve):
    url = serve(GOOD).url.replace("http:", "https:")
    with pytest.raises(MidspanError, match=r"no connection \(ConnectError: .*SSL"):
        Endpoint(EndpointConfig(url=url, model="m")).contact()


def test_a_server_that_goes_away_is_not_waited_for_again_and_again(monkeypatch):
    """What it answered before is kept; after one request with all its tries, one try each."""
    tries = []

    def respond(request):
        tries.append(1)
        if len(tries) in (1, 9):
            return httpx2.Response(200, json=completion("yes"))
        raise httpx2.ConnectError("refused")

    real = httpx2.Client
    monkeypatch.setattr(httpx2, "Client", lambda **k: real(transport=httpx2.MockTransport(respond)))
    config = EndpointConfig(url="http://h/v1", model="m", attempts=4, backoff=0, concurrency=1)
    replies = ask(config, calls=7)
    assert [isinstance(reply, RawReply) for reply in replies] == [True, *[False] * 4, True, False]
    assert "no connection (ConnectError: refused) (4 tries)" in replies[1].reason
    assert "(1 tries)" in replies[2].reason
    assert len(tries) == 1 + 4 + 3 + 1 + 4


def late(sent):
    time.sleep(0.12)
    return GOOD


@pytest.mark.parametrize(
    "answer",
    [
        late,
        (200, b"<html>"),
        (200, {"choices": None, **error("overloaded")}),
        (None, b""),
        (200, completion(None, "length", usage=None)),
        (200, completion(None, "length", usage=(3, 10))),
    ],
    ids=["late", "page", "error", "broken off", "no answer", "no answer, counted"],
)
def test_what_brings_no_answer_costs_too(serve, tmp_path, caplog, answer):
    server = serve(answer)
    # A call costs two tries of 1 prompt token and 10 of its limit, or one as counted.
    prices = {"input_price": 1e6, "output_price": 1e6, "max_cost": 40.0}
    config = config_of(server, attempts=2, timeout=0.06, concurrency=1, **prices)
    with pytest.raises(MidspanError, match=r"max_cost: m@\S+ has cost \$(44|52).00 of \$40.00"):
        run(config, tmp_path / "j", 50)
    assert len(server.bodies) <= 5


def test_estimates_are_said_and_in_the_result(serve, tmp_path, caplog):
    answers = iter([(200, b"{"), (200, b"{"), GOOD, GOOD])
    server = serve(lambda sent: next(answers))
    result, replies = run(config_of(server, concurrency=1), tmp_path / "j", 2)
    assert [reply.text for reply in replies] == ["yes", "yes"]
    assert result.lost_tokens == {"target": 2 * (1 + 10)}
    assert caplog.text.count("late and unreadable replies may have to be paid") == 1
    # The journal keeps them: a later run counts them, too.
    endpoint = Endpoint(config_of(server, input_price=1e6, output_price=1e6))
    rows = [json.loads(line)["value"] for line in (tmp_path / "j").read_text().splitlines()]
    for row in rows:
        endpoint.account(RawReply.from_dict(row))
    assert endpoint.cost == pytest.approx(2 * (1 + 10) + 2 * (10 + 5))


@pytest.mark.parametrize("words", [
    "This model's maximum context length is 8 tokens; max_tokens is 10, the prompt has 99",
    "request (99 tokens) exceeds the available context size (8 tokens), try increasing it",
    "input length and `max_tokens` exceed context limit: 99 + 10 > 8, decrease input length",
    "prompt_ids has 99 tokens, and with length=10 exceeds the model's 8; shorten the prompt",
])  # fmt: skip
def test_a_prompt_that_is_too_long_leaves_no_field_out(serve, words):
    server = serve((400, error(words)))
    (reply,) = ask(config_of(server))
    assert reply.failure == "too_long" and len(server.bodies) == 1


def test_a_server_whose_limit_of_tokens_ends_the_thoughts_gave_no_answer(serve):
    server = serve((400, error("Could not finish: max_tokens reached; try higher max_tokens")))
    (reply,) = ask(config_of(server))
    assert "no answer came before the limit of tokens" in reply.reason and len(server.bodies) == 1


@pytest.mark.parametrize("spec", ["http://[::1#m", "http://h:99999/v1#m", "http://h:x/v1#m"])
def test_an_address_that_cannot_be_is_refused_by_name(spec):
    with pytest.raises(MidspanError, match="is neither openai:MODEL nor URL#MODEL"):
        EndpointConfig.from_spec(spec)
