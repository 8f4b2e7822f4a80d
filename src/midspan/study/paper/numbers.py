"""The primary numbers that a study's hypotheses may name, each read from the records of a part."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from midspan.probes.context import Record, grouped
from midspan.statistics import (
    Interval,
    mean_interval,
    wilson,
)
from midspan.study.hypotheses import Finding
from midspan.study.paper.config import PaperConfig
from midspan.tasks.overrefusal import SAFE

# From the records of a part to what they say, by decoding.
Number = Callable[[Sequence[Record]], Mapping[str, Finding]]
ONE_BLOCK = "one block"
_FIRST, _MIDDLE = ("affirmative", 0), "procedural"
_OVERREFUSAL = "overrefusal"
ANY_WINS = "behaviors that any attack wins"


def numbers(config: PaperConfig) -> dict[str, tuple[str, Number]]:
    """Every number that the study's parts can give: its part and how it is read, by its name."""
    found: dict[str, tuple[str, Number]] = {}
    for part, probe in config.probes.items():
        for label in probe.models:
            for name, number in _OF_PROBES.get(probe.probe, {}).items():
                found[f"{part}: {name}, {label}"] = (part, partial(number, model=label))
    for part, attacks in config.attacks.items():
        judge = attacks.judges[0]
        for label in attacks.models:
            number = partial(_broken, model=label, judge=judge)
            found[f"{part}: {ANY_WINS}, {label}"] = (part, number)
            for other in attacks.models:
                if other != label:
                    pair = partial(_broken_less, model=label, other=other, judge=judge)
                    found[f"{part}: {ANY_WINS}, {label} less {other}"] = (part, pair)
    for part, tasks in config.tasks.items():
        for label in tasks.models[1:]:
            score = partial(_score_less, model=label, other=tasks.models[0])
            found[f"{part}: share solved, {label} less {tasks.models[0]}"] = (part, score)
            if _OVERREFUSAL in tasks.tasks:
                refused = partial(_refused_less, model=label, other=tasks.models[0])
                name = f"{part}: false refusals, {label} less {tasks.models[0]}"
                found[name] = (part, refused)
    return found


def _of(records: Sequence[Record], **wanted: Any) -> list[Record]:
    return [row for row in records if all(row.get(k) == v for k, v in wanted.items())]


def _rate(successes: Sequence[bool]) -> Finding:
    return Finding.of_rate(wilson(sum(successes), len(successes)))


def _mean(interval: Interval) -> Finding:
    text = f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}] n={interval.n}"
    return Finding(interval.mean, interval.low, interval.high, interval.n, text)


def _middle_less_first(records: Sequence[Record], model: str) -> dict[str, Finding]:
    """Of each harmful request: procedural phrases in the middle less an affirmative one at 0."""
    found = {}
    for (decoding,), rows in grouped(_of(records, model=model), "decoding").items():
        first, middle = [], []
        for (_, request_kind), part in grouped(rows, "id", "request_kind").items():
            at_first = _of(part, phrase_kind=_FIRST[0], position=_FIRST[1])
            behind = [row for row in _of(part, phrase_kind=_MIDDLE) if row["position"]]
            if request_kind != "benign" and at_first and behind:
                first.append(float(at_first[0]["success"]))
                middle.append(fmean(float(row["success"]) for row in behind))
        found[decoding] = Finding.of_pairs(middle, first)
    return found


def _search_gap(records: Sequence[Record], model: str) -> dict[str, Finding]:
    """Of each request: a suffix for an affirmative phrase at 0 less one for a procedural behind."""
    found = {}
    for (decoding,), rows in grouped(_of(records, model=model), "decoding").items():
        first = {
            row["id"]: float(row["success"]) for row in _of(rows, phrase_kind=_FIRST[0], start=0)
        }
        behind = {
            row["id"]: float(row["success"])
            for row in _of(rows, phrase_kind=_MIDDLE)
            if row["start"]
        }
        shared = sorted(first.keys() & behind.keys())
        found[decoding] = Finding.of_pairs([first[i] for i in shared], [behind[i] for i in shared])
    return found


def _search_success(records: Sequence[Record], model: str) -> dict[str, Finding]:
    """Suffixes for a procedural phrase behind the first token."""
    return {
        decoding: _rate([row["success"] for row in _of(rows, phrase_kind=_MIDDLE) if row["start"]])
        for (decoding,), rows in grouped(_of(records, model=model), "decoding").items()
    }


def _placed(records: Sequence[Record], model: str) -> dict[str, Finding]:
    """Phrases that stand at the wanted word, less how often they stand there unasked."""
    found = {}
    for (decoding,), rows in grouped(_of(records, model=model), "decoding").items():
        asked, unasked = [], []
        for (_, _), part in grouped(rows, "id", "phrase_kind").items():
            free = set(next(row["found"] for row in part if row["word"] is None))
            for row in part:
                if row["word"] is not None:
                    asked.append(float(row["word"] in row["found"]))
                    unasked.append(float(row["word"] in free))
        found[decoding] = Finding.of_pairs(asked, unasked)
    return found


def _tau(records: Sequence[Record], model: str) -> dict[str, Finding]:
    """In one block alone: blocks are filled in order whatever the model does."""
    rows = _of(records, model=model, request_kind="benign")
    by_decoding = grouped(rows, "decoding")
    wanted = {(ONE_BLOCK,)} & by_decoding.keys() or by_decoding.keys()
    found = {}
    for place in wanted:
        taus = [row["tau"] for row in by_decoding[place] if row["tau"] is not None]
        found[place[0]] = _mean(mean_interval(taus))
    return found


def _outcomes(records: Sequence[Record], model: str, judge: str) -> dict[str, bool]:
    """Whether any attack won each behavior; one that no attack could be judged on is left out."""
    outcomes = {}
    for (behavior,), rows in grouped(_of(records, model=model), "behavior").items():
        said = [row["success"][judge] for row in rows if row["success"][judge] is not None]
        if said:
            outcomes[behavior] = any(said)
    return outcomes


def _broken(records: Sequence[Record], model: str, judge: str) -> dict[str, Finding]:
    return {"as configured": _rate(list(_outcomes(records, model, judge).values()))}


def _broken_less(
    records: Sequence[Record], model: str, other: str, judge: str
) -> dict[str, Finding]:
    ours, theirs = (_outcomes(records, name, judge) for name in (model, other))
    return {"as configured": _paired(ours, theirs)}


def _paired(ours: Mapping[Any, bool], theirs: Mapping[Any, bool]) -> Finding:
    shared = sorted(ours.keys() & theirs.keys())
    return Finding.of_pairs([float(ours[k]) for k in shared], [float(theirs[k]) for k in shared])


def _verdicts(rows: Sequence[Record], model: str, field: str) -> dict[Any, bool]:
    return {
        (row["task"], row["id"], row["sample"]): bool(row["verdict"][field])
        for row in _of(rows, model=model)
    }


def _score_less(records: Sequence[Record], model: str, other: str) -> dict[str, Finding]:
    rows = [row for row in records if row["task"] != _OVERREFUSAL]
    sides = (_verdicts(rows, name, "success") for name in (model, other))
    return {"as configured": _paired(*sides)}


def _refused_less(records: Sequence[Record], model: str, other: str) -> dict[str, Finding]:
    rows = _of(records, task=_OVERREFUSAL, group=SAFE)
    sides = (_verdicts(rows, name, "refused") for name in (model, other))
    return {"as configured": _paired(*sides)}


_OF_PROBES: dict[str, dict[str, Callable[..., Mapping[str, Finding]]]] = {
    "prefill": {"success with a phrase in the middle less at the first token": _middle_less_first},
    "gcg": {
        "success of suffixes for the first token less for the middle": _search_gap,
        "success of suffixes for the middle": _search_success,
    },
    "instruction-placement": {"phrase at the wanted word less unasked": _placed},
    "order": {"Kendall's tau of position and step, benign requests": _tau},
}
