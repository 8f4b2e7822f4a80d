"""How many foreign inputs each reader sees, what it makes of them, and how long that takes.

`make fuzz` gives each 10,000; MIDSPAN_FUZZ=N another number. Without it, a few.
"""

import os
import signal
import time
from collections import Counter, defaultdict
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

from midspan.errors import MidspanError

INPUTS = int(os.environ.get("MIDSPAN_FUZZ", 0))
# No input may take longer, whatever else the machine does.
HANG_SECONDS = 30
COUNTS: dict[str, Counter] = defaultdict(Counter)
SECONDS: Counter = Counter()


def fuzzed(few: int):
    """Hypothesis's settings: `few` inputs in the whole suite, always the same."""
    return settings(
        max_examples=INPUTS or few,
        deadline=None,
        derandomize=not INPUTS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class _Hang(BaseException):
    """Not to be caught by any reader."""


@contextmanager
def _alarm():
    def ring(*_):
        raise _Hang(f"no answer in {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(name, read):
    """What a reader makes of an input, and whether it took it; else one line says why not."""
    started = time.monotonic()
    try:
        with _alarm():
            value = read()
    except MidspanError as error:
        assert str(error) and "\n" not in str(error), str(error)
        COUNTS[name]["refused"] += 1
        return None, False
    finally:
        SECONDS[name] += time.monotonic() - started
    COUNTS[name]["taken"] += 1
    return value, True
