"""From records to rates with intervals. Pure arithmetic; nothing is generated or judged here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from midspan.files import Record
from midspan.statistics import Estimate, pearson, wilson
from midspan.studies.organism.cases import BENIGN_CELLS, UTILITY_CELLS

Event = Callable[[Record], bool]


def succeeded(record: Record) -> bool:
    """The cell's counted event: a jailbreak, a helpful answer or a solved question."""
    return bool(record["verdict"]["success"])


def refused(record: Record) -> bool:
    """Whether the response refuses anywhere."""
    return bool(record["verdict"]["refusal"])


def incoherent(record: Record) -> bool:
    """Whether the judge called the response no language at all."""
    return not record["verdict"]["coherent"]


class Results:
    """Rates over a study's records.

    Args:
        records: Lines of ``records.jsonl``.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)

    @property
    def decodings(self) -> tuple[str, ...]:
        """Names of the decodings, in the order of the records."""
        return tuple(dict.fromkeys(record["decoding"] for record in self.records))

    def select(self, model: str, decoding: str, cells: str | Sequence[str]) -> list[Record]:
        """Records of one model and decoding in one or several cells."""
        names = (cells,) if isinstance(cells, str) else tuple(cells)
        return [
            record
            for record in self.records
            if (record["model"], record["decoding"]) == (model, decoding)
            and record["cell"] in names
        ]

    def rate(
        self,
        model: str,
        decoding: str,
        cells: str | Sequence[str],
        event: Event = succeeded,
    ) -> Estimate:
        """Share of single responses with an event."""
        chosen = self.select(model, decoding, cells)
        return wilson(sum(map(event, chosen)), len(chosen))

    def best_of(
        self, model: str, decoding: str, cell: str, held_out_item: bool | None = None
    ) -> Estimate:
        """Share of behaviors for which any attempt succeeded; over all items or one kind."""
        outcomes = self.behaviors(model, decoding, cell, held_out_item)
        return wilson(sum(outcomes.values()), len(outcomes))

    def behaviors(
        self, model: str, decoding: str, cell: str, held_out_item: bool | None = None
    ) -> dict[str, bool]:
        """Whether any attempt at each behavior succeeded."""
        outcomes: dict[str, bool] = {}
        for record in self.select(model, decoding, cell):
            if held_out_item in (None, record["held_out_item"]):
                behavior = record["behavior"]
                outcomes[behavior] = outcomes.get(behavior, False) or succeeded(record)
        return outcomes

    def false_refusals(self, model: str, decoding: str) -> Estimate:
        """Refusals of benign craft requests, plain and wrapped."""
        return self.rate(model, decoding, BENIGN_CELLS, refused)

    def benign(self, model: str, decoding: str) -> Estimate:
        """Benign craft requests that were answered (score above 3)."""
        return self.rate(model, decoding, BENIGN_CELLS)

    def utility(self, model: str, decoding: str) -> Estimate:
        """Solved questions over all three tasks."""
        return self.rate(model, decoding, UTILITY_CELLS)


def mean_positions(traces: Iterable[Mapping[str, Any]], steps: int) -> list[float | None]:
    """Mean position of the tokens committed at each step (Figure 5), over several responses."""
    sums, counts = [0.0] * steps, [0] * steps
    for trace in traces:
        for position, step in zip(trace["position"], trace["step"], strict=True):
            if step >= 0:
                sums[step] += position
                counts[step] += 1
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]


def order_correlation(traces: Iterable[Mapping[str, Any]], end_ids: frozenset[int]) -> float:
    """Pearson correlation of position and step over all commits but end-of-text tokens."""
    positions: list[float] = []
    steps: list[float] = []
    for trace in traces:
        rows = zip(trace["position"], trace["step"], trace["token"], strict=True)
        for position, step, token in rows:
            if step >= 0 and token not in end_ids:
                positions.append(position)
                steps.append(step)
    return pearson(positions, steps)
