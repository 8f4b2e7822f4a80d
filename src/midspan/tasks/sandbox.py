"""Execution of foreign code: what a function that a model wrote returns, and nothing more of it.

Two jailed processes: one holds the foreign code, the other the published assertions, which call the
first through a pipe. docs/sandbox.md says what this covers and what it does not.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from midspan.errors import MidspanError
from midspan.tasks import jail, syscalls, worker

_LONGEST_RESULT = 4096
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64")


@dataclass(frozen=True)
class Limits:
    """What one check may use. CPU seconds and memory are each process's own.

    Attributes:
        seconds: Wall-clock time, after which everything is killed.
        cpu_seconds: As published for HumanEval, 3 s.
        memory_bytes: Address space.
        processes: Processes and threads.
        disk_bytes: Files in memory; nothing is written to a disk.
        open_files: File descriptors.
    """

    seconds: float = 20.0
    cpu_seconds: int = 3
    memory_bytes: int = 512 << 20
    processes: int = 8
    disk_bytes: int = 16 << 20
    open_files: int = 32

    def resources(self) -> dict[str, int]:
        """By the names of setrlimit."""
        return {
            "CPU": self.cpu_seconds,
            "AS": self.memory_bytes,
            "NPROC": self.processes,
            "FSIZE": self.disk_bytes,
            "NOFILE": self.open_files,
            "CORE": 0,
        }


@dataclass(frozen=True)
class Program:
    """Foreign code and the assertions about it.

    Attributes:
        source: Defines the function.
        entry_point: Its name.
        prelude: Trusted code that the assertions need.
        test: Defines `check(candidate)`.
    """

    source: str
    entry_point: str
    prelude: str
    test: str


@dataclass(frozen=True)
class Outcome:
    """Whether all assertions held; else `problem` says why not, in a few words."""

    passed: bool
    problem: str = ""


def check(program: Program, limits: Limits | None = None, *, force: bool = False) -> Outcome:
    """Whether the function passes its assertions.

    Args:
        program: What is run.
        limits: What it may use.
        force: Run without namespaces where the kernel has none: limits and an empty environment,
            but the network and every readable file are within reach.

    Raises:
        MidspanError: If this machine cannot isolate and `force` is not given.
    """
    missing = isolation_problem()
    if missing and not force:
        raise MidspanError(
            f"running code: no isolation on this machine ({missing}); see --force-code"
        )
    limits = limits or Limits()
    job = {"program": program.source, "entry_point": program.entry_point}
    assertions = {"prelude": program.prelude, "test": program.test}
    assertions["entry_point"] = program.entry_point
    calls, replies = os.pipe(), os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            candidate = ("candidate", calls[0], replies[1])
            checker = ("checker", replies[0], calls[1])
            try:
                for part, data in ((candidate, job), (checker, assertions)):
                    processes.append(_start(part, data, _Jail(folder, limits, not missing)))
            finally:
                for end in (*calls, *replies):
                    os.close(end)
            return _outcome(processes[1], limits.seconds)
        finally:
            for process in processes:
                _kill(process)


@dataclass(frozen=True)
class _Jail:
    folder: str
    limits: Limits
    isolate: bool


def _start(
    part: tuple[str, int, int], data: dict[str, str], room: _Jail
) -> subprocess.Popen[bytes]:
    role, read_from, write_to = part
    argv = [_interpreter(), "-I", "-S", "-c", _text(worker), role, str(read_from), str(write_to)]
    # What foreign code prints is of no use to anyone.
    stdout = subprocess.PIPE if role == "checker" else subprocess.DEVNULL
    with tempfile.NamedTemporaryFile() as file:
        file.write(json.dumps(data).encode())
        file.flush()
        with Path(file.name).open("rb") as job:  # read-only, and closed before foreign code runs
            return _launch(argv, room, (job, stdout), (read_from, write_to))


def _launch(
    argv: Sequence[str], room: _Jail, streams: tuple[IO[bytes] | int, int], fds: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    config = {
        "argv": argv,
        "root": room.folder,
        "isolate": room.isolate,
        "readable": _readable(),
        "seccomp": (syscalls.seccomp_filter() or b"").hex(),
        "keyctl": syscalls.refused().get("keyctl"),
        "disk_bytes": room.limits.disk_bytes,
        "limits": room.limits.resources(),
    }
    return subprocess.Popen(
        [_interpreter(), "-I", "-S", "-c", _text(jail), json.dumps(config)],
        stdin=streams[0],
        stdout=streams[1],
        stderr=subprocess.DEVNULL,
        pass_fds=fds,
        env={},
        start_new_session=True,
    )


def _outcome(checker: subprocess.Popen[bytes], seconds: float) -> Outcome:
    """The checker's one line, waited for until the time is over."""
    assert checker.stdout is not None
    timer_end = time.monotonic() + seconds
    os.set_blocking(checker.stdout.fileno(), False)
    text = b""
    while time.monotonic() < timer_end:
        code = checker.poll()
        text += checker.stdout.read(_LONGEST_RESULT) or b""
        if code is not None:
            break
        time.sleep(0.002)
    else:
        return Outcome(False, "out of time")
    try:
        problem = str(json.loads(text[:_LONGEST_RESULT])["problem"])
    except (ValueError, KeyError, TypeError):
        return Outcome(False, f"the test ended with status {code}")
    return Outcome(not problem, problem)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group; with process 1 of its namespace goes what left the group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@cache
def isolation_problem() -> str:
    """Why code cannot be isolated on this machine; empty where it can."""
    if platform.system() != "Linux":
        return "namespaces are Linux's"
    if syscalls.seccomp_filter() is None:
        return f"no filter of system calls for {syscalls.MACHINE}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        argv = [_interpreter(), "-I", "-S", "-c", ""]
        streams = (subprocess.DEVNULL, subprocess.DEVNULL)
        process = _launch(argv, _Jail(folder, Limits(), True), streams, ())
        try:
            code = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = jail.SETUP_FAILED
        finally:
            _kill(process)
    return "" if code == 0 else "the kernel gives no namespaces to this user"


@cache
def _text(module: object) -> str:
    return Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")


@cache
def _interpreter() -> str:
    """The interpreter itself: the folder of a virtual environment is not in the jail."""
    return str(Path(sys.executable).resolve())


@cache
def _readable() -> tuple[str, ...]:
    prefix = Path(sys.base_prefix).resolve()
    paths = [path for path in _SYSTEM if Path(path).exists()]
    covered = prefix == Path("/") or any(prefix.is_relative_to(path) for path in paths)
    return (*paths, *([] if covered else [str(prefix)]))
