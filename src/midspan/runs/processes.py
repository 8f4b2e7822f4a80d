"""Parts of a run in processes of their own, so that a machine's cores all have something to do."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TextIO

from midspan.errors import MidspanError
from midspan.runs.progress import quiet


class Part(NamedTuple):
    """What one process does.

    Attributes:
        work: A function of a module, so that a new process finds it.
        arguments: What it is called with.
        after: Names of parts that must have ended before; only Ray's tasks wait for them.
    """

    work: Callable[..., object]
    arguments: tuple[Any, ...]
    after: tuple[str, ...] = ()


def threads_asked() -> int | None:
    """How many threads a process is to use, where the user's environment says so."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdecimal() else None


def run_together(parts: Mapping[str, Part], jobs: int, threads: int | None = None) -> None:
    """Run parts, so many at a time, in their order.

    Args:
        parts: By name.
        jobs: How many at a time.
        threads: Of each process, by default its share of the cores; OMP_NUM_THREADS, where the user
            has set it, wins.

    Raises:
        MidspanError: A part failed; the others that had begun are stopped, and lose nothing.
    """
    context = multiprocessing.get_context("spawn")
    threads = threads_asked() or threads or max(1, (os.cpu_count() or 1) // jobs)
    # The part that a process works on, and its slot.
    waiting, running = list(parts), dict[SpawnProcess, tuple[str, int]]()
    slots = list(range(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                place = _Place(threads, slots.pop(0))
                arguments = (waiting[0], parts[waiting[0]], place)
                process = context.Process(target=_work, args=arguments, daemon=True)
                with _unstopped():
                    process.start()
                running[process] = waiting.pop(0), place.slot
            wait([process.sentinel for process in running])
            for process in [one for one in running if not one.is_alive()]:
                name, slot = running.pop(process)
                slots.append(slot)
                if process.exitcode:
                    raise MidspanError(
                        f"{name} did not finish (see above); the same command continues it"
                    )
    finally:
        for process in running:
            process.terminate()
            process.join()


@contextmanager
def _unstopped() -> Iterator[None]:
    """What is started within the context leaves Ctrl-C to this process, which then ends it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Place(NamedTuple):
    """What a process has of the machine: so many threads, and the GPU of its slot."""

    threads: int
    slot: int


def _work(name: str, part: Part, place: _Place) -> None:
    import torch

    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(place.threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(place.slot % torch.cuda.device_count())
    quiet()
    sys.stderr = Named(sys.stderr, name)
    try:
        part.work(*part.arguments)
    except MidspanError as error:
        print(f"midspan: {error}", file=sys.stderr)
        sys.exit(2)


def _die_with_parent() -> None:
    """A part that outlived a killed study would keep its folder locked."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class Named:
    """A stream that says, on every line, which part wrote it; never a terminal."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name, self._line = stream, name, ""
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        """Pass whole lines on."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(f"{self._name}: {line}\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what has come so far."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Several parts cannot share a progress bar."""
        return False
