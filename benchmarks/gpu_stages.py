"""Stages under a time limit: each is written before the next, and none is begun too late."""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from midspan.files import write_atomic

# A stage begins where this many times its estimate is left.
MARGIN = 1.25
NO_CUDA = "skipped: no CUDA"


class Skip(Exception):
    """A stage that this machine cannot run; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What a stage found: a line for the table, and the numbers behind it."""

    text: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One measurement.

    Attributes:
        group: Stages that take longer than guessed, or not, for the same reasons.
        guess: Seconds that it takes, from counts; called when its turn comes.
        run: Does it.
        needs_cuda: Whether it says nothing on a CPU.
    """

    name: str
    group: str
    guess: Callable[[], float]
    run: Callable[[], Outcome]
    needs_cuda: bool = False


class Session:
    """Runs stages until the time is over; afterwards the process is ended, whatever it does.

    Args:
        minutes: A hard wall.
        output: The JSON file; the table lies beside it as Markdown.
        started: `time.monotonic()` when the process began.
    """

    def __init__(self, minutes: float, output: Path, started: float) -> None:
        self.output, self.deadline = output, started + 60 * minutes
        self.rows: list[dict[str, Any]] = []
        self.slower: dict[str, float] = {}
        self.head: dict[str, Any] = {
            "date": date.today().isoformat(),
            "command": " ".join(["python", *sys.argv]),
            "minutes": minutes,
            "machine": describe_machine(),
        }
        self.write()
        wall = threading.Timer(self.left(), self._end)
        wall.daemon = True
        wall.start()
        self._wall = wall

    def left(self) -> float:
        """Seconds until the wall."""
        return self.deadline - time.monotonic()

    def run(self, stages: list[Stage]) -> None:
        """Every stage that fits, in their order."""
        for stage in stages:
            row = {"stage": stage.name, "group": stage.group, **self._row(stage)}
            self.rows.append(row)
            self.write()
            print(table_line(row), flush=True)

    def close(self) -> None:
        """No wall any more."""
        self._wall.cancel()

    def _row(self, stage: Stage) -> dict[str, Any]:
        if stage.needs_cuda and not torch.cuda.is_available():
            return {"result": NO_CUDA}
        guess = max(stage.guess(), 1e-3)
        estimate = guess * self.slower.get(stage.group, 1.0)
        if estimate * MARGIN > self.left():
            return {"result": f"skipped: about {estimate:.0f} s, {self.left():.0f} s left"}
        began = time.monotonic()
        try:
            outcome = stage.run()
        except Skip as reason:
            return {"result": f"skipped: {reason}"}
        except torch.OutOfMemoryError:
            free_memory()
            return {"result": "out of memory", "seconds": time.monotonic() - began}
        except Exception as error:  # The others are worth measuring whatever this one met.
            free_memory()
            told = {"traceback": traceback.format_exc(), "seconds": time.monotonic() - began}
            return {
                "result": f"failed: {(str(error).strip() or repr(error)).splitlines()[0]}",
                **told,
            }
        seconds = time.monotonic() - began
        self.slower[stage.group] = max(self.slower.get(stage.group, 1.0), seconds / guess)
        return {"result": outcome.text, "seconds": seconds, "values": outcome.values}

    def write(self) -> None:
        """The file as it stands, whole at any time."""
        write_atomic(self.output, json.dumps({**self.head, "rows": self.rows}, indent=1))
        write_atomic(self.output.with_suffix(".md"), self.table())

    def table(self) -> str:
        """All rows as Markdown, under what was run where."""
        machine = self.head["machine"]
        card = machine["gpu"] or f"no GPU, {machine['cpu']}"
        title = f"`{self.head['command']}`, {card}, torch {machine['torch']}, {self.head['date']}"
        lines = [title, "", "| stage | result | s |", "|---|---|---|", *map(table_line, self.rows)]
        return "\n".join(lines) + "\n"

    def _end(self) -> None:
        print(f"the {self.head['minutes']:g} minutes are over", flush=True)
        os._exit(124)


def table_line(row: dict[str, Any]) -> str:
    seconds = f"{row['seconds']:.1f}" if "seconds" in row else ""
    return f"| {row['stage']} | {row['result']} | {seconds} |"


def free_memory() -> None:
    """Give back what a failed stage held."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def reset_peak_memory(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory_gib(device: str) -> float | None:
    """Of tensors, since it was reset; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None


def shown_memory(gib: float | None) -> str:
    return "" if gib is None else f", {gib:.1f} GiB"


def matmul_peak(device: str, size: int) -> float:
    """Operations a second of a square bf16 product, the best of ten."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(12):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(left, right)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
