"""An OpenAI-compatible server as a config: its address, limits and prices."""

from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig

OPENAI_URL = "https://api.openai.com/v1"


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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not model:
            raise MidspanError(f"{spec.partition('@')[0]!r} is neither openai:MODEL nor URL#MODEL")
        if parts.username or parts.password or parts.query:
            raise MidspanError("the address holds a name or key; put keys in the environment")
        address = {"url": url.rstrip("/"), "model": model}
        return cls.model_validate(fields | address, within=within)

    def dollars(self, prompt_tokens: int, tokens: int, calls: int = 1) -> float | None:
        """What calls of so many tokens each cost; None where a price is not known.

        With bounds of calls and tokens it is a bound: failed tries are not charged.
        """
        if self.input_price is None or self.output_price is None:
            return None
        return calls * (prompt_tokens * self.input_price + tokens * self.output_price) / 1e6
