"""How many foreign inputs each reader sees, what it makes of them, and how long that takes.

`make fuzz` gives each 10,000; MIDSPAN_FUZZ=N another number. Without it, a few.
"""

import os
import signal
import time
import traceback
from collections import Counter, defaultdict
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, settings

from midspan.errors import MidspanError

INPUTS = int(os.environ.get("MIDSPAN_FUZZ", 0))
# Of one core: the machine may be busy with something else.
HANG_SECONDS = 20
COUNTS: dict[str, Counter] = defaultdict(Counter)
SECONDS: Counter = Counter()


def fuzzed(few: int):
    """Hypothesis's settings: `few` inputs in the whole suite, always the same."""
    return settings(
        max_examples=INPUTS or few,
        deadline=None,
        derandomize=not INPUTS,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


class _Hang(BaseException):
    """Not to be caught by any reader."""


@contextmanager
def _alarm():
    def ring(*_):
        raise _Hang(f"no answer in {HANG_SECONDS} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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
    except Exception as error:
        # A traceback a thousand calls deep tells no more than its end.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}:{frame.lineno}"
        raise AssertionError(f"{type(error).__name__} at {place}: {str(error)[:500]}") from None
    finally:
        SECONDS[name] += time.monotonic() - started
    COUNTS[name]["taken"] += 1
    return value, True
