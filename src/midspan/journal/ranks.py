"""Several processes or nodes on one run: which one this is, what it does, whose journal is whose.

Every process writes a journal of its own, so none waits for another's replies. A later run in one
process, or the first one of several once all have come to their end, takes the journals in.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from midspan.errors import MidspanError
from midspan.journal.journal import Journal

Item = TypeVar("Item")

# Processes come to their ends at different times; an unfinished one is no reason to give up.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Rank:
    """This process among those of a run."""

    index: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part: every `count`-th item."""
        return list(items[self.index :: self.count])


ALONE = Rank()


def take_rank(rank: Rank) -> None:
    """Make this process one of several on a run, as a launcher would."""
    os.environ |= {"RANK": str(rank.index), "WORLD_SIZE": str(rank.count)}


def this_rank() -> Rank:
    """As accelerate's launcher says (torchrun's too); one process without a launcher.

    Raises:
        MidspanError: The launcher's variables contradict each other.
    """
    index, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise MidspanError(f"RANK={index} and WORLD_SIZE={count} name no process; unset them")
    return Rank(int(index), int(count))


def check_unsharded() -> None:
    """Check that the launcher was not told to shard: a command that decodes needs whole weights.

    Raises:
        MidspanError: It was told to use FSDP.
    """
    from midspan.models.placement import is_sharded

    if is_sharded():
        raise MidspanError(
            "FSDP shards what midspan align trains, and nothing else runs on shards: accelerate "
            "launch --multi_gpu, not --use_fsdp"
        )


def open_journal(folder: Path, rank: Rank) -> Journal:
    """The journal that this process writes, with what all others had when it was opened.

    Alone, a process first takes the others' journals into its own and deletes them.

    Raises:
        MidspanError: A journal is damaged, or another process writes to it.
    """
    others = sorted(folder.glob("journal.*.jsonl"))
    if rank.count > 1:
        own = folder / f"journal.{rank.index}.jsonl"
        common = [folder / "journal.jsonl"] if (folder / "journal.jsonl").is_file() else []
        return Journal(own, [path for path in (*common, *others) if path != own])
    journal = Journal(folder / "journal.jsonl")
    for path in others:
        try:
            journal.absorb(path)
        except MidspanError:
            journal.close()
            raise
        path.unlink()
    return journal


def join_others() -> None:
    """Meet the launcher's other processes, before a model is loaded: each gets a GPU of its own."""
    _state()


def wait_for_all() -> None:
    """Return when every process of the launcher has come here."""
    _state().wait_for_everyone()


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
