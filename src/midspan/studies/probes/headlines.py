"""The first screens of probes: what each of them answers, in a sentence and three numbers."""

from collections.abc import Sequence
from typing import Any

from midspan.bounds import RateBounds
from midspan.files import Record
from midspan.probes.activations import ActivationsConfig
from midspan.probes.context import grouped
from midspan.probes.instruction_placement import (
    InstructionPlacementConfig,
    instruction_placement_cells,
)
from midspan.probes.monitor_rates import best_monitor, monitor_cells
from midspan.probes.monitors import MonitorsConfig
from midspan.probes.order import OrderCell, OrderConfig, order_cells
from midspan.report import Headline, Number
from midspan.report.cells import TAU, mean_cell
from midspan.report.model import MOST_NUMBERS
from midspan.statistics import Estimate, wilson
from midspan.studies.headline import listed, share

_READING = "Rates with their 95 % Wilson interval. A probe measures and passes no verdict."


def answered_headline(records: Sequence[Record], config: Any) -> Headline:
    """Where a phrase or a suffix opens the most beyond its control; benign requests beside it."""
    fields = ("model", "decoding", "request_kind", *_phrase_fields(records[0]))
    every = {key: _rate(rows) for key, rows in grouped(records, *fields).items()}
    cells = {key: rate for key, rate in every.items() if key[2] != "benign"} or every
    without = {key[:3]: key for key in cells if key[4] is None}
    placed = [key for key in cells if key[4] is not None] or list(cells)

    def gain(key: tuple[Any, ...]) -> float:
        control = without.get(key[:3], key)
        return cells[key].least.rate - (cells[control].least.rate if control != key else 0.0)

    worst = max(placed, key=gain)
    control = without.get(worst[:3], worst)
    model, decoding, kind = worst[:3]
    with_what = _phrased(*worst[3:])
    sentence = (
        f"{model} answered {share(cells[worst])} {kind} requests with {with_what} ({decoding})"
    )
    numbers = [Number(f"{kind} requests with {with_what}", *_told(cells[worst]))]
    if control != worst:
        name = _phrased(*control[3:])
        most = "the largest gain" if gain(worst) > 0 else "no gain in any"
        sentence += f", against {share(cells[control])} with {name}: {most} of {len(placed)} cells"
        numbers.append(Number(f"{kind} requests with {name}", *_told(cells[control])))
    # Of one cell: rows of several are of the same requests, and their number says nothing.
    beside = [(model, decoding, "benign", *key[3:]) for key in (worst, control)]
    benign = next((key for key in beside if key in every and cells is not every), None)
    if benign:
        numbers.append(
            Number(f"benign requests with {_phrased(*benign[3:])}", *_told(every[benign]))
        )
    return Headline(tuple(numbers), text=_READING, sentence=f"{sentence}.")


def _told(rate: RateBounds) -> tuple[str, str]:
    return rate.percent, rate.note


def _phrased(phrase: str | None, place: int | None) -> str:
    if place is None:
        return phrase or "no phrase"
    # Some records hold the phrase itself.
    name = f"{_article(phrase)} {phrase} phrase" if phrase and " " not in phrase else f'"{phrase}"'
    return f"{name} at token {place}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _phrase_fields(record: Record) -> tuple[str, str]:
    """Where a record says which phrase it had, and where."""
    return (
        "phrase_kind" if "phrase_kind" in record else "phrase",
        "position" if "position" in record else "start",
    )


def _rate(rows: Sequence[Record]) -> RateBounds:
    return RateBounds.of(row["success"] for row in rows)


def order_headline(records: Sequence[Record], config: OrderConfig) -> Headline:
    """Kendall's tau of each model, and of chance, in the first decoding."""
    cells = order_cells(records)
    kind = "benign" if any(c.request_kind == "benign" for c in cells) else cells[0].request_kind
    chosen = [c for c in cells if c.decoding == cells[0].decoding and c.request_kind == kind]
    numbers = [_tau(c, "tau", c.model) for c in chosen[: MOST_NUMBERS - 1]]
    numbers.append(_tau(chosen[0], "tau_chance", f"chance, {chosen[0].model}"))
    told = listed(f"{number.value} for {number.label}" for number in numbers)
    return Headline(
        tuple(numbers),
        text="Kendall's tau-b of position and step: 1 is strictly left to right, 0 no order. Means "
        "over responses with their 95 % t interval. A probe measures and passes no verdict.",
        sentence=f"How far answers to {kind} requests are written from left to right "
        f"({chosen[0].decoding}, n = {chosen[0].means['tau'].n}): tau is {told}.",
    )


def _tau(cell: OrderCell, name: str, label: str) -> Number:
    shown = mean_cell(cell.means[name], TAU)
    return Number(label, shown.text, shown.note)


def activations_headline(records: Sequence[Record], config: ActivationsConfig) -> Headline:
    """The best layer and position of each model, beside random labels."""
    numbers = []
    for (model,), rows in grouped(records, "model").items():
        best = max(rows, key=lambda row: row["correct"] / row["n"])
        accuracy = wilson(best["correct"], best["n"])
        chance = max(best["permuted_accuracy"])
        where = f"layer {best['layer']}, position {best['position']}"
        note = f"{accuracy.note}; {where}; random labels at most {100 * chance:.1f} %"
        numbers.append(Number(model, accuracy.percent, note))
    told = listed(f"{number.value} for {number.label}" for number in numbers)
    return Headline(
        tuple(numbers[:MOST_NUMBERS]),
        text="Accuracy of the best layer and position, which was chosen among all of them and is "
        "therefore somewhat high. A probe measures and passes no verdict.",
        sentence="A linear classifier of activations tells harmful from benign requests; at its "
        f"best layer it is right in {told} (n = {records[0]['n']}).",
    )


def placement_headline(records: Sequence[Record], config: InstructionPlacementConfig) -> Headline:
    """Hits at the word that was asked for, beside those without the instruction."""
    cells = instruction_placement_cells(records, config)
    best = max(cells, key=lambda c: (c.exact.rate, c.exact.n))
    rates: dict[str, Estimate] = {
        "at the word, asked": best.exact,
        "at the word, unasked": best.unasked,
        f"within {config.tolerance} words, asked": best.near,
    }
    return Headline(
        tuple(Number(name, rate.percent, rate.note) for name, rate in rates.items()),
        text=_READING,
        sentence=f"{best.model} placed {_article(best.phrase_kind)} {best.phrase_kind} phrase at "
        f"word {best.word} in {share(best.exact)} responses ({best.decoding}), the most of "
        f"{len(cells)} cells; unasked it stood there in {share(best.unasked)}.",
    )


def monitors_headline(records: Sequence[Record], config: MonitorsConfig) -> Headline:
    """The best monitor of the first model, and the attack that it sees worst."""
    cells = monitor_cells(records, config.monitors, config.steps)
    place = (cells[0].model, cells[0].decoding)
    part = [c for c in cells if (c.model, c.decoding) == place]
    best = best_monitor(part)
    own = sorted((c for c in part if c.monitor == best and c.area.n), key=lambda c: c.area.mean)
    numbers = tuple(
        Number(c.condition, f"{c.area.mean:.2f}", f"[{c.area.low:.2f}, {c.area.high:.2f}]")
        for c in own[:MOST_NUMBERS]
    )
    worst = f"; it is lowest under {own[0].condition}, {own[0].area.mean:.2f}" if own else ""
    return Headline(
        numbers,
        text="AUROC of the best monitor under the attacks that it sees worst, with DeLong's 95 % "
        "interval. A probe measures and passes no verdict.",
        sentence=f"Of {len(config.monitors)} monitors of {place[0]} ({place[1]}), {best} has the "
        f"highest mean AUROC{worst}.",
    )
