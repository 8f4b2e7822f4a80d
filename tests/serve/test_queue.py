"""Who waits, who is turned away, and what one request's fault does to the others."""

import asyncio
import time
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from served import ASK, chat, events, serving

import midspan
from midspan.decoding.stream import Stream
from midspan.models.finite import NOT_FINITE
from midspan.serve.waiting import Row, Waiting

PATH = "/v1/chat/completions"
LONG = {"max_tokens": 64, "midspan": {"steps": 64}}
ENDLESS = {"max_tokens": 400, "midspan": {"steps": 400}}


def rows(waiting, client, numbers, lane="lane"):
    for number in numbers:
        waiting.add(Row(number, client, lane))


def test_a_place_goes_to_the_client_with_the_fewest_rows():
    waiting = Waiting()
    rows(waiting, "greedy", range(100))
    first = waiting.take("lane", 8)
    rows(waiting, "late", [100, 101, 102])
    rows(waiting, "later", [103])
    taken = [row.number for row in waiting.take("lane", 6)]
    assert sorted(taken[:2]) == [100, 103] and taken[2:4] == [101, 102]
    assert taken[4:] == [8, 9]
    for row in first:
        waiting.left(row.client)
    assert [row.number for row in waiting.take("lane", 1)] == [10]


def test_equal_clients_take_turns():
    waiting = Waiting()
    for client in "abc":
        rows(waiting, client, [10 * ord(client) + n for n in range(4)])
    for _ in range(12):
        (row,) = waiting.take("lane", 1)
        waiting.left(row.client)
        rows(waiting, "seen", [row.number], row.client)
    clients = [chr(row.number // 10) for row in waiting]
    assert sorted(clients) == sorted("abc" * 4)
    assert waiting.lanes() == ["a", "b", "c"]


def test_rows_that_leave_are_gone():
    waiting = Waiting()
    rows(waiting, "one", range(3))
    (middle,) = [row for row in waiting if row.number == 1]
    assert waiting.remove(middle) and not waiting.remove(middle)
    assert [row.number for row in waiting.take("lane", 9)] == [0, 2] and len(waiting) == 0
    assert waiting.take("lane", 1) == []


def test_a_full_queue_says_when_to_come_back(organism_lm):
    async def flood():
        async with serving({"tiny": organism_lm}, batch_size=1, queue=4) as (client, service):
            sent = [asyncio.ensure_future(client.post(PATH, json=chat(**LONG))) for _ in range(8)]
            answers = await asyncio.gather(*sent)
            assert service.is_idle and not service._waiting
            counted = (await client.get("/metrics")).text
            again = await client.post(PATH, json=chat(max_tokens=4))
            return [*answers, again], counted

    answers, counted = asyncio.run(flood())
    statuses = [answer.status_code for answer in answers]
    # One client has half of the queue.
    assert set(statuses) == {200, 429} and statuses.count(200) in (3, 4) and statuses[-1] == 200
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 120
            assert answer.json()["error"]["type"] == "rate_limit_error"
    assert (
        f'midspan_requests_total{{outcome="429",route="chat"}} {statuses.count(429)}.0' in counted
    )


def test_a_request_takes_the_places_that_another_leaves_free(organism_lm):
    bodies = [chat(n=n, temperature=1.0, max_tokens=32, midspan={"steps": 32}) for n in (6, 10)]

    async def ask():
        async with serving({"tiny": organism_lm}, batch_size=4) as (client, _):
            answers = await asyncio.gather(*(client.post(PATH, json=body) for body in bodies))
            return answers, (await client.get("/metrics")).text

    answers, metrics = asyncio.run(ask())
    assert [len(answer.json()["choices"]) for answer in answers] == [6, 10]
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
    rows, places = (float(lines[f"midspan_forward_{name}_total"]) for name in ("rows", "places"))
    # One request after the other would fill four in five.
    assert 0.85 * places < rows <= places


def test_time_is_limited_and_the_place_is_free_again(organism_lm):
    async def wait():
        async with serving({"tiny": organism_lm}, batch_size=1, timeout=0.15) as (client, service):
            began = time.monotonic()
            late = await client.post(PATH, json=chat(**ENDLESS))
            took = time.monotonic() - began
            streamed = await client.post(PATH, json=chat(**ENDLESS, stream=True))
            return late, took, streamed.text, service.is_idle

    late, took, streamed, is_idle = asyncio.run(wait())
    assert late.status_code == 408 and late.headers["x-should-retry"] == "false" and took < 5
    assert '"code":"timeout"' in streamed and "[DONE]" not in streamed
    assert is_idle


def test_a_row_that_fails_takes_no_other_with_it(organism_lm):
    """A rule leaves no token at a position of one request alone."""
    lm = organism_lm
    both = [
        {"rule": "allow", "texts": ["lantern"], "positions": [3]},
        {"rule": "ban", "texts": ["lantern"], "positions": [3]},
    ]
    good = chat(max_tokens=8, midspan={"rules": both, "anchors": [{"position": 3, "text": "now"}]})
    bad = chat(max_tokens=8, midspan={"rules": both})

    async def ask():
        async with serving({"tiny": lm}) as (client, _):
            return await asyncio.gather(*(client.post(PATH, json=one) for one in (good, bad, good)))

    first, wrong, third = asyncio.run(ask())
    assert wrong.status_code == 400 and "left no token" in wrong.json()["error"]["message"]
    wanted = midspan.generate(lm, ASK, length=8, anchors={3: "now"}, rules=both, progress=False)
    for answer in (first, third):
        assert answer.json()["choices"][0]["message"]["content"] == wanted.text


def test_logits_that_are_not_finite_are_told_and_cost_no_other_request(organism_lm):
    lm = replace(organism_lm, model=deepcopy(organism_lm.model))
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[lm.encode_text("sigil")[-1]] = float("nan")
    good, bad = chat(max_tokens=8), chat(max_tokens=8)
    bad["messages"] = [{"role": "user", "content": "the sigil"}]

    async def ask():
        async with serving({"tiny": lm}) as (client, _):
            return await asyncio.gather(*(client.post(PATH, json=one) for one in (good, bad, good)))

    first, broken, third = asyncio.run(ask())
    assert broken.status_code == 500 and broken.headers["x-should-retry"] == "false"
    assert broken.json()["error"]["message"] == NOT_FINITE
    wanted = midspan.generate(organism_lm, ASK, length=8, progress=False)
    for answer in (first, third):
        assert answer.json()["choices"][0]["message"]["content"] == wanted.text


def test_memory_that_runs_out_makes_batches_smaller(organism_lm, monkeypatch):
    advance, sizes = Stream.advance, []

    def short_of_memory(stream):
        sizes.append(len(stream.rows))
        if len(stream.rows) > 2:
            raise torch.OutOfMemoryError
        return advance(stream)

    monkeypatch.setattr(Stream, "advance", short_of_memory)

    async def ask():
        async with serving({"tiny": organism_lm}) as (client, _):
            sent = (client.post(PATH, json=chat(max_tokens=8, n=4)) for _ in range(2))
            answers = await asyncio.gather(*sent)
            more = await client.post(PATH, json=chat(max_tokens=8, n=4))
            return [answer.json() for answer in (*answers, more)]

    wanted = midspan.generate(organism_lm, ASK, length=8, progress=False)
    for answer in asyncio.run(ask()):
        assert [one["message"]["content"] for one in answer["choices"]] == [wanted.text] * 4
    assert max(sizes) > 2 and sizes[-1] <= 2


def test_a_fault_of_the_server_is_told_and_survived(organism_lm, monkeypatch):
    advance, faults = Stream.advance, [True, True]

    def faulty(stream):
        if faults and faults.pop():
            raise RuntimeError("a fault")
        return advance(stream)

    monkeypatch.setattr(Stream, "advance", faulty)

    async def ask():
        async with serving({"tiny": organism_lm}) as (client, service):
            faults[:] = [True]
            first = await client.post(PATH, json=chat(max_tokens=8))
            second = await client.post(PATH, json=chat(max_tokens=8))
            return first, second, service.is_idle

    first, second, is_idle = asyncio.run(ask())
    assert first.status_code == 500 and "a fault" not in first.text
    assert second.status_code == 200 and is_idle


def test_more_lanes_than_batches_all_get_their_turn(organism_lm):
    async def ask():
        async with serving({"tiny": organism_lm}) as (client, _):
            sent = (client.post(PATH, json=chat(max_tokens=n)) for n in range(4, 16))
            return await asyncio.gather(*sent)

    assert {answer.status_code for answer in asyncio.run(ask())} == {200}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_end_finishes_what_runs_and_refuses_what_waits(organism_lm, is_streamed):
    async def end():
        async with serving({"tiny": organism_lm}, batch_size=1) as (client, service):
            sent = [
                asyncio.ensure_future(client.post(PATH, json=chat(**LONG, stream=is_streamed)))
                for _ in range(3)
            ]
            while service._waiting.total() != 2:
                await asyncio.sleep(0.005)
            service.drain()
            health = await client.get("/health")
            new = await client.post(PATH, json=chat())
            return await asyncio.gather(*sent), new, health

    (ran, *waited), new, health = asyncio.run(end())
    assert ran.status_code == 200 and health.status_code == 503
    if is_streamed:
        assert events(ran.text)[-1]["choices"][0]["finish_reason"]
    for answer in (*waited, new):
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
