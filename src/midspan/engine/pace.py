"""When the next request may go: a server's pace, and the pause that it asks for."""

import math
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2


class Pace:
    """Requests of all threads at even distances."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._distance = 60 / per_minute if per_minute else 0.0
        self._stop = stop
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Return when this thread's turn has come."""
        if not self._distance:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._distance
        self._stop.wait(turn - now)


def retry_after(response: httpx2.Response) -> float:
    """Seconds that a server asks for, as such or as a date; 0 where it asks for none."""
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
