"""Tasks put to a role, such as a model behind a server: conversations in, texts out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from midspan.engine.asking import ask_all
from midspan.engine.calls import Anchor, Chat, Reply
from midspan.engine.capabilities import Need
from midspan.engine.roles import Role
from midspan.engine.server import ServedDecoding
from midspan.errors import MidspanError
from midspan.files import Record
from midspan.journal.generation import OnBatch
from midspan.journal.journal import Journal
from midspan.tasks.fit import How, check_samples, common_settings
from midspan.tasks.task import Task
from midspan.tasks.verdicts import verdicts_of

if TYPE_CHECKING:
    from midspan.engine.scheduler import SchedulerProgress


def served_settings(task: Task, how: How, engine: str) -> dict[str, Any]:
    """Everything that moves the score of a model behind a server, as far as it can be known.

    Raises:
        MidspanError: The task cannot be put as a conversation, a setting of decoding is none of a
            server's, or several samples would be the same.
    """
    preset = task.preset
    if preset.by_likelihood:
        raise MidspanError(
            f"{task.name}: scores likelihoods of whole options, which no server gives; take a task "
            "whose answers are generated"
        )
    if not task.prompt(task.items[0], 0).chat:
        raise MidspanError(
            f"{task.name}: the prompts of preset {preset.name} are plain text, and a server is "
            "asked in its chat format; take --preset llada"
        )
    sent = _sent(task, how)
    check_samples(task, sent.temperature)
    nucleus = {} if sent.top_p is None else {"top_p": sent.top_p}
    return {
        **common_settings(task, how),
        "until": list(preset.until),
        "samples": preset.samples,
        "served": {
            "engine": engine, "max_tokens": sent.length, "temperature": sent.temperature, **nucleus,
        },
    }  # fmt: skip


def _sent(task: Task, how: How) -> ServedDecoding:
    """What of decoding is asked of a server: the preset's under the caller's."""
    usual = {"length": task.preset.length, "temperature": task.preset.temperature}
    # Rules stand in front of the server; what is null is left to the preset.
    own = {
        name: value
        for name, value in how.overrides.items()
        if name != "rules" and value is not None
    }
    return ServedDecoding.of({**usual, **own})


def needs_of_task(task: Task) -> frozenset[Need]:
    """What a task asks of a server."""
    begun = any(task.prompt(item, 0).prefix for item in task.items)
    needs: set[Need] = {"prefix" if begun else "chat"}
    if task.preset.samples > 1:
        needs.add("draws")
    return frozenset(needs)


def run_served(
    role: Role,
    model: str,
    task: Task,
    journal: Journal,
    how: How,
    on_batch: OnBatch | None = None,
) -> list[Record]:
    """One record an item and sample, in the items' order; what the journal holds is not asked.

    An item without an answer has the reason in place of a verdict. Figures count it as not known:
    they go from it false to it true.

    Args:
        role: Who answers.
        model: As tables name it.
        task: The task.
        journal: Holds every answer before it is used.
        how: Seed of the draws, and settings that go before the preset's.
        on_batch: Told how many answers have come.

    Raises:
        MidspanError: Not one answer came, or the task's judge gave not one verdict.
    """
    samples, sent = task.preset.samples, _sent(task, how)
    calls = [call for item in task.items for call in [_call(task, item, sent)] * samples]
    replies = _asked(f"{task.title} {how.seed}", role, calls, journal, on_batch)
    if not any(reply.ok for reply in replies):
        raise MidspanError(
            f"{task.name}: {model} gave not one answer ({replies[0].reason}); mend it and give the "
            "same command again"
        )
    items = [item for item in task.items for _ in range(samples)]
    cases = [(item, reply.text) for item, reply in zip(items, replies, strict=True) if reply.ok]
    verdicts = iter(verdicts_of(task, cases, journal, how.fail_fast, on_batch))
    return [
        {
            "model": model,
            "task": task.name,
            "preset": task.preset.name,
            "id": item.id,
            "group": item.group,
            "sample": position % samples,
            "shots": task.preset.shots,
            "response": reply.text,
            "verdict": next(verdicts) if reply.ok else {"error": reply.reason},
            "forwards": reply.forwards,
            **_beside(reply),
        }
        for position, (item, reply) in enumerate(zip(items, replies, strict=True))
    ]


def _call(task: Task, item: Any, sent: ServedDecoding) -> Chat:
    prompt = task.prompt(item, task.preset.shots)
    begun = (Anchor(prompt.prefix),) if prompt.prefix else ()
    return Chat(
        "target",
        tuple(prompt.messages),
        temperature=sent.temperature,
        top_p=sent.top_p,
        max_tokens=sent.length,
        anchors=begun,
    )


def _beside(reply: Reply) -> Mapping[str, str]:
    about = {"thoughts": reply.thoughts, "rejected_by": reply.rejected_by}
    return {name: text for name, text in about.items() if text}


def _asked(
    purpose: str, role: Role, calls: list[Chat], journal: Journal, on_batch: OnBatch | None
) -> list[Reply]:
    def tell(step: "SchedulerProgress") -> None:
        if on_batch is not None:
            on_batch(step.replies)

    return ask_all(purpose, role, calls, journal, tell)
