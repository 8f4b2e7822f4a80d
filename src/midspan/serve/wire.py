"""What clients send: OpenAI's fields, and midspan's own under one key.

Fields are strict: a text is no number, and an unknown field is an error that names it. What OpenAI
has and a diffusion model cannot follow is taken at the value that asks for nothing, and refused by
name at any other.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import core_schema

# Choices that one request may ask for.
MAX_CHOICES = 16
_MAX_SEED = 1 << 62
_MAX_CANVAS = 1 << 20
_MAX_TEXTS = 64


class _Only:
    """A field that OpenAI has and that may hold nothing but what it holds when left out."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"enum": [None, *self._values]}

    def _check(self, value: Any) -> Any:
        if value is None or value in self._values:
            return value
        shown = " or ".join(map(repr, self._values))
        raise ValueError(
            f"cannot be followed here; leave it out{f' or set it to {shown}' if shown else ''}"
        )


_Nothing = Annotated[Any, _Only()]
_Empty = Annotated[list[Any] | None, _Only([])]
_No = Annotated[bool | None, _Only(False)]
_Zero = Annotated[float | None, _Only(0.0)]


class Wire(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TextPart(Wire):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(Wire):
    """One turn of a conversation.

    Attributes:
        role: Who speaks; "developer" is read as "system".
        content: Text, or parts of text that follow each other.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: _Nothing = None
    refusal: _Nothing = None
    tool_calls: _Empty = None
    function_call: _Nothing = None
    audio: _Nothing = None
    annotations: _Empty = None

    @property
    def turn(self) -> dict[str, str]:
        """The message as models are given it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class Anchor(Wire):
    """Tokens that are fixed in the canvas before decoding, as text or as ids.

    Attributes:
        position: Canvas position of the first one.
        text: A phrase.
        ids: Token ids.
    """

    position: int = Field(ge=0, lt=_MAX_CANVAS)
    text: str | None = Field(None, min_length=1)
    ids: list[int] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Anchor":
        if (self.text is None) == (self.ids is None):
            raise ValueError("give text or ids, one of both")
        return self


class MidspanOptions(Wire):
    """What midspan has and OpenAI does not.

    Attributes:
        steps: Steps over the whole canvas.
        block_length: Tokens of a block.
        sampler: "llada", "dream" or "block"; the family's own by default.
        decoding: Other fields of the sampler's config.
        anchors: What is fixed before decoding.
        canvas: Text with holes such as [4] or [3 words], from the response's first token on.
        rules: Rules by name, or by fields with the name as `rule`.
        trace: Whether the response says when each token was committed.
        frames: Whether a stream has an event every step.
    """

    steps: int | None = Field(None, ge=1, le=_MAX_CANVAS)
    block_length: int | None = Field(None, ge=1, le=_MAX_CANVAS)
    sampler: Literal["llada", "dream", "block"] | None = None
    decoding: dict[str, Any] = Field(default_factory=dict)
    anchors: list[Anchor] = Field(default_factory=list, max_length=4096)
    canvas: str | None = Field(None, min_length=1)
    rules: list[str | dict[str, Any]] = Field(default_factory=list, max_length=16)
    trace: bool = False
    frames: bool = False


class StreamOptions(Wire):
    """OpenAI's options of a stream.

    Attributes:
        include_usage: Whether an event with the usage comes last.
        include_obfuscation: OpenAI's padding, of which there is none here.
    """

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(Wire):
    """OpenAI's format of a response, which is text here."""

    type: Literal["text"]


class _Common(Wire):
    """What both kinds of completion have.

    Attributes:
        model: One of `/v1/models`.
        max_tokens: Tokens of the canvas.
        temperature: 0 takes the likeliest token; the family's own by default.
        top_p: Nucleus filter, for samplers that have one; 1 is none.
        seed: Of the random draws; choice i has seed + i.
        n: Choices.
        stop: Texts at which the answer ends.
        stream: Whether the answer comes in pieces.
        midspan: What OpenAI does not have.
    """

    model: str = Field(min_length=1, max_length=512)
    max_tokens: int | None = Field(None, ge=1, le=_MAX_CANVAS)
    temperature: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=_MAX_SEED)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stop: str | list[str] | None = Field(None, max_length=_MAX_TEXTS)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    midspan: MidspanOptions = MidspanOptions()

    user: str | None = None
    presence_penalty: _Zero = None
    frequency_penalty: _Zero = None
    logit_bias: Annotated[dict[str, Any] | None, _Only({})] = None

    @property
    def canvas_tokens(self) -> int | None:
        """The canvas that was asked for; None for the default."""
        return self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which the answer ends."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    @model_validator(mode="after")
    def _frames_are_streamed(self) -> "_Common":
        if self.midspan.frames and not self.stream:
            raise ValueError("midspan.frames needs stream=true; midspan.trace needs no stream")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream=true")
        return self


class ChatRequest(_Common):
    """`POST /v1/chat/completions`.

    Attributes:
        messages: The conversation.
        max_completion_tokens: As `max_tokens`; give one of both.
    """

    messages: list[ChatMessage] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(None, ge=1, le=_MAX_CANVAS)

    logprobs: _No = None
    top_logprobs: Annotated[int | None, _Only(0)] = None
    response_format: ResponseFormat | None = None
    tools: _Empty = None
    functions: _Empty = None
    tool_choice: Annotated[Any, _Only("none", "auto")] = None
    function_call: Annotated[Any, _Only("none", "auto")] = None
    parallel_tool_calls: bool | None = None
    modalities: Annotated[list[str] | None, _Only(["text"])] = None
    store: _No = None
    metadata: Annotated[dict[str, Any] | None, _Only({})] = None
    service_tier: Annotated[str | None, _Only("auto", "default")] = None
    reasoning_effort: Annotated[str | None, _Only("none")] = None

    @property
    def canvas_tokens(self) -> int | None:
        """The canvas that was asked for; None for the default."""
        return self.max_tokens or self.max_completion_tokens

    @model_validator(mode="after")
    def _one_length(self) -> "ChatRequest":
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of both")
        return self

    @property
    def turns(self) -> tuple[dict[str, str], ...]:
        """The conversation as models are given it."""
        return tuple(message.turn for message in self.messages)


class CompletionRequest(_Common):
    """`POST /v1/completions`.

    Attributes:
        prompt: Text in which nothing is special, or token ids; or several of either.
    """

    prompt: str | list[str] | list[int] | list[list[int]]

    best_of: Annotated[int | None, _Only(1)] = None
    echo: _No = None
    logprobs: Annotated[int | None, _Only()] = None
    suffix: Annotated[str | None, _Only("")] = None

    @model_validator(mode="after")
    def _some_prompt(self) -> "CompletionRequest":
        if not self.prompts or not all(self.prompts):
            raise ValueError("prompt: must not be empty")
        if len(self.prompts) * (self.n or 1) > _MAX_TEXTS:
            raise ValueError(f"prompt: prompts times n must be at most {_MAX_TEXTS}")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if all(isinstance(part, int) for part in self.prompt):
            return [[part for part in self.prompt if isinstance(part, int)]]
        return [part for part in self.prompt if not isinstance(part, int)]


class TokenizeRequest(Wire):
    """`POST /v1/midspan/tokenize`: a text, or a conversation with its chat format.

    Attributes:
        model: One of `/v1/models`.
        text: A text in which nothing is special.
        messages: A conversation, up to and with the header of the answer.
    """

    model: str = Field(min_length=1, max_length=512)
    text: str | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=4096)

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenizeRequest":
        if (self.text is None) == (self.messages is None):
            raise ValueError("give text or messages, one of both")
        return self
