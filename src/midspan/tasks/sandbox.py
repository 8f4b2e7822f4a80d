"""Execution of foreign code: what a function that a model wrote returns, and nothing more of it.

Two jailed processes: one holds the foreign code, the other the published assertions, which call the
first through a pipe. docs/sandbox.md says what this covers and what it does not.
"""

import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

from midspan.errors import MidspanError
from midspan.tasks import jail, syscalls, worker

_LONGEST_RESULT = 4096
# SIGKILL is that of the jail's own process, or what the jail says of the one inside.
_NOT_RUN = (jail.SETUP_FAILED, -signal.SIGKILL, 128 + signal.SIGKILL)
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


class SandboxError(RuntimeError):
    """A check that this machine did not carry out: nothing is known of the code."""


def check(program: Program, limits: Limits | None = None, *, force: bool = False) -> Outcome:
    """Whether the function passes its assertions.

    Args:
        program: What is run.
        limits: What it may use.
        force: Run without namespaces where the kernel has none: limits and an empty environment,
            but the network and every readable file are within reach.

    Raises:
        MidspanError: If this machine cannot isolate and `force` is not given.
        SandboxError: A jail could not be made, or the assertions' process was killed.
    """
    missing = isolation_problem()
    if missing and not force:
        raise MidspanError(
            f"running code: no isolation on this machine ({missing}); see --force-code"
        )
    limits = limits or Limits()
    parts: list[_Part] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            for part in _started(program, _Jail(folder, limits, not missing)):
                parts.append(part)  # at once, so that it is ended where the next does not start
            until = time.monotonic() + limits.seconds
            outcome = _outcome(parts[1].process, until)
            if not outcome.passed:
                for one in parts:
                    _check_begun(one, until)
            return outcome
        finally:
            for one in parts:
                _kill(one)


@dataclass(frozen=True)
class _Jail:
    folder: str
    limits: Limits
    isolate: bool


class _Part(NamedTuple):
    """One of the two processes, and the pipe on which its jail says that it stands."""

    process: subprocess.Popen[bytes]
    begun: IO[bytes]


def _started(program: Program, room: _Jail) -> Iterator[_Part]:
    """The candidate's process and the checker's, joined by two pipes."""
    job = {"program": program.source, "entry_point": program.entry_point}
    assertions = {"prelude": program.prelude, "test": program.test}
    assertions["entry_point"] = program.entry_point
    calls, replies = os.pipe(), os.pipe()
    try:
        yield _start(("candidate", calls[0], replies[1]), job, room)
        yield _start(("checker", replies[0], calls[1]), assertions, room)
    finally:
        for end in (*calls, *replies):
            os.close(end)


def _start(part: tuple[str, int, int], data: dict[str, str], room: _Jail) -> _Part:
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
) -> _Part:
    read_from, told = os.pipe()
    begun = os.fdopen(read_from, "rb", buffering=0)
    config = {
        "argv": argv,
        "root": room.folder,
        "isolate": room.isolate,
        "readable": _readable(),
        "seccomp": (syscalls.seccomp_filter() or b"").hex(),
        "keyctl": syscalls.refused().get("keyctl"),
        "disk_bytes": room.limits.disk_bytes,
        "limits": room.limits.resources(),
        "begun": told,
    }
    try:
        process = subprocess.Popen(
            [_interpreter(), "-I", "-S", "-c", _text(jail), json.dumps(config)],
            stdin=streams[0],
            stdout=streams[1],
            stderr=subprocess.DEVNULL,
            pass_fds=(*fds, told),
            env={},
            start_new_session=True,
        )
    finally:
        os.close(told)
    return _Part(process, begun)


def _check_begun(part: _Part, until: float) -> None:
    """Raise where a jail was not made; one that is being made is waited for.

    Raises:
        SandboxError: See above.
    """
    ready, _, _ = select.select([part.begun], [], [], max(0.0, until - time.monotonic()))
    if not ready or part.begun.read(1) != jail.BEGUN:
        raise SandboxError("a jail could not be made, or not in time; is the machine overloaded?")


def _outcome(checker: subprocess.Popen[bytes], until: float) -> Outcome:
    """The checker's one line, waited for until the time is over.

    Raises:
        SandboxError: It did not start, or was killed, as where the machine has no memory left.
    """
    assert checker.stdout is not None
    os.set_blocking(checker.stdout.fileno(), False)
    text = b""
    while time.monotonic() < until:
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
        if code in _NOT_RUN:
            raise SandboxError(
                f"the assertions' process was not started or was killed (status {code})"
            ) from None
        return Outcome(False, f"the test ended with status {code}")
    return Outcome(not problem, problem)


def _kill(part: _Part) -> None:
    """The whole group; with process 1 of its namespace goes what left the group."""
    process = part.process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    part.begun.close()
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
        part = _launch(argv, _Jail(folder, Limits(), True), streams, ())
        try:
            code = part.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = jail.SETUP_FAILED
        finally:
            _kill(part)
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
