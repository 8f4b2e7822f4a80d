"""Read prompts from the plain formats that benchmarks come in."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from midspan.errors import MidspanError

# Column names of AdvBench, HarmBench, SORRY-Bench, Alpaca, XSTest and BeaverTails, in this order.
PROMPT_COLUMNS = ("prompt", "goal", "Behavior", "behavior", "question", "instruction", "turns")


def read_prompts(path: str | Path, column: str | None = None) -> tuple[str, ...]:
    """Read one prompt a line (.txt), a row (.csv) or an object (.jsonl); empty ones are skipped.

    Args:
        path: The file.
        column: Column or key that holds the prompt; found by name when None.

    Raises:
        MidspanError: The file is missing, of another kind, without the column, or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise MidspanError(f"prompts: no file at {path}; give a .txt, .csv or .jsonl file")
    readers: Mapping[str, Callable[[Path, str | None], list[str]]] = {
        ".txt": lambda file, _: file.read_text(encoding="utf-8").splitlines(),
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
    }
    if path.suffix not in readers:
        raise MidspanError(f"prompts: {path} is not .txt, .csv or .jsonl")
    prompts = tuple(text.strip() for text in readers[path.suffix](path, column) if text.strip())
    if not prompts:
        raise MidspanError(f"prompts: {path} holds no prompt")
    return prompts


def _read_csv(path: Path, column: str | None) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        name = _column(list(rows.fieldnames or []), column, path)
        return [row[name] or "" for row in rows]


def _read_jsonl(path: Path, column: str | None) -> list[str]:
    prompts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MidspanError(f"prompts: {path} line {number} is not JSON") from error
        if not isinstance(row, dict):
            raise MidspanError(f"prompts: {path} line {number} is not a JSON object")
        value = row[_column(list(row), column, path)]
        # SORRY-Bench stores a conversation as a list of turns; the request is the first.
        prompts.append(str(value[0] if isinstance(value, list) and value else value))
    return prompts


def _column(available: list[str], wanted: str | None, path: Path) -> str:
    candidates = (wanted,) if wanted else PROMPT_COLUMNS
    for name in candidates:
        if name in available:
            return name
    raise MidspanError(
        f"prompts: {path} has no column {' or '.join(candidates)}; it has {', '.join(available)}"
    )
