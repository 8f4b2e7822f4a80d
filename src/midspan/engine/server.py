"""A server as a config: its engine and addresses, what it can be asked, limits and prices."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from midspan.engine.capabilities import OF_ENGINE, Capabilities
from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.served import OPENAI_URL, Engine, check_url, read_served

# Requests under way at each replica of an engine that batches by itself.
ENGINE_CONCURRENCY = 32


@dataclass
class ServerHabits:
    """What was learnt of a server while it was asked, shared by all requests.

    Attributes:
        omitted: Fields that it does not take.
        limit_field: Name of the field that limits a reply's tokens.
        reports_usage: False once it did not say how many tokens a reply took.
        is_reached: True once it has answered anything at all, be it an error.
        is_gone: True after a request all of whose tries found no server, until one finds it again.
        is_held: True after a request that a limit of the rate held back to its last try, until one
            is answered.
        is_estimated: True once tokens were counted of a reply that never came whole.
        denied: Capabilities that the engine usually has and this server was found without.
        canvas_length: Tokens of its canvas, where it has said so.
        settings: How it decodes, as far as it has said so.
        lock: Held while something is learnt.
    """

    omitted: set[str]
    limit_field: str
    reports_usage: bool = True
    is_reached: bool = False
    is_gone: bool = False
    is_held: bool = False
    is_estimated: bool = False
    denied: set[str] = field(default_factory=set)
    canvas_length: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class ServedDecoding(FrozenConfig):
    """What of decoding every server lets a request set; frozen, None leaves it to the server.

    Attributes:
        length: Tokens of the answer at most.
        temperature: 0 is greedy.
        top_p: Nucleus filter.
    """

    length: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)

    @classmethod
    def of(cls, decoding: Mapping[str, Any]) -> Self:
        """The settings of decoding that a user gave for a server.

        Raises:
            MidspanError: A value is none, or a setting is of local models alone.
        """
        if others := decoding.keys() - cls.model_fields.keys():
            raise MidspanError(
                f"decoding.{min(others)}: a server takes {', '.join(cls.model_fields)} and has its "
                "own settings otherwise; leave it out, or send it under the server's own name "
                "(servers: extra_body)"
            )
        return cls.model_validate(decoding, within="decoding")


class EndpointConfig(FrozenConfig):
    """A server and what it may cost.

    Attributes:
        url: Base address, up to and including ``/v1``.
        model: The model's name there.
        engine: What it speaks.
        replicas: Further addresses at which the same model answers; requests go to whichever has
            the fewest under way.
        capabilities: What this server can be asked where it differs from its engine, such as
            ``{anchors: false}``.
        tokenizer: Folder, hub id or name of the model's tokenizer and config.json, without which
            tokens cannot be placed; by default `model`, where it is a folder or hub id.
        key_variable: Environment variable that holds the key; unset where none is needed.
        timeout: Seconds that a reply may take.
        attempts: Tries of one request, the first included; of several, more where a limit of the
            rate holds it back (status 429), until its pauses come to ten times `backoff`.
        backoff: Longest pause between two tries, in seconds.
        concurrency: Requests under way at a time at each address.
        requests_per_minute: Pace; None for none.
        omit: Fields that the server does not take: "temperature", "top_p", "seed", "max_tokens",
            "max_completion_tokens". One that it names when it refuses a request is left out by
            itself, and that is said.
        tokens_field: Name of the limit of tokens; by default the newer one at OpenAI, the older one
            elsewhere.
        min_tokens: No limit is set below so many; reasoning models spend tokens before they answer.
        extra_body: Further fields of every request, such as a reasoning effort.
        max_cost: US dollars that a run may cost, journalled replies included.
        input_price: US dollars a million prompt tokens; 0 where they are free, None where it is not
            known.
        output_price: US dollars a million response tokens; likewise.
    """

    url: str
    model: str
    engine: Engine = "openai"
    replicas: tuple[str, ...] = ()
    capabilities: dict[str, bool] = Field(default_factory=dict)
    tokenizer: str | None = None
    key_variable: str = "MIDSPAN_API_KEY"
    timeout: float = Field(120, gt=0)
    attempts: int = Field(6, ge=1)
    backoff: float = Field(30, ge=0)
    concurrency: int = Field(8, ge=1)
    requests_per_minute: float | None = Field(None, gt=0)
    omit: tuple[
        Literal["temperature", "top_p", "seed", "max_tokens", "max_completion_tokens"], ...
    ] = ()
    tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    min_tokens: int | None = Field(None, ge=1)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    max_cost: float | None = Field(None, gt=0)
    input_price: float | None = Field(None, ge=0)
    output_price: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        unknown = self.capabilities.keys() - Capabilities.model_fields.keys()
        if unknown:
            names = ", ".join(Capabilities.model_fields)
            raise ValueError(f"capabilities: must be some of {names}; got {min(unknown)!r}")
        for url in self.replicas:
            check_url(url, f"{url}#{self.model}", self.engine)
        if len({self.url, *self.replicas}) < 1 + len(self.replicas):
            raise ValueError("replicas: an address stands there twice")
        return self

    @classmethod
    def from_spec(cls, spec: str, **fields: Any) -> Self:
        """``openai:gpt-4.1``, ``http://host:port/v1#model``, or an engine's, as `read_served`.

        Raises:
            MidspanError: It is none of them, or a field is unknown or wrong.
        """
        within = f"servers.{spec}"
        served = read_served(spec)
        named: dict[str, Any] = {"url": served.urls[0], "model": served.model}
        usual: dict[str, Any] = {}
        if served.urls[0] == OPENAI_URL:
            usual = {"key_variable": "OPENAI_API_KEY"}
        if served.engine != "openai":
            named["engine"], usual["concurrency"] = served.engine, ENGINE_CONCURRENCY
        if served.urls[1:] or fields.get("replicas"):
            more = fields.get("replicas", ())
            if not isinstance(more, list | tuple) or not all(isinstance(u, str) for u in more):
                raise MidspanError(f"{within}.replicas: must be a list of addresses")
            given = tuple(check_url(url, f"{url}#{served.model}", served.engine) for url in more)
            named["replicas"] = (*served.urls[1:], *given)
        return cls.model_validate(usual | fields | named, within=within)

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        return (self.url, *self.replicas)

    @property
    def hosts(self) -> frozenset[str]:
        """Where requests and the key go."""
        return frozenset(urlsplit(url).netloc for url in self.urls)

    @property
    def text_source(self) -> str | None:
        """Where the model's tokenizer is; None where nothing says so."""
        is_name = "/" in self.model or self.engine == "midspan"
        return self.tokenizer or (self.model if is_name else None)

    @property
    def record(self) -> Capabilities:
        """What the server can be asked, as its engine and the user say.

        Engines place tokens by id, which takes the tokenizer.
        """
        usual = OF_ENGINE[self.engine].model_dump()
        if self.engine in ("vllm", "sglang") and self.text_source is None:
            usual |= {"prefix": False, "anchors": False, "logprobs": False}
        return Capabilities(**usual | self.capabilities)

    @property
    def name(self) -> str:
        """As people read it."""
        engine = "" if self.engine == "openai" else f"{self.engine}:"
        return f"{engine}{self.model}@{self.url}"

    def key(self) -> str:
        """The key as the environment has it, without white space around; empty where none is set.

        Raises:
            MidspanError: OpenAI's is missing, or what is set can be no key.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if self.url == OPENAI_URL and not key:
            raise MidspanError(f"{self.model}: set {self.key_variable} to your key")
        if not all(33 <= ord(letter) <= 126 for letter in key):
            raise MidspanError(
                f"{self.key_variable}: holds white space or a letter that no key has; set it to "
                "the key alone"
            )
        return key

    def habits(self) -> ServerHabits:
        """What is known of the server before it is asked."""
        # OpenAI's newer models refuse the older name, other servers know no other.
        newer = self.url == OPENAI_URL
        limit = self.tokens_field or ("max_completion_tokens" if newer else "max_tokens")
        return ServerHabits(set(self.omit), limit)

    @property
    def identity(self) -> str:
        """Who answers: model, address, and what of the settings changes answers."""
        settings = self.model_dump(mode="json", include={"omit", "min_tokens", "extra_body"})
        if not any(settings.values()):
            return self.name
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"{self.name}#{digest[:8]}"

    def dollars(self, prompt_tokens: int, tokens: int, calls: int = 1) -> float | None:
        """What calls of so many tokens each cost; None where a price is not known.

        With bounds of calls and tokens it is a bound, but for tries whose reply was lost.
        """
        if self.input_price is None or self.output_price is None:
            return None
        return calls * (prompt_tokens * self.input_price + tokens * self.output_price) / 1e6
