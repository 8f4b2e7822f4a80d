"""What the red-team engine costs, and what it loses: overhead, batch fill, replay, a faulty server.

Run: python benchmarks/engine.py [study replay endpoint] [--quick] [-o FILE]

No model takes part: roles are functions that answer at once, so that all time is the engine's. The
attacks are shapes of published ones (trees, streams, sequences, samples) with random early stops.
"""

import argparse
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faulty_server import score_of, serving
from machine import describe_machine

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps, together
from midspan.engine.calls import Chat, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.roles import Role, Scripted
from midspan.engine.scheduler import AttackJob, SchedulerProgress, run_attacks
from midspan.engine.server import EndpointConfig
from midspan.journal.journal import Journal

WORDS = ("the", "canvas", "fills", "step", "by", "step", "with", "words", "of", "no", "meaning")


class Batched(Scripted):
    """A function that answers in batches of 32, as a local model does."""

    capacity = 32

    def size(self, call: Any) -> int:
        """Characters."""
        return sum(len(message["content"]) for message in call.messages)


def speak(call: Any, rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=150))


def rate(call: Any, rng: random.Random) -> str:
    return str(rng.choices(range(1, 11), weights=[20] + [10] * 8 + [1])[0])


def tree(state: AttackState, config: AttackConfig) -> Steps:
    """Branches of four, the best ten kept, ten levels (as TAP)."""
    leaves = [state.behavior.prompt]
    for _ in range(10):
        chats = [Chat("attacker", (user(leaf),)) for leaf in leaves for _ in range(4)][:10]
        proposals = yield chats
        chats = [Chat("target", (user(reply.text),)) for reply in proposals]
        responses = yield chats
        ratings = yield [Chat("evaluator", (user(r.text),), parse=int) for r in responses]
        for chat, response, rating in zip(chats, responses, ratings, strict=True):
            state.note(chat, response, score=rating.value)
        if any(rating.value == 10 for rating in ratings):
            return "success"
        leaves = [proposal.text for proposal in proposals]
    return "exhausted"


def stream(state: AttackState, rounds: int) -> Steps:
    for _ in range(rounds):
        (proposal,) = yield [Chat("attacker", (user(state.behavior.prompt),))]
        chat = Chat("target", (user(proposal.text),))
        (response,) = yield [chat]
        (rating,) = yield [Chat("evaluator", (user(response.text),), parse=int)]
        state.note(chat, response, score=rating.value)
        if rating.value == 10:
            return "success"
    return "exhausted"


def streams(state: AttackState, config: AttackConfig) -> Steps:
    """Twenty conversations of three rounds (as PAIR)."""
    yield from together([stream(state, 3) for _ in range(20)])
    return "exhausted"


def sequence(state: AttackState, config: AttackConfig) -> Steps:
    """Ten rounds, one after the other (as DIA)."""
    return (yield from stream(state, 10))


def samples(state: AttackState, config: AttackConfig) -> Steps:
    """Eight samples of the request itself."""
    chat = Chat("target", (user(state.behavior.prompt),))
    for reply in (yield [chat] * 8):
        state.note(chat, reply)
    return "exhausted"


def attack(function: Callable[[AttackState, Any], Steps], name: str = "") -> Attack:
    return Attack(name or function.__name__, function, AttackConfig, ("target",), counts="any")


SHAPES = [attack(shape) for shape in (tree, streams, sequence, samples)]


def study(behaviors: int, copies: int, roles: dict[str, Role]) -> list[AttackJob]:
    shapes = [attack(a.run, f"{a.name}-{n}") for n in range(copies) for a in SHAPES]
    return [
        AttackJob(shape, AttackConfig(), Behavior(f"b{i}", f"request {i}"), roles)
        for shape in shapes
        for i in range(behaviors)
    ]


def helpers() -> dict[str, Role]:
    return {
        "target": Batched(speak, "target"),
        "attacker": Batched(speak, "attacker"),
        "evaluator": Scripted(rate, "evaluator"),
    }


def timed(
    jobs: Sequence[AttackJob], path: Path, **options: Any
) -> tuple[dict[str, float], list[Any]]:
    """Seconds on the clock and of the processor, and the results."""
    wall, cpu = time.perf_counter(), time.process_time()
    with Journal(path) as journal:
        results = run_attacks(jobs, journal, **options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": round(wall, 2), "cpu": round(cpu, 2)}, results


def measure_study(behaviors: int, copies: int, folder: Path) -> dict[str, Any]:
    """One study, then the same from its journal."""
    reports: dict[str, list[SchedulerProgress]] = defaultdict(list)
    jobs = study(behaviors, copies, helpers())
    path = folder / "study.jsonl"
    seconds, results = timed(
        jobs, path, on_progress=lambda report: reports[report.role].append(report)
    )
    requests = sum(usage.calls for result in results for usage in result.usage.values())
    replay_seconds, replayed = timed(jobs, path)
    assert replayed == results
    target = reports["target"]
    return {
        "jobs": len(jobs),
        "requests": requests,
        "seconds": seconds,
        "ms_per_request": {k: round(1000 * v / requests, 3) for k, v in seconds.items()},
        "target_rows": sum(report.computed for report in target),
        "target_fill": round(
            sum(report.computed for report in target)
            / (32 * sum(report.batches for report in target)),
            4,
        ),
        "journal_mib": round(path.stat().st_size / 2**20, 1),
        "replay_seconds": replay_seconds,
    }


def ask(state: AttackState, config: AttackConfig) -> Steps:
    def score(text: str) -> int:
        return int(json.loads(text)["score"])

    chat = Chat("target", (user(state.behavior.prompt),), max_tokens=20, parse=score, retries=4)
    (reply,) = yield [chat]
    state.note(chat, reply, score=reply.value)
    return "exhausted" if reply.ok else "failed"


def measure_endpoint(requests: int, folder: Path) -> dict[str, Any]:
    """Every question must come back once, with its own score."""
    path = folder / "endpoint.jsonl"
    with serving(rate=0.2, slow=1.0) as server:
        config = EndpointConfig.from_spec(
            server.spec, timeout=0.5, attempts=8, backoff=0.5, concurrency=32
        )
        behaviors = [Behavior(f"b{i}", f"question {i}") for i in range(requests)]
        roles = {"target": Endpoint(config)}
        jobs = [AttackJob(attack(ask), AttackConfig(), behavior, roles) for behavior in behaviors]
        seconds, results = timed(jobs, path)
        received = sum(server.seen.values())
        faults = dict(sorted(server.faults.items()))
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    scores = [[attempt.score for attempt in result.attempts] for result in results]
    right_scores = [score_of(behavior.prompt) for behavior in behaviors]
    retried = sum(result.usage["target"].calls - 1 for result in results)
    return {
        "requests": requests,
        "seconds": seconds,
        "received_by_server": received,
        "faults": faults,
        "lost": sum(not own for own in scores),
        "duplicated": len(keys) - len(set(keys)) + len(keys) - requests - retried,
        "mis_scored": sum(
            own != [right] for own, right in zip(scores, right_scores, strict=True) if own
        ),
        "asked_again_as_unparseable": retried,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["study", "replay", "endpoint"])
    parser.add_argument("--quick", action="store_true", help="hand-sized, for tests")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    quick = options.quick
    measured: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "study" in options.parts:
            measured["study"] = measure_study(4 if quick else 100, 1, folder)
        if "replay" in options.parts:
            (folder / "study.jsonl").unlink(missing_ok=True)
            measured["replay"] = measure_study(4 if quick else 520, 2, folder)
        if "endpoint" in options.parts:
            measured["endpoint"] = measure_endpoint(200 if quick else 10_000, folder)
    print(json.dumps(measured, indent=1))
    if options.output:
        options.output.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
