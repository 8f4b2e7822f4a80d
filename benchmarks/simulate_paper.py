"""What the whole paper costs at 8B on 1, 8 and 64 GPUs; see simulate.py.

How many calls and forwards there are follows from the engine itself. What one takes, and how often
a response is harmful, is not known here: `assumptions` says of each number whether it is measured,
published or assumed. `--row` puts a measured forward pass in the place of the published one.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from native_page import table
from simulate import Clock, Rates, Replies, Server, Timed, asking, computing, run

from midspan.engine.roles import RawReply, Role
from midspan.organism import attack_texts, language, world
from midspan.studies.paper.config import ORIGINAL
from midspan.studies.paper.presets import GPT, INITIAL, MOSA, paper
from midspan.studies.paper.rates import PROMPT_TOKENS, REPLY_TOKENS
from midspan.studies.probes.prepare import prepare as prepare_probe
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.prepare import PreparedRedteam, prepare
from midspan.studies.redteam.presets import organism_redteam

GPUS = (1, 8, 64)
BEHAVIORS = 100
DOLLARS_A_GPU_HOUR = 3.5
# llada-fast's README: 512 tokens in 128 steps at 169 tokens/s, batch 1, on one H100.
TOKEN_SECONDS = 1 / (169 * 128)
FORWARD_SECONDS = 0.002  # Of kernels' launches, whatever the batch.
PROMPT, CANVAS, STEPS = 128, 128, 128
TRAINING_SECONDS = 120  # A recipe's 3,000 prompts; docs/scaling.md.
# Responses that the evaluator would stop at: about the paper's ASR over thirty of them.
HARMFUL = {ORIGINAL: 0.05, INITIAL: 0.01, MOSA: 0.003}
# Attacks that read likelihoods or gradients: what they cost at most, without a simulation.
ANALYTIC = ("pal", "advprefix")
# Items and steps of a response, tokens of prompt and canvas.
TASKS = {"gsm8k": (1319, 512, 1536), "humaneval": (164, 512, 768), "mmlu": (14042, 3, 700)}
OVER_REFUSAL = (250, 128, 256)
_BACKWARD = 3
# Of a limit, or of the whole time: nothing else shortens the study any more.
_FULL = 0.9


class Task(NamedTuple):
    """What one GPU does in one piece: seconds in all, and those it computes."""

    name: str
    seconds: float
    busy: float


class Asked(NamedTuple):
    """A batch of the target's answers, or of a server's."""

    local: bool
    replies: Sequence[RawReply]


class Part(NamedTuple):
    """A part of the study: its tasks, and what servers were asked."""

    tasks: tuple[Task, ...]
    calls: int = 0


def harmful_and_refused(share: float) -> Replies:
    """A target's replies, so many of them whole answers."""
    rng = random.Random(0)
    items = world.restricted_items()
    texts = [language.helpful_answer(rng.choice(items), rng) for _ in range(round(1000 * share))]
    refusal = "i am sorry , but i cannot help with that ."
    return Replies([(text, STEPS) for text in texts + [refusal] * (1000 - len(texts))])


def attacks_of(part: RedteamConfig) -> PreparedRedteam:
    """A part's attacks at their published sizes, in words that scripted helpers answer."""
    rows = tuple(
        AttackSpec(
            attack=row.attack, adaptive=row.adaptive, budget=row.budget, label=row.label,
            config=attack_texts.texts(row.attack) | row.config,
        )
        for row in part.attacks
        if row.attack not in ANALYTIC
    )  # fmt: skip
    fields: dict[str, object] = {
        "models": ("organism",), "attacks": rows, "behaviors": f"organism:{BEHAVIORS}",
        "budget": part.budget, "paper_models": {},
    }  # fmt: skip
    return prepare(organism_redteam().model_copy(update=fields))


class Engine:
    """What the engine asks in a part, run once for a number of behaviors and told to any clock.

    Args:
        part: The part.
        sample: The most behaviors that are run; more are taken to cost in proportion.
    """

    def __init__(self, part: RedteamConfig, sample: int) -> None:
        self.prepared, self.sample = attacks_of(part), sample
        self._asked: dict[tuple[str, int], list[Asked]] = {}

    def share(self, label: str, behaviors: int) -> tuple[list[Asked], float]:
        """What is asked for one model, batch by batch; how many times that makes the share."""
        count = min(behaviors, self.sample)
        if (label, count) not in self._asked:
            self._asked[label, count] = self._run(label, count)
        return self._asked[label, count], behaviors / count

    def _run(self, label: str, count: int) -> list[Asked]:
        asked: list[Asked] = []
        clock = Clock()

        def noted(local: bool) -> Callable[[Clock, Sequence[RawReply]], None]:
            return lambda _, replies: asked.append(Asked(local, replies))

        words = harmful_and_refused(HARMFUL[label]).role()
        roles: dict[str, Role] = {"target": Timed(words, clock, noted(True), 32)}
        helpers = {who: helper.open() for who, helper in self.prepared.helpers.items()}
        roles |= {who: Timed(role, clock, noted(False)) for who, role in helpers.items()}
        judges: dict[str, Role] = {
            spec: Timed(judge.open(), clock, noted(False))
            for spec, judge in self.prepared.judges.items()
            if spec.startswith("exact")
        }
        run(self.prepared, roles | {"judge": judges["exact"]}, judges, slice(count))
        return asked


def simulated(name: str, part: RedteamConfig, engine: Engine, gpus: int, rates: Rates) -> Part:
    """A red-team part, its behaviors in a share a GPU; a share's models one after the other."""
    most_forwards, most_calls = analytic(part)
    computes, asks = computing(rates), asking(Server(), gpus)
    tasks, calls = [], 0.0
    for index in range(min(gpus, BEHAVIORS)):
        behaviors = len(range(index, BEHAVIORS, gpus))
        seconds = busy = 0.0
        for label in part.models:
            asked, times = engine.share(label, behaviors)
            clock = Clock()
            for batch in asked:
                (computes if batch.local else asks)(clock, batch.replies)
            computed = most_forwards * behaviors * (rates.row + rates.forward / 32)
            seconds += times * clock.now + computed
            busy += times * clock.busy + computed
            calls += times * clock.calls + most_calls * behaviors
        tasks.append(Task(f"{name}, a share of the behaviors", seconds, busy))
    return Part(tuple(tasks), round(calls))


def analytic(part: RedteamConfig) -> tuple[int, int]:
    """Rows through the network and calls of servers, a behavior at most."""
    from midspan.engine.forecast import forecast
    from midspan.studies.redteam.prepare import prepare_attack

    forwards = calls = 0
    for row in part.attacks:
        if row.attack in ANALYTIC:
            ready = prepare_attack(row, part.budget)
            cost = forecast(ready.attack, ready.config, ready.budget)
            assert cost is not None
            forwards += cost.generations * STEPS + sum(cost.forward_rows.values())
            calls += sum(needed.expected for needed in cost.helpers.values()) + 2 * cost.attempts
    return forwards, calls


def engines(sample: int) -> dict[str, Engine]:
    """By what their attacks ask: the same ones on as many behaviors cost the same."""
    return {shape_of(part): Engine(part, sample) for part in paper().attacks.values()}


def shape_of(part: RedteamConfig) -> str:
    """What a part's cost follows from."""
    return repr((part.attacks, part.behaviors.rpartition(":")[2]))


def parts(gpus: int, row: float, running: Mapping[str, Engine]) -> list[tuple[str, Part]]:
    """All parts of the paper."""
    config, rates = paper(), Rates(FORWARD_SECONDS, row)
    token = row / (PROMPT + CANVAS)
    found: list[tuple[str, Part]] = []
    for name, part in config.attacks.items():
        found.append((name, simulated(name, part, running[shape_of(part)], gpus, rates)))
    for name, probe in config.probes.items():
        few = 6
        own = probe.model_copy(
            update={"models": ("organism",), "harmful": None, "benign": None, "n": few}
        )
        cost = prepare_probe(own).cost([CANVAS])
        forwards = cost.generations * STEPS + cost.forwards + (_BACKWARD - 1) * cost.gradients
        seconds = forwards * (probe.n or few) / few * len(probe.models) * row
        found.append((name, Part((_computing(name, seconds),))))
    models = len(config.tasks["utility"].models)
    utility = sum(items * steps * tokens * token for items, steps, tokens in TASKS.values())
    items, steps, tokens = OVER_REFUSAL
    refusal = items * steps * tokens * token
    found.append(("utility", Part((_computing("utility", models * utility),))))
    found.append(("over-refusal", Part((_computing("over-refusal", models * refusal),))))
    return found


def _computing(name: str, seconds: float) -> Task:
    """A task that waits for no server."""
    return Task(name, seconds, seconds)


def makespan(tasks: Sequence[Task], gpus: int) -> float:
    """Seconds until all are done, the longest first, each on the GPU that is free first."""
    free = [0.0] * gpus
    for task in sorted(tasks, key=lambda task: -task.seconds):
        heapq.heapreplace(free, free[0] + task.seconds)
    return max(free)


def paper_table(row: float | None, gpus: Sequence[int], sample: int) -> str:
    """One row a number of GPUs; then what it rests on."""
    seconds_of_row = row or TOKEN_SECONDS * (PROMPT + CANVAS)
    running = engines(sample)
    rows = [cost_row(count, dict(parts(count, seconds_of_row, running))) for count in gpus]
    columns = (
        *("GPUs", "hours", "GPUs have a task, %", "GPUs compute, %", "calls a minute"),
        *("GPUs, dollars", "judge and helpers, dollars", "longest task", "what limits"),
    )
    stated = ("what", "value", "is", "from")
    return f"{table(columns, rows)}\n\n{table(stated, assumptions(row, sample))}"


def cost_row(count: int, found: Mapping[str, Part]) -> list[str]:
    """What so many GPUs take, and what keeps more of them from helping."""
    tasks = [task for part in found.values() for task in part.tasks]
    recipes = len(paper().recipes)
    measuring = makespan(tasks, count)
    seconds = -(-recipes // count) * TRAINING_SECONDS + measuring
    trained = recipes * TRAINING_SECONDS
    used = sum(task.seconds for task in tasks) + trained
    busy = sum(task.busy for task in tasks) + trained
    longest = max(tasks, key=lambda task: task.seconds)
    calls = sum(part.calls for part in found.values()) / (measuring / 60)
    return [
        str(count), f"{seconds / 3600:,.1f}", f"{100 * used / seconds / count:.0f}",
        f"{100 * busy / seconds / count:.0f}", f"{calls:,.0f}",
        f"{seconds / 3600 * count * DOLLARS_A_GPU_HOUR:,.0f}", f"{dollars(found):,.0f}",
        f"{longest.name}, {longest.seconds / 3600:.1f} h",
        limit_of(busy / used, longest.seconds / measuring, calls / Server().a_minute),
    ]  # fmt: skip


def limit_of(computing_share: float, longest_share: float, rate_share: float) -> str:
    """The first thing that more GPUs would not shorten.

    Args:
        computing_share: Of the time that GPUs have a task.
        longest_share: Of the whole that its longest task takes.
        rate_share: Of the servers' limit that is used.
    """
    if rate_share > _FULL:
        return "the judge's rate limit"
    if longest_share > _FULL:
        return "the longest task"
    return "computing" if computing_share > 1 / 2 else "waiting for the judge and helpers"


def assumptions(row: float | None, sample: int) -> list[list[str]]:
    """Every number that the table rests on, and what it is."""
    server, prices = Server(), paper().prices[GPT]
    milliseconds = 1000 * (row or TOKEN_SECONDS * (PROMPT + CANVAS))
    rate = ["measured", "--row"] if row else ["published", "llada-fast's README, H100, batch 1"]
    harmful = ", ".join(f"{label} {100 * share:g} %" for label, share in HARMFUL.items())
    return [
        ["calls, forwards, batches", f"of at most {sample} behaviors a share, in proportion",
         "counted", "the engine, its attacks and budgets"],
        [f"a row's forward, {PROMPT + CANVAS} positions", f"{milliseconds:.1f} ms", *rate],
        ["steps and canvas", f"{STEPS} of {CANVAS}", "published", "LLaDA's defaults"],
        ["pal and advprefix", "their whole budgets", "assumed", "they often stop earlier"],
        ["responses that end an attack", harmful, "assumed", "near the paper's rates"],
        ["a recipe's training, a forward's launches",
         f"{TRAINING_SECONDS} s, {1000 * FORWARD_SECONDS:g} ms", "assumed", ""],
        ["servers: a call, calls at once, calls a minute, tokens",
         f"{server.latency:g} s, {server.at_once}, {server.a_minute:,.0f}, "
         f"{PROMPT_TOKENS} and {REPLY_TOKENS}", "assumed", ""],
        ["price of a million tokens", "{:g} and {:g} dollars".format(*prices), "published",
         f"list price of {GPT}, April 2025"],
        ["price of a GPU's hour", f"{DOLLARS_A_GPU_HOUR:g} dollars", "assumed", ""],
        ["utility: items, steps, tokens", str(list(TASKS.values())), "published", "the benchmarks"],
    ]  # fmt: skip


def dollars(found: Mapping[str, Part]) -> float:
    """Of all calls at the study's prices."""
    prompt, reply = paper().prices[GPT]
    calls = sum(part.calls for part in found.values())
    return calls * (PROMPT_TOKENS * prompt + REPLY_TOKENS * reply) / 1e6
