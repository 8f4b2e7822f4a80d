"""What runs inside the two jails of one check: foreign code, and the assertions about it.

Standard library alone: `sandbox.py` hands this file's text to the interpreters. The two exchange
lines of JSON in which only plain data can stand, so what the foreign code does to its own process,
to builtins or to the values' operators does not reach the assertions.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

_LONGEST_LINE = 1 << 20


class Failed(Exception):
    """The foreign code raised, ended, or answered with too much."""


class Opaque:
    """A value that is not plain data; equal to nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return False


def pack(value: Any) -> Any:
    """Plain data as tagged JSON; anything else, or data without an end, as opaque."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float.hex(value)]
    if isinstance(value, complex):
        return ["complex", [pack(value.real), pack(value.imag)]]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, dict):
        return ["dict", [[pack(key), pack(item)] for key, item in dict.items(value)]]
    kinds: tuple[Any, ...] = (list, tuple, set, frozenset)
    for kind in kinds:
        if isinstance(value, kind):
            # The kind's own way, whatever a subclass makes of it.
            return [kind.__name__, [pack(item) for item in kind.__iter__(value)]]
    return ["opaque", None]


_UNPACK: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda parts: complex(*map(unpack, parts)),
    "bytes": bytes.fromhex,
    "dict": lambda pairs: {unpack(key): unpack(item) for key, item in pairs},
    "list": lambda items: [unpack(item) for item in items],
    "tuple": lambda items: tuple(map(unpack, items)),
    "set": lambda items: {unpack(item) for item in items},
    "frozenset": lambda items: frozenset(map(unpack, items)),
    "opaque": lambda _: Opaque(),
}


def unpack(data: Any) -> Any:
    """The value of tagged JSON."""
    if data is None or isinstance(data, bool | str):
        return data
    tag, content = data
    return _UNPACK[tag](content)


def serve(job: dict[str, str], calls: IO[str], replies: IO[str]) -> None:
    """Define the foreign function, then answer calls of it until they end."""
    scope: dict[str, Any] = {"__name__": "candidate"}
    problem = ""
    try:
        exec(compile(job["program"], "candidate", "exec"), scope)
    except BaseException as error:
        problem = type(error).__name__
    for line in calls:
        arguments, named = unpack(json.loads(line))
        try:
            if problem:
                raise Failed(problem)
            reply = {"value": pack(scope[job["entry_point"]](*arguments, **named))}
        except BaseException as error:
            reply = {"error": problem or type(error).__name__}
        print(json.dumps(reply), file=replies, flush=True)


def check(job: dict[str, str], replies: IO[str], calls: IO[str]) -> str:
    """Run the assertions on a stand-in of the foreign function; returns what went wrong, or ""."""

    def candidate(*arguments: Any, **named: Any) -> Any:
        try:
            print(json.dumps(pack((arguments, named))), file=calls, flush=True)
            line = replies.readline(_LONGEST_LINE)
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):
            raise Failed("no reply" if not line else "too long a reply")
        try:
            reply = json.loads(line)
            if "error" not in reply:
                return unpack(reply["value"])
            problem = str(reply["error"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Failed("a reply that is no data") from error
        raise Failed(problem)

    scope: dict[str, Any] = {"__name__": "check"}
    try:
        exec(compile(job["prelude"], "prelude", "exec"), scope)
        scope[job["entry_point"]] = candidate  # some tests call the function by its name
        exec(compile(job["test"], "test", "exec"), scope)
        scope["check"](candidate)
    except AssertionError:
        return "wrong result"
    except Failed as error:
        return str(error)
    except BaseException as error:
        return f"{type(error).__name__} in the test"
    return ""


def main(role: str, read_from: int, write_to: int) -> None:
    """Read the job from standard input and do one of the two parts."""
    job = json.load(sys.stdin)
    os.close(sys.stdin.fileno())  # Python leaves it open when it closes the stream
    with os.fdopen(read_from) as incoming, os.fdopen(write_to, "w") as outgoing:
        if role == "candidate":
            serve(job, incoming, outgoing)
        else:
            print(json.dumps({"problem": check(job, incoming, outgoing)}), flush=True)
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
