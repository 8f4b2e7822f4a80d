"""Diffusion models as inspect's: ``--model midspan/organism:psa``, ``midspan/CHECKPOINT``.

inspect asks for one completion at a time, many at once; they are decoded in batches. What OpenAI's
fields cannot say stands under `midspan` in `extra_body`, as with `midspan serve`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
)
from pydantic import Field, ValidationError

from midspan.adapters.inspect.batches import Batches
from midspan.engine.roles import MissingReply, RawReply, SeededCall
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig, first_fault
from midspan.serve.wire import ChatRequest, MidspanOptions

if TYPE_CHECKING:
    from midspan.decoding import Generation, Request
    from midspan.engine.local import LocalRole
    from midspan.serve.prepare import Prepared

# Where a call of the engine's own is named, for the bridge of attacks.
CALL_FIELD = "midspan_call"
# What inspect and the wire call alike, and what differs.
_SAME = ("max_tokens", "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty",
         "logprobs", "top_logprobs")  # fmt: skip
_OTHER = {"num_choices": "n", "stop_seqs": "stop"}
_NOT_FOLLOWED = ("top_k", "best_of", "prompt_logprobs", "logit_bias", "response_schema",
                 "modalities", "verbosity", "effort", "reasoning_effort", "reasoning_tokens",
                 "extra_headers", "fallback_models")  # fmt: skip
_STOPS: Mapping[str, Any] = {"length": "max_tokens", "content_filter": "content_filter"}


class ProviderArgs(FrozenConfig):
    """Arguments of the model that are no fields of `midspan`: ``-M batch_size=8``.

    Attributes:
        batch_size: Rows that are decoded together.
        device: Where the model goes; by default the GPU if there is one.
        dtype: Of the weights; "auto" takes the checkpoint's.
        quantization: "4bit" or "8bit".
    """

    group = "-M"
    batch_size: int = Field(32, ge=1)
    device: str | None = None
    dtype: str | None = None
    quantization: str | None = None


class MidspanAPI(ModelAPI):
    """A diffusion language model behind inspect's interface.

    Args:
        model_name: Any spec that `midspan.load` takes, perhaps ``with DEFENCE``.
        base_url: None; the model runs in this process.
        api_key: None.
        config: inspect's; its `max_tokens` is the canvas where a call has none.
        **model_args: Fields of `ProviderArgs`; and of `midspan`, such as ``-M steps=64``, which
            hold where a call's `extra_body` does not say otherwise.

    Attributes:
        lm: The loaded model.
        role: It, as attacks ask it.

    Raises:
        MidspanError: There is no such model, or an argument is wrong.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        config = config or GenerateConfig()
        super().__init__(model_name, None, None, [], config)
        if base_url is not None:
            raise MidspanError(
                "base_url: midspan/ runs the model in this process; ask a server as "
                "openai-api/NAME/MODEL"
            )
        own = {key: model_args.pop(key) for key in ProviderArgs.model_fields if key in model_args}
        self._args = ProviderArgs.model_validate(own)
        self._defaults = _options(model_args)
        self._config = config
        self._asked: Counter[str] = Counter()
        self._calls: dict[str, SeededCall] = {}
        self._replies: dict[str, RawReply | MissingReply] = {}
        self._batches: Batches[Any, Any] = Batches(self._compute, self._args.batch_size)
        self._load()

    def _load(self) -> None:
        """The model, the rules in front of it, and its role for calls of the engine."""
        from midspan.models import load
        from midspan.studies.defences import behind
        from midspan.studies.given import Given
        from midspan.studies.redteam.roles import SpecReader

        model, self._rules = behind(self.model_name, {})
        form = self._args.model_dump(exclude={"batch_size"}, exclude_none=True)
        self.lm = load(model, **form)
        self.lm.merge_adapter()
        reader = SpecReader(given=Given({model: self.lm}))
        fields = _decoding(self._config, MidspanOptions.model_validate(self._defaults))
        participant = reader.model(self.model_name, self._args.batch_size, fields)
        self.role = cast("LocalRole", participant.open())

    def max_connections(self) -> int:
        """As many as a batch holds; inspect's ``--max-connections`` goes before it."""
        return self._args.batch_size

    def connection_key(self) -> str:
        """One queue a model."""
        return self.model_name

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[Any],
        tool_choice: Any,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """A completion, decoded with those that are asked for at the same time.

        Raises:
            MidspanError: Something is asked for that a diffusion model cannot follow; one line.
        """
        if tools:
            raise MidspanError(
                f"tools: {self.model_name} calls none; give it tasks and solvers without tools"
            )
        extra = dict(config.extra_body or {})
        call = self._calls.pop(extra.get(CALL_FIELD, ""), None)
        if call is not None:
            return await self._engine_call(extra[CALL_FIELD], call, extra)
        request = self._request(input, config, extra)
        asked = _chat_request(request)
        if asked.seed is None:
            # Epochs ask the same again, and must not be told the same where tokens are drawn.
            text = asked.model_dump_json()
            asked = asked.model_copy(update={"seed": self._asked[text]})
            self._asked[text] += asked.n or 1
        from midspan.serve.prepare import prepare

        prepared = prepare(self.lm, asked, self._rules)
        generations = await self._batches.submit(prepared, ("chat", prepared.config))
        output = _output(self, asked, prepared, generations)
        return output, ModelCall.create(request, _plain(output))

    def register(self, key: str, call: SeededCall) -> None:
        """Have a call of the engine ready, which a request names by `CALL_FIELD`."""
        self._calls[key] = call

    def reply(self, key: str) -> RawReply | MissingReply:
        """What came of a registered call, once."""
        return self._replies.pop(key)

    def _request(
        self, input: Sequence[ChatMessage], config: GenerateConfig, extra: dict[str, Any]
    ) -> dict[str, Any]:
        """The request in the words of the wire."""
        for name in _NOT_FOLLOWED:
            if getattr(config, name, None) not in (None, {}, []):
                raise MidspanError(f"{name}: a diffusion model cannot follow it; leave it out")
        values = {name: getattr(config, name) for name in _SAME}
        values |= {ours: getattr(config, theirs) for theirs, ours in _OTHER.items()}
        own = extra.pop("midspan", {})
        if not isinstance(own, Mapping):
            raise MidspanError("extra_body.midspan: must hold fields, such as {'steps': 64}")
        return {
            "model": self.model_name,
            "messages": [_turn(message) for message in input],
            **{name: value for name, value in values.items() if value is not None},
            "midspan": {**self._defaults, **own},
            **extra,
        }

    async def _engine_call(
        self, key: str, task: SeededCall, extra: Mapping[str, Any]
    ) -> tuple[ModelOutput, ModelCall]:
        queue = ("engine", self.role.queue(task.call))
        answer = await self._batches.submit(task, queue)
        self._replies[key] = answer
        output = _engine_output(self, answer)
        asked = {"call": type(task.call).__name__, "seed": task.seed, **extra.get("midspan", {})}
        return output, ModelCall.create(asked, _plain(output))

    def _compute(self, batch: Sequence[Any]) -> list[Any]:
        """A batch of one group: generations of each completion, or replies to engine calls."""
        from midspan.decoding import decode

        if isinstance(batch[0], SeededCall):
            answers = dict(self.role.answer(batch))
            return [answers[index] for index in range(len(batch))]
        rows = [request for prepared in batch for request in prepared.requests]
        config, size = batch[0].config, self._args.batch_size
        generations = iter(decode(self.lm, rows, config, batch_size=size))
        return [[next(generations) for _ in prepared.requests] for prepared in batch]


def _decoding(config: GenerateConfig, options: MidspanOptions) -> dict[str, Any]:
    """Fields of decoding for calls of the engine, which set their own before these."""
    given = {
        "length": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "steps": options.steps,
        "block_length": options.block_length,
        "sampler": options.sampler,
        "rules": tuple(options.rules) or None,
    }
    return {**options.decoding, **{name: value for name, value in given.items() if value}}


def _options(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `midspan` among the arguments of the model, checked."""
    fields = dict(model_args)
    if isinstance(fields.get("rules"), str | Mapping):
        fields["rules"] = [fields["rules"]]
    try:
        MidspanOptions.model_validate(fields)
    except ValidationError as error:
        raise MidspanError(first_fault(error, "-M")) from error
    return fields


def _chat_request(request: Mapping[str, Any]) -> ChatRequest:
    try:
        return ChatRequest.model_validate(request)
    except ValidationError as error:
        raise MidspanError(first_fault(error)) from error


def _turn(message: ChatMessage) -> dict[str, str]:
    """A message of text; thoughts of earlier turns are left out.

    Raises:
        MidspanError: It holds anything else, or is a tool's.
    """
    if message.role == "tool":
        raise MidspanError("messages: a tool's result; the model calls no tools")
    parts = message.content if isinstance(message.content, list) else []
    for part in parts:
        if part.type not in ("text", "reasoning"):
            raise MidspanError(f"messages: {part.type}; the model reads text alone")
    return {"role": message.role, "content": message.text}


def _content(text: str, thoughts: str) -> str | list[Content]:
    return [ContentReasoning(reasoning=thoughts), ContentText(text=text)] if thoughts else text


def _output(
    api: MidspanAPI, asked: ChatRequest, prepared: "Prepared", generations: "Sequence[Generation]"
) -> ModelOutput:
    """What was decoded, as inspect has it; the rest stands in the metadata."""
    from midspan.serve.answers import choice_of, summary, traced, usage

    requests: Sequence[Request] = prepared.requests
    choices = [
        choice_of(api.lm, request, generation, prepared.limit, asked.stops)
        for request, generation in zip(requests, generations, strict=True)
    ]
    spent = usage(len(requests[0].prompt_ids), choices)
    told = summary(choices, prepared.config)
    if asked.midspan.trace:
        told["choices"] = [traced(api.lm, choice) for choice in choices]
    return ModelOutput(
        model=api.model_name,
        choices=[
            ChatCompletionChoice(
                message=ChatMessageAssistant(
                    content=_content(choice.text, choice.generation.thoughts),
                    model=api.model_name,
                    source="generate",
                ),
                stop_reason=_STOPS.get(choice.finish, "stop"),
            )
            for choice in choices
        ],
        usage=_usage(spent["prompt_tokens"], spent["completion_tokens"]),
        metadata={"midspan": told},
    )


def _engine_output(api: MidspanAPI, answer: RawReply | MissingReply) -> ModelOutput:
    """What came of an engine's call; where it is no text, its numbers as text."""
    if isinstance(answer, MissingReply):
        output = ModelOutput.from_content(api.model_name, "", error=answer.reason)
        return output.model_copy(update={"metadata": {"midspan": {"failure": answer.failure}}})
    text = answer.raw if isinstance(answer.raw, str) else repr(answer.raw)
    choice = ChatCompletionChoice(
        message=ChatMessageAssistant(
            content=_content(text, answer.thoughts), model=api.model_name, source="generate"
        ),
        stop_reason="content_filter" if answer.rejected_by else "stop",
    )
    told = {"forwards": answer.forwards, "rejected_by": answer.rejected_by}
    return ModelOutput(
        model=api.model_name,
        choices=[choice],
        usage=_usage(answer.prompt_tokens, answer.tokens),
        metadata={"midspan": told},
    )


def _usage(prompt: int, answer: int) -> ModelUsage:
    return ModelUsage(input_tokens=prompt, output_tokens=answer, total_tokens=prompt + answer)


def _plain(output: ModelOutput) -> dict[str, Any]:
    return {
        "completions": [choice.message.text for choice in output.choices],
        "midspan": (output.metadata or {}).get("midspan", {}),
    }
