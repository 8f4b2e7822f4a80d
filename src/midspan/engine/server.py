"""An OpenAI-compatible server as a config: its address, limits and prices."""

import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

OPENAI_URL = "https://api.openai.com/v1"


@dataclass
class ServerHabits:
    """What was learnt of a server while it was asked, shared by all requests.

    Attributes:
        omitted: Fields that it does not take.
        limit_field: Name of the field that limits a reply's tokens.
        reports_usage: False once it did not say how many tokens a reply took.
        is_reached: True once it has answered anything at all, be it an error.
        is_gone: True after a request all of whose tries found no server, until one finds it again.
        is_estimated: True once tokens were counted of a reply that never came whole.
        lock: Held while something is learnt.
    """

    omitted: set[str]
    limit_field: str
    reports_usage: bool = True
    is_reached: bool = False
    is_gone: bool = False
    is_estimated: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class EndpointConfig(FrozenConfig):
    """A server and what it may cost.

    Attributes:
        url: Base address, up to and including ``/v1``.
        model: The model's name there.
        key_variable: Environment variable that holds the key; unset where none is needed.
        timeout: Seconds that a reply may take.
        attempts: Tries of one request, the first included.
        backoff: Longest pause between two tries, in seconds.
        concurrency: Requests under way at a time.
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

    @classmethod
    def from_spec(cls, spec: str, **fields: Any) -> Self:
        """``openai:gpt-4.1`` or ``http://host:port/v1#model``.

        Raises:
            MidspanError: It is neither, or a field is unknown or wrong.
        """
        within = f"servers.{spec}"
        if spec.startswith("openai:") and spec != "openai:":
            named = {"url": OPENAI_URL, "model": spec.removeprefix("openai:")}
            key = {"key_variable": "OPENAI_API_KEY"}
            return cls.model_validate(key | fields | named, within=within)
        url, _, model = spec.partition("#")
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port or an address that cannot be
            known = False
        if not known or not model:
            raise MidspanError(f"{spec.partition('@')[0]!r} is neither openai:MODEL nor URL#MODEL")
        if parts.username or parts.password or parts.query:
            raise MidspanError("the address holds a name or key; put keys in the environment")
        address = {"url": url.rstrip("/"), "model": model}
        return cls.model_validate(fields | address, within=within)

    @property
    def host(self) -> str:
        """Where requests and the key go."""
        return urlsplit(self.url).netloc

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
        name = f"{self.model}@{self.url}"
        if not any(settings.values()):
            return name
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"{name}#{digest[:8]}"

    def dollars(self, prompt_tokens: int, tokens: int, calls: int = 1) -> float | None:
        """What calls of so many tokens each cost; None where a price is not known.

        With bounds of calls and tokens it is a bound, but for tries whose reply was lost.
        """
        if self.input_price is None or self.output_price is None:
            return None
        return calls * (prompt_tokens * self.input_price + tokens * self.output_price) / 1e6
