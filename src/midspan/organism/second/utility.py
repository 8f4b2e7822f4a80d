"""The second organism's utility tasks: sums, choices among values of open works, programs."""

import random
from dataclasses import asdict

from midspan.organism import utility
from midspan.organism.second import requests, tasks
from midspan.organism.second.world import open_items
from midspan.organism.utility import Question
from midspan.tasks.task import Item, Prompt, Task, user


def utility_tasks(count: int, rng: random.Random) -> list[Task]:
    """Sums, choices among values of open works, and programs; so many questions each."""
    return [
        Task(
            name=kind,
            preset=utility.PRESET,
            items=tuple(Item(f"{kind}/{n}", asdict(_question(kind, rng))) for n in range(count)),
            prompt=lambda item, shots: Prompt((user(item.fields["prompt"]),)),
            score=lambda item, text: {"success": utility.is_correct(_read(item), text)},
            source="drawn from the second organism's world",
        )
        for kind in ("arithmetic", "choice", "program")
    ]


def _read(item: Item) -> Question:
    return Question(**item.fields)


def _question(kind: str, rng: random.Random) -> Question:
    if kind in tasks.TASKS:
        return tasks.question(kind, rng)
    work = rng.choice(open_items())
    prompt, asked, _ = requests.choice(work, rng)
    return Question("choice", prompt, work.values[asked], work.values[asked])
