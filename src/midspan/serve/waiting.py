"""Rows that wait for a place in a batch, fair among clients."""

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Lane = TypeVar("Lane", bound=Hashable)


@dataclass(frozen=True)
class Row(Generic[Lane]):
    """One canvas that waits.

    Attributes:
        number: Its number, in the order of arrival.
        client: Whose it is.
        lane: What it shares with the rows beside which it can be decoded.
    """

    number: int
    client: str
    lane: Lane


@dataclass
class Waiting(Generic[Lane]):
    """Waiting rows by lane and client.

    A place goes to the client with the fewest rows in the batches, and among these to the one that
    has waited longest since its last place; a client's own rows go in the order of arrival.
    """

    _lanes: dict[Lane, dict[str, deque[Row[Lane]]]] = field(default_factory=dict)
    _running: Counter[str] = field(default_factory=Counter)
    _served: dict[str, int] = field(default_factory=dict)
    _turns: int = 0

    def __len__(self) -> int:
        return sum(len(rows) for lane in self._lanes.values() for rows in lane.values())

    def __iter__(self) -> Iterator[Row[Lane]]:
        for lane in self._lanes.values():
            for rows in lane.values():
                yield from rows

    def add(self, row: Row[Lane]) -> None:
        """Let a row wait, at the end of its client's."""
        self._lanes.setdefault(row.lane, {}).setdefault(row.client, deque()).append(row)

    def remove(self, row: Row[Lane]) -> bool:
        """Take a row out; False where it does not wait."""
        rows = self._lanes.get(row.lane, {}).get(row.client)
        if rows is None or row not in rows:
            return False
        rows.remove(row)
        self._tidy(row)
        return True

    def lanes(self) -> list[Lane]:
        """Lanes with waiting rows, the one whose first row has waited longest first."""
        first = {
            lane: min(rows[0].number for rows in clients.values())
            for lane, clients in self._lanes.items()
        }
        return sorted(first, key=lambda lane: first[lane])

    def take(self, lane: Lane, count: int) -> list[Row[Lane]]:
        """Rows of a lane for so many places, or as many as there are."""
        taken: list[Row[Lane]] = []
        while len(taken) < count and lane in self._lanes:
            clients = self._lanes[lane]
            client = min(clients, key=lambda one: (self._running[one], self._served.get(one, -1)))
            row = clients[client].popleft()
            self._turns += 1
            self._served[client] = self._turns
            self._running[client] += 1
            self._tidy(row)
            taken.append(row)
        return taken

    def left(self, client: str) -> None:
        """A client's row has left its batch."""
        self._running[client] -= 1
        self._forget(client)

    def _tidy(self, row: Row[Lane]) -> None:
        clients = self._lanes[row.lane]
        if not clients[row.client]:
            del clients[row.client]
        if not clients:
            del self._lanes[row.lane]

    def _forget(self, client: str) -> None:
        """Keep nothing of clients that are gone: addresses are many."""
        if self._running[client] <= 0 and not any(client in lane for lane in self._lanes.values()):
            del self._running[client]
            self._served.pop(client, None)
