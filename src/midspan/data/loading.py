"""One reader for registered sets, files of one's own and files on the hub."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from midspan.data.behaviors import Answers, Behavior, BehaviorSet, Example, content_hash
from midspan.data.benchmarks import BENCHMARKS, Benchmark
from midspan.data.columns import (
    Columns,
    Named,
    category_of,
    find_columns,
    label_of,
    require_columns,
    safety,
    text_of,
)
from midspan.data.files import Row, read_rows
from midspan.data.origins import Origin, download
from midspan.data.text import choose, digest, normalise
from midspan.errors import MidspanError, not_one_of
from midspan.files import is_file, user_path

Fetch = Callable[[Origin, str], Path]
Keep = Literal["harmful", "benign", "all"]

_HUB_PREFIX = "hub:"
_SUBSET_SALT = "midspan subset 1"
_ID_LENGTH = 12


class _Item(NamedTuple):
    behavior: Behavior
    safe: bool | None


class _RawSet(NamedTuple):
    items: list[_Item]
    left_out: list[str]
    licence: str
    source: str
    answers: Answers


def load_behaviors(
    spec: str | Path,
    path: str | Path | None = None,
    *,
    keep: Keep = "harmful",
    column: Named = None,
    distinct: bool = False,
    fetch: Fetch = download,
) -> BehaviorSet:
    """Read a registered set, a file of one's own, or a file on the hub.

    Args:
        spec: A name in `BENCHMARKS`, NAME=PATH (its files on this machine), a file, or
            hub:OWNER/NAME/FILE. NAME:N and FILE:N are N behaviors, chosen by hash.
        path: The local file, or folder of files, of a registered set.
        keep: Where rows are marked safe or unsafe: "harmful" leaves out the safe ones, "benign"
            leaves out requests that any row marks unsafe. Unmarked rows are always kept.
        column: Column of the request in a file of one's own, or several of which it has one; found
            by name when None. Those of registered sets are known.
        distinct: Take the first row of each request alone, as with N of them; what is counted as
            independent must not be copies.
        fetch: Gives a file of an origin; another one for other networks and for tests.

    Raises:
        MidspanError: What is missing, or differs from what was published.
    """
    left, _, right = str(spec).partition("=")
    name, count = _counted(left)
    if name in BENCHMARKS:
        label = left
        raw = _published(BENCHMARKS[name], path or right, keep, fetch)
    elif path is not None:
        # Only a registered set has a place for its files.
        raise not_one_of("data", name, BENCHMARKS)
    else:
        label = str(spec)
        name, count = (label, None) if is_file(Path(label)) else _counted(label)
        raw = _own(name, column, fetch)
    behaviors, left_out = _kept(raw, keep)
    if not behaviors:
        raise MidspanError(f"data: {spec} holds no {keep} request")
    if distinct or count is not None:
        behaviors, left_out = _distinct(behaviors, left_out)
    behaviors = _with_unique_ids(behaviors)
    if count is not None:
        behaviors = choose(behaviors, count, _SUBSET_SALT, lambda behavior: behavior.prompt)
    return BehaviorSet(
        name=label,
        behaviors=tuple(behaviors),
        sha256=content_hash(behaviors),
        licence=raw.licence,
        source=raw.source,
        left_out=tuple(left_out),
        answers=raw.answers,
    )


def read_examples(
    spec: str | Path, *, keep: Keep = "all", column: Named = None
) -> tuple[Example, ...]:
    """Prompts and answers of anything that `load_behaviors` reads."""
    return load_behaviors(spec, keep=keep, column=column).examples()


def read_prompts(spec: str | Path, column: Named = None) -> tuple[str, ...]:
    """Every different prompt of anything that `load_behaviors` reads."""
    return load_behaviors(spec, keep="all", column=column).prompts()


def _counted(spec: str) -> tuple[str, int | None]:
    """Split NAME:N."""
    name, _, count = spec.rpartition(":")
    return (name, int(count)) if name and count.isdecimal() else (spec, None)


def _published(benchmark: Benchmark, path: str | Path, keep: Keep, fetch: Fetch) -> _RawSet:
    """A registered set, checked against what was published."""
    name = benchmark.name
    if {benchmark.kind, keep} == {"harmful", "benign"}:
        raise MidspanError(f"data: {name} is a set of {benchmark.kind} requests, not {keep} ones")
    files = _files(benchmark, user_path(path) if path else None, fetch)
    rows = [row for file in files for row in read_rows(file)]
    part = benchmark.only[:1] if benchmark.only else ()
    require_columns(rows, [*benchmark.columns.names(), *part], name)
    source = str(path or benchmark.origin.page)
    if len(rows) != benchmark.num_rows:
        raise _differs(benchmark, source, f"{len(rows)} rows, not {benchmark.num_rows}")
    items, left_out = _items(rows, benchmark.columns, name)
    content = content_hash(item.behavior for item in items)
    if benchmark.content not in {None, content}:
        raise _differs(benchmark, source, "other texts")
    if benchmark.only is not None:
        items, others = _part(rows, items, *benchmark.only)
        left_out += others
    return _RawSet(items, left_out, benchmark.licence, source, _answers(benchmark.columns))


def _files(benchmark: Benchmark, path: Path | None, fetch: Fetch) -> list[Path]:
    if path is None:
        return [fetch(benchmark.origin, file) for file in benchmark.files]
    if path.is_dir():
        return [path / Path(file).name for file in benchmark.files]
    return [path]


def _differs(benchmark: Benchmark, source: str, what: str) -> MidspanError:
    return MidspanError(
        f"data: {source} is not {benchmark.name} as published: {what}. Get it from "
        f"{benchmark.origin.page}, or give the file without the name to use it as your own"
    )


def _own(name: str, column: Named, fetch: Fetch) -> _RawSet:
    """A file on this machine or the hub, read by the names of its columns."""
    if name.startswith(_HUB_PREFIX):
        parts = name.removeprefix(_HUB_PREFIX).split("/", maxsplit=2)
        if len(parts) < 3 or not all(parts):
            raise MidspanError(f"data: {name} must be hub:OWNER/NAME/FILE")
        path = fetch(Origin("hub", "/".join(parts[:2])), parts[2])
    else:
        path = user_path(name)
        if not is_file(path):
            raise not_one_of("data", name, ("a file", *BENCHMARKS))
    rows = read_rows(path)
    columns = find_columns(rows, column, name)
    items, left_out = _items(rows, columns, name)
    return _RawSet(items, left_out, "licence unknown", name, _answers(columns))


def _answers(columns: Columns) -> Answers:
    return "openings" if columns.opening else "whole"


def _items(rows: Sequence[Row], columns: Columns, source: str) -> tuple[list[_Item], list[str]]:
    """Every row as a behavior, with its mark; rows without a request are counted."""
    items = []
    for number, row in enumerate(rows, start=1):
        place = f"{source} row {number}"
        text = text_of(row, columns.text, place)
        if not text:
            continue
        text = "\n\n".join(filter(None, (text, text_of(row, columns.input, place))))
        context = text_of(row, columns.context, place)
        named = (label_of(row, name, place) for name in (columns.id, columns.style))
        behavior = Behavior(
            id="/".join(filter(None, named)) or digest(f"{context}\n{text}")[:_ID_LENGTH],
            text=text,
            context=context,
            category=category_of(row, columns.category),
            source=source,
            answer=text_of(row, columns.answer or columns.opening, place) or None,
            opening=text_of(row, columns.opening, place),
        )
        items.append(_Item(behavior, safety(row, columns.safe, place)))
    empty = len(rows) - len(items)
    return items, [f"{empty} rows without a request left out"] if empty else []


def _part(
    rows: Sequence[Row], items: list[_Item], column: str, values: tuple[str, ...]
) -> tuple[list[_Item], list[str]]:
    """Items of the rows that have one of the values; the others are counted by value."""
    inside = [item for row, item in zip(rows, items, strict=True) if row[column] in values]
    others = Counter(str(row[column]) for row in rows if row[column] not in values)
    return inside, [
        f"{number} rows of {value} left out" for value, number in sorted(others.items())
    ]


def _kept(raw: _RawSet, keep: Keep) -> tuple[list[Behavior], list[str]]:
    """Behaviors of the wanted kind; the others are counted."""
    if keep == "harmful":
        kept = [item.behavior for item in raw.items if not item.safe]
        reason = "marked safe"
    elif keep == "benign":
        unsafe = {normalise(item.behavior.prompt) for item in raw.items if item.safe is False}
        kept = [
            item.behavior for item in raw.items if normalise(item.behavior.prompt) not in unsafe
        ]
        reason = "whose request is marked unsafe"
    else:
        kept, reason = [item.behavior for item in raw.items], ""
    others = len(raw.items) - len(kept)
    return kept, [*raw.left_out, *([f"{others} rows {reason} left out"] if others else [])]


def _distinct(
    behaviors: Sequence[Behavior], left_out: list[str]
) -> tuple[list[Behavior], list[str]]:
    """The first row of each request, as where a set has several answers; the others are counted."""
    first: dict[str, Behavior] = {}
    for behavior in behaviors:
        first.setdefault(behavior.prompt, behavior)
    copies = len(behaviors) - len(first)
    said = [f"{copies} rows that repeat a request left out"] if copies else []
    return list(first.values()), [*left_out, *said]


def _with_unique_ids(behaviors: Sequence[Behavior]) -> list[Behavior]:
    """Number the repetitions of an id: a record of a run is found by it."""
    seen: Counter[str] = Counter()
    unique = []
    for behavior in behaviors:
        seen[behavior.id] += 1
        number = seen[behavior.id]
        unique.append(behavior if number == 1 else replace(behavior, id=f"{behavior.id}-{number}"))
    return unique
