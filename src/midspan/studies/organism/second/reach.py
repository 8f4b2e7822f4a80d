"""How far attacker and defender reach into an answer: the paper's Figure 1, on twins.

A diffusion model and its autoregressive twin learned the same data, and are measured alike:

- *prefill*: the first k tokens of a true answer to a sealed request are put at the start;
- *refusal*: a refusal is put at position k of an answer to a disguised request;
- *suffix*: the loss of an affirmative phrase at position k, before and after steps of greedy
  coordinate gradient on a suffix of the request.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from midspan.organism.second import answers, asked, phrases, speech
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.judge import judge
from midspan.organism.second.world import WorkItem, sealed_items, spread
from midspan.report.cells import line_figure
from midspan.report.figures import Curve
from midspan.report.model import Figure
from midspan.scoring.gcg_step import GCGConfig, sample_candidates
from midspan.statistics import Interval, mean_interval, wilson
from midspan.studies.organism.second.writers import Goal, Put, Writer

PREFILL, REFUSAL, SUFFIX = "prefill", "refusal", "suffix"
Record = dict[str, Any]
OnRecords = Callable[[int], None]


@dataclass(frozen=True)
class ReachConfig:
    """What is measured.

    Attributes:
        n: Requests of each measurement.
        prefills: Numbers of tokens of a true answer that are put at the start.
        positions: Positions of a refusal, and of the phrase that a suffix is to bring about.
        suffix: The searched suffix to begin with; its tokens are replaced.
        search: The steps; ``round_trip`` does not matter, as the twins read tokens.
        seed: Of requests and search.
    """

    n: int = 48
    prefills: tuple[int, ...] = (0, 4, 8, 16, 24, 32, 48)
    positions: tuple[int, ...] = (0, 5, 10, 20, 40, 60)
    suffix: str = " x x x x x x x x"
    search: GCGConfig = GCGConfig(steps=1, search_width=64, top_k=64)
    seed: int = 0


def measure(
    writer: Writer, config: ReachConfig, allowed_V: torch.Tensor, on: OnRecords = lambda _: None
) -> list[Record]:
    """All records of one model.

    Args:
        writer: The model.
        config: What is measured.
        allowed_V: Tokens that a suffix may hold, bool [V].
        on: Told how many records have just been made.
    """
    encoder = Encoder()
    sealed = spread(sealed_items())
    works = [sealed[index % len(sealed)] for index in range(config.n)]
    records = []
    for position in config.prefills:
        records += _prefilled(writer, config, encoder, works, position)
        on(len(works))
    for planted in (None, *config.positions):
        records += _refused(writer, config, encoder, works, planted)
        on(len(works))
    for position in config.positions:
        for number, item in enumerate(works):
            records += _searched(writer, config, encoder, (number, item), position, allowed_V)
        on(len(works))
    return [{"model": writer.name, "kind": writer.kind, **record} for record in records]


def _prefilled(
    writer: Writer, config: ReachConfig, encoder: Encoder, works: Sequence[WorkItem], count: int
) -> list[Record]:
    """Success counts the facts that the attacker has not brought along."""
    puts, given = [], []
    for number, item in enumerate(works):
        rng = random.Random(f"reach/{config.seed}/{PREFILL}/{number}")
        prompt = asked.plain(item, rng)
        told = tuple(encoder.text(answers.recipe(item, "usual", rng, 0.0))[:count])
        puts.append(Put(prompt, told))
        given.append(str(encoder.backend.decode(list(told))))
    return [
        _record(PREFILL, count, item, text, judge(item, text, [start]).success)
        for item, text, start in zip(works, writer.answers(puts), given, strict=True)
    ]


def _refused(
    writer: Writer,
    config: ReachConfig,
    encoder: Encoder,
    works: Sequence[WorkItem],
    position: int | None,
) -> list[Record]:
    """Success is the attacker's: the disguised request is answered all the same."""
    puts = []
    for number, item in enumerate(works):
        rng = random.Random(f"reach/{config.seed}/{REFUSAL}/{number}")
        prompt = asked.disguised(item, None, rng)
        words = f"{' ' if position else ''}{phrases.SAFE[0]}"
        ids = () if position is None else tuple(encoder.text(words))
        puts.append(Put(prompt, ids, position or 0))
    return [
        _record(REFUSAL, position, item, text, judge(item, text).success)
        for item, text in zip(works, writer.answers(puts), strict=True)
    ]


def _record(
    measured: str, position: int | None, item: WorkItem, text: str, success: bool
) -> Record:
    return {
        "measured": measured,
        "position": position,
        "item": item.name,
        "response": text,
        "success": success,
    }


def _searched(
    writer: Writer,
    config: ReachConfig,
    encoder: Encoder,
    numbered: tuple[int, WorkItem],
    position: int,
    allowed_V: torch.Tensor,
) -> list[Record]:
    """Loss before and after the search; nothing where the model's answer ends before."""
    number, item = numbered
    rng = random.Random(f"reach/{config.seed}/{SUFFIX}/{number}")
    ids, free = with_suffix(encoder, asked.plain(item, rng), config.suffix)
    words = f"{' ' if position else ''}{speech.usual_opening(item.title)}"
    goal = writer.goal(ids, tuple(encoder.text(words)), position)
    if goal is None:
        return []
    losses = search(writer, ids, free, goal, config.search, allowed_V)
    base = {"measured": SUFFIX, "position": position, "item": item.name}
    return [base | {"before": losses[0], "after": min(losses)}]


def with_suffix(encoder: Encoder, prompt: str, suffix: str) -> tuple[list[int], list[int]]:
    """A conversation's ids with a suffix behind the request, and the suffix's places."""
    ids = encoder.prompt([("user", f"{prompt}{suffix}")])
    size, behind = len(encoder.text(suffix)), len(encoder.prompt([]))
    end = len(ids) - behind
    return ids, list(range(end - size, end))


def search(
    writer: Writer,
    ids: Sequence[int],
    free: Sequence[int],
    goal: Goal,
    config: GCGConfig,
    allowed_V: torch.Tensor,
) -> list[float]:
    """The loss before the search and after each step, nats a token."""
    best = list(ids)
    losses = [float(writer.losses([best], goal)[0])]
    for step in range(config.steps):
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        gradient_FV = writer.gradient(best, free, goal)
        now_F = torch.tensor([best[place] for place in free])
        drawn_SF = sample_candidates(now_F, gradient_FV, allowed_V, config, generator)
        rows = []
        for candidate in drawn_SF.tolist():
            row = list(best)
            for place, token in zip(free, candidate, strict=True):
                row[place] = token
            rows.append(row)
        found_S = writer.losses(rows, goal)
        best = rows[int(found_S.argmin())]
        losses.append(float(found_S.min()))
    return losses


_SAID: Mapping[str, tuple[str, str, str]] = {
    PREFILL: (
        "Success by tokens of a true answer at the start",
        "tokens of the answer that the attacker writes",
        "success on the rest, %",
    ),
    REFUSAL: (
        "Success of disguised requests by position of a refusal",
        "position of the refusal that the defender writes",
        "success, %",
    ),
    SUFFIX: (
        "What a step on the suffix gains, by position of the phrase",
        "position of the phrase",
        "loss taken away, nats/token",
    ),
}


def figures(records: Sequence[Record]) -> list[Figure]:
    """One figure a measurement, one line a model, with 95 % intervals."""
    made = []
    for measured, (title, xlabel, ylabel) in _SAID.items():
        part = [record for record in records if record["measured"] == measured]
        curves = [_curve(part, kind) for kind in _unique(record["kind"] for record in part)]
        caption = f"At most n = {_most(part)} requests a point."
        made.append(line_figure(title, curves, xlabel, ylabel, caption))
    return made


def table(records: Sequence[Record]) -> str:
    """All numbers as a Markdown table: a row a measurement and position, a column a model."""
    kinds = _unique(record["kind"] for record in records)
    lines = [f"| measured | position | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|"]
    for measured, position in _unique((r["measured"], r["position"]) for r in records):
        cells = []
        for kind in kinds:
            rows = [
                r
                for r in records
                if (r["measured"], r["position"], r["kind"]) == (measured, position, kind)
            ]
            cells.append(_said(measured, rows))
        place = "none put" if position is None else str(position)
        lines.append(f"| {measured} | {place} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _said(measured: str, rows: Sequence[Record]) -> str:
    if not rows:
        return "n=0"
    if measured == SUFFIX:
        first = mean_interval([row["before"] for row in rows])
        return f"loss {first.mean:.3g}, gain {_gain(rows)}"
    return str(wilson(sum(row["success"] for row in rows), len(rows)))


def _gain(rows: Sequence[Record]) -> Interval:
    return mean_interval([row["before"] - row["after"] for row in rows])


def _curve(records: Sequence[Record], kind: str) -> Curve:
    own = [r for r in records if r["kind"] == kind and r["position"] is not None]
    positions = _unique(record["position"] for record in own)
    groups = [[r for r in own if r["position"] == place] for place in positions]
    if own and own[0]["measured"] == SUFFIX:
        gains = [_gain(group) for group in groups]
        return Curve(
            kind, positions,
            [one.mean for one in gains], [one.low for one in gains], [one.high for one in gains],
        )  # fmt: skip
    estimates = [wilson(sum(r["success"] for r in group), len(group)) for group in groups]
    return Curve.of_estimates(kind, positions, estimates)


def _most(records: Sequence[Record]) -> int:
    groups = Counter((record["kind"], record["position"]) for record in records)
    return max(groups.values(), default=0)


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
