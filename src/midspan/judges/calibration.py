"""How far a judge can be trusted: its verdicts on items whose label is known."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from midspan.data.behaviors import Behavior
from midspan.data.files import Row, read_rows
from midspan.engine.calls import Reply
from midspan.engine.problems import error_line, silence
from midspan.engine.roles import Role
from midspan.engine.scheduler import OnProgress
from midspan.errors import MidspanError
from midspan.files import read_json
from midspan.frozen import first_fault
from midspan.journal.journal import Journal
from midspan.judges.asking import verdicts
from midspan.judges.error import Confusion, Corrected, any_of_bounds, rogan_gladen
from midspan.statistics import Estimate, Interval, wilson

_MOST_REASONS = 3
# More items nobody has labelled.
_Count = Annotated[int, Field(ge=0, lt=1 << 31)]
SHIPPED = Path(__file__).parent / "calibration.jsonl"


@dataclass(frozen=True)
class LabelledItem:
    """A response with a label.

    Attributes:
        behavior: What was asked.
        response: What was answered.
        success: Whether the response gives what was asked for the most part, whatever its form.
        kind: compliant, refusing, incoherent, truncated, off-topic, or a kind of one's own.
    """

    behavior: Behavior
    response: str
    success: bool
    kind: str


def read_items(path: Path = SHIPPED, column: str = "request") -> tuple[LabelledItem, ...]:
    """Items of a file with request, response, success (true or false) and perhaps kind.

    Args:
        path: The file, in any format of `read_rows` that has truth values.
        column: Where the request stands.

    Raises:
        MidspanError: The file cannot be read, or a row is not as described.
    """
    try:
        rows = read_rows(path)
    except MidspanError as error:
        raise MidspanError(f"--items: {error}") from error
    items = tuple(_item(row, f"{path} row {n}", column) for n, row in enumerate(rows, 1))
    if not {item.success for item in items} == {True, False}:
        raise MidspanError(f"--items: {path} needs both successes and others")
    return items


def _item(row: Row, source: str, column: str) -> LabelledItem:
    if missing := [name for name in (column, "response", "success") if name not in row]:
        raise MidspanError(
            f"--items: {source} has no {missing[0]}; an item has {column}, response and success"
            + ("" if missing[0] != "request" else " (name the request's column: --column)")
        )
    request, response, success = row[column], row["response"], row["success"]
    if not (isinstance(request, str) and isinstance(response, str) and isinstance(success, bool)):
        raise MidspanError(
            f"--items: {source}: {column} and response are texts, success true or false"
        )
    kind = row.get("kind") or ""
    if not isinstance(kind, str):
        raise MidspanError(f"--items: {source}: kind must be a text")
    return LabelledItem(Behavior(source, request), response, success, kind)


@dataclass(frozen=True)
class Calibration:
    """A judge against labels. What it did not answer as asked is counted apart, never guessed.

    Attributes:
        judge: Its fingerprint.
        hits: Successes that it called so.
        misses: Successes that it did not call so.
        false_alarms: Other responses that it called successes.
        rejections: Other responses that it did not call so.
        unanswered: Items without a verdict, by failure.
        kinds: Called a success and judged, by kind.
        reasons: Why there is no verdict, with the items of each reason.
        traceback: Of the first error in the judge's own code, if any.
    """

    judge: str
    hits: _Count
    misses: _Count
    false_alarms: _Count
    rejections: _Count
    unanswered: dict[str, _Count]
    kinds: dict[str, tuple[_Count, _Count]]
    reasons: dict[str, _Count] = field(default_factory=dict)
    traceback: str = ""

    @property
    def confusion(self) -> Confusion:
        """Sensitivity, specificity and kappa."""
        return Confusion.of_counts(self.hits, self.misses, self.false_alarms, self.rejections)

    @property
    def agreement(self) -> Estimate:
        """Share of judged items with the label's verdict."""
        n = self.hits + self.misses + self.false_alarms + self.rejections
        return wilson(self.hits + self.rejections, n)

    @property
    def kappa(self) -> Interval:
        """Agreement beyond chance, with a percentile bootstrap over the items."""
        return kappa_interval(self.confusion)

    def correct(self, observed: Estimate) -> Corrected:
        """The rate of true successes behind the rate that this judge found."""
        confusion = self.confusion
        return rogan_gladen(observed, confusion.sensitivity, confusion.specificity)

    def correct_any(self, observed: Estimate, verdicts: int) -> tuple[Corrected, Corrected]:
        """The least and the most, where any of so many verdicts a behavior makes a success."""
        confusion = self.confusion
        return any_of_bounds(observed, confusion.sensitivity, confusion.specificity, verdicts)

    def rows(self) -> list[tuple[str, str]]:
        """Names and figures, for people."""
        unanswered = sum(self.unanswered.values())
        total = self.agreement.n + unanswered
        return [
            ("agreement", str(self.agreement)),
            ("kappa", str(self.kappa)),
            ("sensitivity", str(self.confusion.sensitivity)),
            ("specificity", str(self.confusion.specificity)),
            ("without verdict", str(wilson(unanswered, total))),
            *((f"{count} of them", reason) for reason, count in self._commonest()),
            *(
                (f"{kind or 'no kind'}, called a success", str(wilson(*counts)))
                for kind, counts in self.kinds.items()
            ),
        ]

    @property
    def problems(self) -> list[str]:
        """What makes the whole doubtful, a line each: a judge that never answered, or raised."""
        found = []
        if self.unanswered and not self.agreement.n:
            found.append(silence(self.judge, self._commonest()[0][0]))
        if self.traceback:
            error = self.traceback.strip().rpartition("\n")[2]
            found.append(error_line([error] * self.unanswered["error"], "items"))
        return found

    def _commonest(self) -> list[tuple[str, int]]:
        return Counter(self.reasons).most_common(_MOST_REASONS)

    def to_dict(self) -> dict[str, Any]:
        """Counts, from which everything else follows."""
        return dict(vars(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `midspan judge calibrate` wrote.

        Raises:
            MidspanError: The file is no calibration.
        """
        try:
            return cls.from_fields(read_json(path))
        except MidspanError as error:
            raise MidspanError(
                f"calibration: {path} is none; make one with midspan judge calibrate"
            ) from error

    @classmethod
    def from_fields(cls, fields: Any) -> Self:
        """What `to_dict` gave, from JSON.

        Raises:
            MidspanError: A count is none, or a field is missing or not known.
        """
        try:
            # As JSON: strict, and yet lists are tuples there.
            read = TypeAdapter(cls).validate_json(json.dumps(fields), strict=True)
        except ValidationError as error:
            raise MidspanError(f"calibration: {first_fault(error)}") from error
        if any(called > judged for called, judged in read.kinds.values()):
            raise MidspanError("calibration: kinds: must hold no more called than judged")
        return read


def calibrate(
    judge: Role,
    items: Sequence[LabelledItem],
    journal: Journal,
    on_progress: OnProgress | None = None,
    fail_fast: bool = False,
) -> Calibration:
    """Let a judge judge every item; what the journal holds is not asked again.

    Args:
        judge: Who judges.
        items: What is judged.
        journal: Verdicts are in it before they are used.
        on_progress: Told of progress.
        fail_fast: Raise an error in the judge's own code; by default its item has no verdict.
    """
    cases = [(item.behavior, item.response) for item in items]
    replies = verdicts("calibration", judge, cases, journal, on_progress, fail_fast)
    return tally(judge.fingerprint, items, replies)


def tally(judge: str, items: Sequence[LabelledItem], replies: Sequence[Reply]) -> Calibration:
    """Compare replies with labels."""
    judged = [
        (item.kind, item.success, reply.value.success)
        for item, reply in zip(items, replies, strict=True)
        if reply.ok
    ]
    cells = Counter((success, verdict) for _, success, verdict in judged)
    seen = Counter(kind for kind, _, _ in judged)
    called = Counter(kind for kind, _, verdict in judged if verdict)
    return Calibration(
        judge=judge,
        hits=cells[True, True],
        misses=cells[True, False],
        false_alarms=cells[False, True],
        rejections=cells[False, False],
        unanswered=dict(Counter(str(reply.failure) for reply in replies if not reply.ok)),
        kinds={kind: (called[kind], seen[kind]) for kind in dict.fromkeys(i.kind for i in items)},
        reasons=dict(Counter(reply.reason for reply in replies if not reply.ok).most_common()),
        traceback=next((reply.traceback for reply in replies if reply.traceback), ""),
    )


def kappa_interval(confusion: Confusion, resamples: int = 10_000) -> Interval:
    """Cohen's kappa with a 95 % percentile bootstrap over the items.

    Items are drawn with half of one more in each of the four cells: where a judge hardly errs, few
    draws from the items alone would hold an error, and the interval covers 91 % (benchmarks).
    """
    seen, rejected = confusion.sensitivity, confusion.specificity
    cells = [seen.successes, seen.n - seen.successes, rejected.n - rejected.successes]
    counts = np.array([*cells, rejected.successes])
    n = int(counts.sum())
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    shares = (counts + 0.5) / (n + 2)
    draws = np.random.default_rng(0).multinomial(n, shares, size=resamples) / n
    both, missed, alarms, neither = draws.T
    chance = (both + missed) * (both + alarms) + (alarms + neither) * (missed + neither)
    # Where chance agrees always, both are constant and alike: no disagreement was drawn.
    gain = np.where(chance < 1, 1 - chance, 1.0)
    values = np.where(chance < 1, (both + neither - chance) / gain, 1.0)
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(confusion.kappa, float(low), float(high), n)
