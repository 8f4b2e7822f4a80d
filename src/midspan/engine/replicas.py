"""Several servers that hold the same model: who is asked next."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# So long nobody is sent to a replica to which there was no connection, while others answer.
_REST_SECONDS = 15.0


class Replicas:
    """Addresses, and how many requests are under way at each; for many threads.

    Args:
        urls: The addresses.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._under_way = dict.fromkeys(urls, 0)
        self._resting: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def has_another(self) -> bool:
        """Whether an address is left that is not known to be gone."""
        with self._lock:
            return len(self._here()) > 0

    @contextmanager
    def lease(self, last: str | None = None) -> Iterator[str]:
        """The address with the fewest requests under way, for one request.

        Args:
            last: Where this request's last try failed; it goes elsewhere where it can.
        """
        with self._lock:
            here = self._here() or list(self._under_way)
            others = [url for url in here if url != last] or here
            url = min(others, key=lambda one: self._under_way[one])
            self._under_way[url] += 1
        try:
            yield url
        finally:
            with self._lock:
                self._under_way[url] -= 1

    def is_gone(self, url: str) -> None:
        """Leave an address alone for a while."""
        with self._lock:
            self._resting[url] = time.monotonic() + _REST_SECONDS

    def is_back(self, url: str) -> None:
        """An address has answered, be it with an error."""
        with self._lock:
            self._resting.pop(url, None)

    def _here(self) -> list[str]:
        now = time.monotonic()
        return [url for url in self._under_way if self._resting.get(url, now) <= now]
