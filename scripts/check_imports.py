"""Fail where the source does not follow the table of rooms in docs/architecture.md.

The table is the configuration. Its rows stand from top to bottom; the first cell names rooms,
packages with a slash (``engine/``, ``studies/paper/``) and single modules without (``cli``;
``__init__`` is the package's own file). A file belongs to the room with the longest matching name.
It may import from its own room and from rooms of lower rows; rooms of one row do not know each
other. Faults are also a circle of files, a file in no room, and a room that does not exist.

Imports inside functions and under ``TYPE_CHECKING`` count like all others: they make a circle
importable, but whoever changes one file still has to read the other. Module names inside strings
do not count, so a registry may name what registers itself.

import-linter has layers of the same kind. It reads them from its own file, so a script would have
to write that file from the table, and it has no contract against circles of files.

Run: python scripts/check_imports.py
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "midspan"
TABLE = ROOT / "docs" / "architecture.md"
_HEADER = re.compile(r"\|\s*rooms?\s*\|", re.IGNORECASE)

# ("study", "paper", "run"): the path of a module or room in the package.
Name = tuple[str, ...]


class Import(NamedTuple):
    """One import of a file of the package by another one."""

    importer: Name
    line: int
    imported: Name


def read_levels(text: str) -> dict[Name, int]:
    """The rooms of a page's table and their rows, counted from the top."""
    lines = iter(text.splitlines())
    if not any(_HEADER.match(line) for line in lines):
        raise SystemExit(f"{TABLE.name}: no table whose first column is called 'room'")
    next(lines)
    levels: dict[Name, int] = {}
    for row, line in enumerate(lines):
        if not line.startswith("|"):
            break
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            levels[tuple(name.strip("/").split("/"))] = row
    return levels


def modules_of(source: Path) -> dict[Name, Path]:
    """The files of a package by path; that of a subpackage's own file ends in ``__init__``."""
    return {
        path.relative_to(source).with_suffix("").parts: path
        for path in sorted(source.rglob("*.py"))
    }


def imports_of(
    module: Name, text: str, package: str, known: Mapping[Name, Path]
) -> Iterator[Import]:
    """All imports of the package's own files, wherever they stand in the file."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            parents = [package, *module][: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            first, *parts = name.split(".")
            if first == package:
                yield Import(module, node.lineno, _file_of(tuple(parts), known))


def _file_of(parts: Name, known: Mapping[Name, Path]) -> Name:
    """The file that a dotted name leads to: a module, or the package that holds the name."""
    while parts and parts not in known and (*parts, "__init__") not in known:
        parts = parts[:-1]
    return parts if parts in known else (*parts, "__init__")


def room_of(module: Name, levels: Mapping[Name, int]) -> Name | None:
    """The room with the longest name that the path begins with."""
    prefixes = (module[:length] for length in range(len(module), 0, -1))
    return next((prefix for prefix in prefixes if prefix in levels), None)


def circles(imports: list[Import]) -> Iterator[list[Name]]:
    """Circles of files, each without an import that an earlier one has shown."""
    graph: dict[Name, set[Name]] = {}
    for item in imports:
        graph.setdefault(item.importer, set()).add(item.imported)
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as error:
            circle = error.args[1][::-1]
            yield circle
            graph[circle[0]].discard(circle[1])


def problems(source: Path, levels: Mapping[Name, int]) -> Iterator[str]:
    """Every fault of a package, one line each."""
    known = modules_of(source)
    package = source.name
    imports = [
        item
        for module, path in known.items()
        for item in imports_of(module, path.read_text(encoding="utf-8"), package, known)
        if item.imported != module
    ]
    for room in levels:
        if not source.joinpath(*room).is_dir() and room not in known:
            yield f"{_shown(room)}: the table has a row for it, but it does not exist"
    rooms = {module: room_of(module, levels) for module in known}
    importers = {item.importer for item in imports}
    roomless = [module for module, room in rooms.items() if room is None]
    for module in roomless:
        holds_rooms = module[-1] == "__init__" and any(
            room[: len(module) - 1] == module[:-1] for room in levels
        )
        if not holds_rooms or module in importers:
            yield f"{_shown(module)}: the table has no row for it"
    for item in dict.fromkeys(imports):
        own, other = rooms[item.importer], rooms.get(item.imported)
        if own and other and own != other and levels[own] >= levels[other]:
            side = "beside" if levels[own] == levels[other] else "above"
            yield (
                f"{_shown(item.importer)}.py:{item.line}: imports {_shown(item.imported)}, "
                f"but {_shown(other)} stands {side} {_shown(own)}"
            )
    for circle in circles(imports):
        yield "circle: " + " -> ".join(map(_shown, circle))


def _shown(name: Name) -> str:
    return "/".join(name)


def main() -> int:
    faults = list(problems(SOURCE, read_levels(TABLE.read_text(encoding="utf-8"))))
    print("\n".join(faults) or "imports: as the table of rooms has them")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
