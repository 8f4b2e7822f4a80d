"""Parts in processes of their own, so that a machine's cores all have something to do."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TextIO

from midspan.errors import MidspanError
from midspan.runs.progress import quiet
from midspan.studies.paper.config import PaperConfig
from midspan.studies.paper.parts import run_part
from midspan.studies.paper.prepare import prepare


def run_together(
    config: PaperConfig,
    folder: Path,
    names: Sequence[str],
    command: str,
    jobs: int,
    fail_fast: bool = False,
) -> None:
    """Run parts, so many at a time, in their order.

    Raises:
        MidspanError: A part failed; the others that had begun are stopped, and lose nothing.
    """
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting, running = list(names), dict[SpawnProcess, str]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                arguments = (config, folder, waiting[0], command, threads, fail_fast)
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                running[process] = waiting.pop(0)
            wait([process.sentinel for process in running])
            for process in [one for one in running if not one.is_alive()]:
                name = running.pop(process)
                if process.exitcode:
                    raise MidspanError(
                        f"{name} did not finish (see above); the same command continues it"
                    )
    finally:
        for process in running:
            process.terminate()
            process.join()


def _work(
    config: PaperConfig, folder: Path, name: str, command: str, threads: int, fail_fast: bool
) -> None:
    import torch

    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    quiet()
    sys.stderr = _Named(sys.stderr, name)
    try:
        run_part(prepare(config, folder, [name]), name, command, fail_fast)
    except MidspanError as error:
        print(f"midspan: {error}", file=sys.stderr)
        sys.exit(2)


def _die_with_parent() -> None:
    """A part that outlived a killed study would keep its folder locked."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class _Named:
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
