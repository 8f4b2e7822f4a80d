"""Several processes or nodes on one run: who takes which behaviors, and whose journal is whose.

Every process writes a journal of its own, so none waits for another. A later run in one process
takes these in; it then finds every reply and gives the records of all.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from midspan.engine.journal import Journal
from midspan.errors import MidspanError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rank:
    """This process among those of a run."""

    index: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part: every `count`-th item."""
        return list(items[self.index :: self.count])


def this_rank() -> Rank:
    """As accelerate's launcher says (torchrun's too); one process without a launcher.

    Raises:
        MidspanError: The launcher's variables contradict each other.
    """
    index, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise MidspanError(f"RANK={index} and WORLD_SIZE={count} name no process; unset them")
    return Rank(int(index), int(count))


def open_journal(folder: Path, rank: Rank) -> Journal:
    """The journal that this process writes, with what all others had when it was opened.

    Alone, a process first takes the others' journals into its own and deletes them.

    Raises:
        MidspanError: A journal is damaged, or another process writes to it.
    """
    parts = sorted(folder.glob("journal.*.jsonl"))
    if rank.count > 1:
        own = folder / f"journal.{rank.index}.jsonl"
        whole = [folder / "journal.jsonl"] if (folder / "journal.jsonl").is_file() else []
        return Journal(own, [path for path in (*whole, *parts) if path != own])
    journal = Journal(folder / "journal.jsonl")
    for path in parts:
        try:
            with Journal(path) as part:
                journal.append({key: part[key] for key in part if key not in journal})
        except MidspanError:
            journal.close()
            raise
        path.unlink()
    return journal
