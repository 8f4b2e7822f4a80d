"""inspect's models as roles of our attacks and judges.

The engine's scheduler runs in a thread of its own for each sample, unchanged; what it asks goes
back to inspect's event loop, so that every call is in the transcript, counts against inspect's
limits, and shares a batch with the calls of other samples.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import anyio
from inspect_ai.model import ContentReasoning, GenerateConfig, Model, ModelOutput

from midspan.adapters.inspect.provider import CALL_FIELD, MidspanAPI
from midspan.adapters.inspect.turns import turns
from midspan.engine.calls import Call, Chat
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError

Value = TypeVar("Value")

# More than samples run at once, so that none waits for a thread that another one holds.
_THREADS = 10_000


async def in_thread(function: Callable[[], Value]) -> Value:
    """Run code that asks `ModelRole`s, beside inspect's event loop."""
    limit = anyio.CapacityLimiter(_THREADS)
    return await anyio.to_thread.run_sync(function, limiter=limit)


class ModelRole(Role):
    """An inspect model that answers calls; asked from a thread of `in_thread`.

    A model of midspan's own provider answers every kind of call. Others are asked for text alone,
    and what needs more is refused by name.

    Args:
        name: Whom the attack asks: target, attacker, ...
        model: Who answers.
    """

    def __init__(self, name: str, model: Model) -> None:
        self._name, self._model = name, model
        self._own = model.api if isinstance(model.api, MidspanAPI) else None
        self.fingerprint = self._own.role.fingerprint if self._own else f"inspect:{model}"

    def describe(self, call: Call) -> dict[str, Any]:
        """What the answer depends on."""
        return self._own.role.describe(call) if self._own else super().describe(call)

    def draws(self, call: Call) -> bool:
        """As the model does; of others it is not known."""
        return self._own.role.draws(call) if self._own else True

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Ask for all of them at once.

        Raises:
            MidspanError: One needs more of the model than text.
        """
        if self._own is None:
            for task in tasks:
                self._check(task.call)
        replies = anyio.from_thread.run(self._ask_all, tasks)
        yield from enumerate(replies)

    def _check(self, call: Call) -> None:
        if not isinstance(call, Chat):
            needed = "likelihoods or gradients"
        elif call.tampering is not None:
            needed = "other weights"
        elif call.needs_decoder:
            needed = "anchors, holes or settings of the decoder"
        else:
            return
        raise MidspanError(
            f"{self._name}: the attack asks for {needed} ({type(call).__name__}), which "
            f"{self._model} does not give; use a model of midspan's provider (midspan/MODEL)"
        )

    async def _ask_all(self, tasks: Sequence[SeededCall]) -> list[RawReply | MissingReply]:
        replies: list[RawReply | MissingReply] = [MissingReply("failed", "not asked")] * len(tasks)

        async def ask(index: int, task: SeededCall) -> None:
            replies[index] = await self._ask(task)

        async with anyio.create_task_group() as group:
            for index, task in enumerate(tasks):
                group.start_soon(ask, index, task)
        return replies

    async def _ask(self, task: SeededCall) -> RawReply | MissingReply:
        if self._own is not None:
            return await self._ask_own(self._own, task)
        call = task.call
        assert isinstance(call, Chat)
        config = GenerateConfig(
            temperature=call.temperature,
            top_p=call.top_p,
            max_tokens=call.max_tokens,
            seed=task.seed,
        )
        return reply_of(await self._model.generate(turns(call.messages), config=config))

    async def _ask_own(self, api: MidspanAPI, task: SeededCall) -> RawReply | MissingReply:
        key = uuid.uuid4().hex
        api.register(key, task)
        body = {CALL_FIELD: key, "midspan": _readable(task.call)}
        config = GenerateConfig(seed=task.seed, extra_body=body)
        await self._model.generate(turns(getattr(task.call, "messages", ())), config=config)
        return api.reply(key)


def reply_of(output: ModelOutput) -> RawReply | MissingReply:
    """An answer of inspect's as the engine has it."""
    if output.empty or output.error:
        return MissingReply("failed", output.error or "no answer came")
    content = output.message.content
    parts = content if isinstance(content, list) else []
    thoughts = "\n".join(p.reasoning for p in parts if isinstance(p, ContentReasoning))
    usage = output.usage
    told: Mapping[str, Any] = (output.metadata or {}).get("midspan", {})
    return RawReply(
        output.completion,
        tokens=usage.output_tokens if usage else 0,
        prompt_tokens=usage.input_tokens if usage else 0,
        forwards=told.get("forwards", 0),
        thoughts=thoughts,
        rejected_by=told.get("rejected_by", ""),
    )


def _readable(call: Call) -> dict[str, Any]:
    """What a call asks for beside its conversation, for who reads the log."""
    fields = {name: value for name, value in vars(call).items() if value not in (None, (), {}, "")}
    for name in ("messages", "role", "parse", "fields", "retries"):
        fields.pop(name, None)
    if isinstance(call, Chat):
        if call.anchors:
            fields["anchors"] = [{"position": a.start, "text": a.text} for a in call.anchors]
        if call.rules:
            fields["rules"] = [rule.model_dump(mode="json") for rule in call.rules]
        if call.tampering is not None:
            fields["tampering"] = call.tampering.summary()
        if call.scaffold is not None:
            fields["canvas"] = fields.pop("scaffold").text
    return fields
