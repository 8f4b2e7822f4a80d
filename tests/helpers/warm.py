"""Python processes that have imported what is slow to import: forks of one that did so once.

A fork starts in milliseconds, where a new interpreter spends seconds on torch and transformers.
It is a process of its own in all else: with its arguments, environment, folder and streams, killed
and waited for like any other; it ends as an interpreter ends. The process that forks has computed
nothing and has no threads; `midspan.decoding` and all that builds on it are not imported there.
What multiprocessing spawns in such a process is a fork in the same way.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from multiprocessing import util
from pathlib import Path


class Started:
    """A process under way, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, warm: "WarmPython", pid: int, stderr: Path) -> None:
        self.pid, self.returncode, self._warm, self._stderr = pid, None, warm, stderr

    def poll(self) -> int | None:
        """Its exit status, minus the signal that killed it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._warm.ask({"poll": self.pid})
        return self.returncode

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 600) -> int:
        """Wait for its end; what has not ended in time is killed, and fails the test."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return self.returncode

    @property
    def stderr(self) -> str:
        """What it has written to standard error."""
        return self._stderr.read_text(errors="replace")


class WarmPython:
    """Starts Python processes without their imports.

    Args:
        folder: Where their streams are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ask(self, request: dict) -> int | None:
        """One request to the process that forks, and its answer."""
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, *arguments: str | Path, **environment: str) -> Started:
        """Start `python ARGUMENTS` ("-c CODE", "-m MODULE" or a file) in the current folder.

        Args:
            arguments: As on Python's command line.
            environment: Added to this process's own.
        """
        return self._start([str(argument) for argument in arguments], environment)[0]

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS` to its end, streams captured; the exit status is not checked."""
        started, stdout = self._start([str(argument) for argument in arguments], environment)
        code = started.wait()
        return subprocess.CompletedProcess(arguments, code, stdout.read_text(), started.stderr)

    def _start(self, arguments: list[str], environment: dict[str, str]) -> tuple[Started, Path]:
        self._count += 1
        streams = [self._folder / f"{self._count}.{name}" for name in ("stdout", "stderr")]
        pid = self.ask({
            "arguments": arguments, "environment": os.environ | environment,
            "folder": str(Path.cwd()), "streams": [str(stream) for stream in streams],
        })  # fmt: skip
        return Started(self, pid, streams[1]), streams[0]

    def close(self) -> None:
        """End the process that forks."""
        self._server.stdin.close()
        self._server.wait()


def serve() -> None:
    """Answer requests; returns in a fork alone, after what it was started for."""
    import matplotlib.figure  # noqa: F401
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401

    import midspan.models  # noqa: F401

    # No fork collects, and so copies, the objects of all these modules.
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Read byte by byte: a fork shall not find the next request in its own buffer.
    for line in iter(os.fdopen(os.dup(0), "rb", buffering=0).readline, b""):
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                answers.close()
                return become(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def become(request: dict) -> None:
    """Turn this fork into what was asked for, and run it."""
    names = (os.devnull, *request["streams"])
    for number, name in enumerate(names):
        stream = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    start = util.spawnv_passfds
    util.spawnv_passfds = lambda *spawned: spawn_warm(*spawned) or start(*spawned)
    run(request["arguments"])


def spawn_warm(path: str, arguments: Sequence[str], kept: Iterable[int]) -> int | None:
    """Fork what multiprocessing would start anew; its id, or None where that is nothing slow.

    The fork has the open files of a new process alone, and is told by pipe what it is, as one.
    """
    *_, code, flag = arguments
    if flag != "--multiprocessing-fork":
        return None
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        kept = sorted({0, 1, 2, *kept})
        for below, above in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(below + 1, above)
        sys.argv = ["-c", flag]
        exec(code, {"__name__": "__main__"})
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(arguments: Sequence[str]) -> None:
    """What `python ARGUMENTS` does once it has started."""
    kind, *rest = arguments
    if kind == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv, sys.path[0] = rest, str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = list(arguments), str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve()
