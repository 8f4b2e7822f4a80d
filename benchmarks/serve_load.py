"""What `midspan serve` does under load: answers lost, doubled or mixed up, batch fill, throughput.

Run: python benchmarks/serve_load.py [load throughput] [--requests N] [--clients N] [-o FILE]

Clients of as many addresses of loopback ask the organism and an adapter for small canvases; some
leave, some send what is no request, some read slowly. Every answer is compared with the offline
decode of its request. Throughput is the server's over the offline decoder's, at equal batch and
with one thread each, in turn in one run. Linux alone has all of 127.0.0.0/8.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import torch
from machine import describe_machine

from midspan.decoding import chat_request, decode, decoding_config
from midspan.models.sharing import load_sharing
from midspan.organism.world import items

MODELS = ("organism", "organism:psa")
# How often, of a hundred, a client does something else than ask and read.
HABITS = {"whole": 66, "stream": 14, "leave": 8, "bad": 8, "slow": 4}
BAD = (
    b"{",
    b"[1]",
    b'{"model":"organism"}',
    b'{"model":"organism","messages":[],"n":0}',
    b'{"model":"none","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"organism","messages":[{"role":"user","content":"\xff"}]}',
    b'{"model":"organism","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
)


class Asked(NamedTuple):
    """A request, and the answer that it must get."""

    body: dict[str, Any]
    answer: str


@dataclass
class Counts:
    """What came of the requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def make_requests(count: int, length: int, steps: int) -> list[Asked]:
    """Requests with their answers, decoded offline."""
    models = load_sharing(MODELS, device="cpu")
    rng = random.Random(0)
    names = [item.title for item in items()]
    bodies: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    for number in range(count):
        model = MODELS[number % 3 == 2]
        text = f"how do i make the {rng.choice(names)} ?" + " please" * rng.randrange(4)
        bodies[model].append({
            "model": model, "messages": [{"role": "user", "content": text}], "seed": number,
            "temperature": 1.0, "max_tokens": length, "midspan": {"steps": steps},
        })  # fmt: skip
    asked = []
    for model, wanted in bodies.items():
        lm = models[model]
        config = decoding_config(lm, length=length, steps=steps, temperature=1.0)
        requests = [chat_request(lm, b["messages"], config, seed=b["seed"]) for b in wanted]
        texts = [one.text for one in decode(lm, requests, config)]
        asked += [Asked(body, text) for body, text in zip(wanted, texts, strict=True)]
    return asked


@contextmanager
def serving(batch: int) -> Iterator[str]:
    """A server in a process of its own; its URL."""
    command = [sys.executable, "-m", "midspan.cli", "serve", *MODELS, "--port", "0"]
    command += ["--batch-size", str(batch), "--grace", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" on ")[1].strip().removesuffix("/v1")
        finally:
            process.terminate()
            if process.wait(30):
                raise SystemExit(f"the server ended with status {process.returncode}")


class Client:
    """One connection at a time, from an address of its own."""

    def __init__(self, url: str, number: int, counts: Counts) -> None:
        self._port, self._counts = int(url.rpartition(":")[2]), counts
        self._address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self._rng = random.Random(number)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _send(self, body: bytes) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, local_addr=(self._address, 0)
            )
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = self._streams
        writer.write(head.encode() + body)
        await writer.drain()
        return reader

    def leave(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def do(self, asked: Asked) -> None:
        """One request, by one of the habits."""
        habit = self._rng.choices(list(HABITS), list(HABITS.values()))[0]
        began = time.perf_counter()
        if habit == "bad":
            status, _, _ = await self._read(await self._send(self._rng.choice(BAD)), pause=0)
            self._count("refused" if 400 <= status < 500 else f"bad body: {status}")
            return
        is_streamed = habit in ("stream", "slow")
        body = {**asked.body, "stream": is_streamed}
        if habit == "slow":
            body["midspan"] = {**body["midspan"], "frames": True}
        reader = await self._send(json.dumps(body).encode())
        if habit == "leave":
            await asyncio.sleep(self._rng.random() * 0.5)
            self.leave()
            self._count("left")
            return
        status, head, content = await self._read(reader, 0.02 if habit == "slow" else 0)
        if status != 200:
            self._count(f"status {status}")
            return
        text, name = read_stream(content) if is_streamed else read_whole(content)
        self._counts.ids[name] += 1
        self._counts.seconds.append(time.perf_counter() - began)
        self._count("answered" if text == asked.answer else "wrong")
        if text != asked.answer:
            self._counts.faults.append(f"{asked.answer!r} came as {text!r}")

    async def _read(self, reader: asyncio.StreamReader, pause: float) -> tuple[int, bytes, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length:
            return status, head, await reader.readexactly(int(length[1]))
        content = b""
        while True:
            size = int((await reader.readline()).strip(), 16)
            content += (await reader.readexactly(size + 2))[:-2]
            if size == 0:
                return status, head, content
            if pause:
                await asyncio.sleep(pause)

    def _count(self, outcome: str) -> None:
        self._counts.outcomes[outcome] += 1


def read_whole(content: bytes) -> tuple[str, str]:
    answer = json.loads(content)
    return answer["choices"][0]["message"]["content"], answer["id"]


def read_stream(content: bytes) -> tuple[str, str]:
    lines = [line for line in content.decode().splitlines() if line]
    if lines[-1] != "data: [DONE]":
        return f"no end: {lines[-1]}", ""
    objects = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    deltas = [one["choices"][0]["delta"].get("content") or "" for one in objects]
    return "".join(deltas), objects[0]["id"]


async def ask_all(url: str, asked: list[Asked], order: list[int], clients: int) -> Counts:
    """Let clients ask until the order is done."""
    counts, left = Counts(), iter(order)

    async def work(number: int) -> None:
        client = Client(url, number, counts)
        for index in left:
            try:
                await asyncio.wait_for(client.do(asked[index]), 300)
            except (OSError, EOFError, TimeoutError) as error:
                counts.outcomes["lost"] += 1
                counts.faults.append(repr(error))
                client.leave()
        client.leave()

    await asyncio.gather(*(work(number) for number in range(clients)))
    return counts


def counters(url: str) -> dict[str, float]:
    """The server's own counters."""
    with urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def load(options: argparse.Namespace) -> dict[str, Any]:
    """Many clients with all habits."""
    asked = make_requests(options.distinct, options.length, options.steps)
    rng = random.Random(1)
    order = [rng.randrange(len(asked)) for _ in range(options.requests)]
    with serving(options.batch) as url:
        began = time.perf_counter()
        counts = asyncio.run(ask_all(url, asked, order, options.clients))
        seconds = time.perf_counter() - began
        counted = counters(url)
    cuts = statistics.quantiles(counts.seconds, n=100)
    filled = counted["midspan_forward_rows_total"] / counted["midspan_forward_places_total"]
    return {
        "requests": options.requests,
        "clients": options.clients,
        "distinct answers": len({one.answer for one in asked}),
        "outcomes": dict(counts.outcomes),
        "doubled": sum(n > 1 for n in counts.ids.values()),
        "faults": counts.faults[:5],
        "seconds": round(seconds, 1),
        "p50": round(cuts[49], 3),
        "p99": round(cuts[98], 3),
        "batch fill": round(filled, 3),
        "in the queue at the end": counted["midspan_queue_rows"],
        "in batches at the end": counted["midspan_batch_rows"],
    }


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """The server's requests a second over the offline decoder's."""
    torch.set_num_threads(1)
    lm = load_sharing(MODELS[:1], device="cpu")[MODELS[0]]
    plain = [
        one for one in make_requests(3 * options.rows, 32, 32) if one.body["model"] == MODELS[0]
    ]
    plain = plain[: options.rows]
    config = decoding_config(lm, length=32, steps=32, temperature=1.0)
    requests = [chat_request(lm, a.body["messages"], config, seed=a.body["seed"]) for a in plain]
    for habit in HABITS:
        HABITS[habit] = 100 * (habit == "whole")
    offline, served = [], []
    with serving(options.batch) as url:
        order = list(range(len(plain)))
        asyncio.run(ask_all(url, plain, order[: options.batch], options.clients))
        for _ in range(options.repeats):
            began = time.perf_counter()
            decode(lm, requests, config, batch_size=options.batch)
            offline.append(time.perf_counter() - began)
            began = time.perf_counter()
            counts = asyncio.run(ask_all(url, plain, order, options.clients))
            served.append(time.perf_counter() - began)
            assert counts.outcomes == {"answered": len(plain)}, counts
    ratios = [a / b for a, b in zip(offline, served, strict=True)]
    return {
        "requests": len(plain),
        "offline, requests a second": [round(len(plain) / one, 1) for one in offline],
        "served, requests a second": [round(len(plain) / one, 1) for one in served],
        "ratio, median": round(statistics.median(ratios), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=["load", "throughput"])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--distinct", type=int, default=256)
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"machine": describe_machine()}
    for part in options.parts:
        results[part] = {"load": load, "throughput": throughput}[part](options)
        print(json.dumps({part: results[part]}, indent=1), flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
