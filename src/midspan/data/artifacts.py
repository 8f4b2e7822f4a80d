"""JailbreakBench's artifacts: of each behavior the prompt that an attack found for one model.

One JSON object a method and model, of `parameters` and `jailbreaks`, as the package jailbreakbench
1.0.0 reads and writes it and github.com/JailbreakBench/artifacts publishes it. A prompt is one
text there; what more an attempt of midspan fixes stands under `midspan`, which their reader skips.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import read_object

OWN = "midspan"  # the field of what their format has no place for
_REMEDY = "give a JailbreakBench artifact, a JSON object of parameters and jailbreaks"
_NUMBERS = ("number_of_queries", "queries_to_jailbreak", "prompt_tokens", "response_tokens")


@dataclass(frozen=True)
class Jailbreak:
    """What an attack found for one behavior.

    Attributes:
        index: Number of the behavior in its set, from 0.
        goal: The request.
        behavior: Its name in its set; no two of an artifact share one.
        category: Its kind of harm.
        prompt: What was asked; None where the attack found nothing to ask.
        response: What came back.
        number_of_queries: Of the model, in the whole attack; None, like the next three, where it
            was not counted.
        queries_to_jailbreak: Up to this prompt, where it won.
        prompt_tokens: Of all queries.
        response_tokens: Of all responses.
        jailbroken: Whether the judge calls the response a success.
        own: Fields of an attempt beyond one text: messages, anchors, scaffold, rules, decoding.
    """

    index: int
    goal: str
    behavior: str
    category: str
    prompt: str | None
    response: str | None
    number_of_queries: int | None
    queries_to_jailbreak: int | None
    prompt_tokens: int | None
    response_tokens: int | None
    jailbroken: bool
    own: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As their format has it, the field `midspan` only where there is something in it."""
        fields = asdict(self)
        own = fields.pop("own")
        return fields | ({OWN: own} if own else {})


@dataclass(frozen=True)
class Artifact:
    """One method against one model.

    Attributes:
        parameters: Method, model, attack_type, rates and settings.
        jailbreaks: In the order of the behaviors.
    """

    parameters: Mapping[str, Any]
    jailbreaks: tuple[Jailbreak, ...]

    @property
    def method(self) -> str:
        """Its authors' name of the attack."""
        return str(self.parameters["method"])

    @property
    def model(self) -> str:
        """Whom it was found for."""
        return str(self.parameters["model"])

    @property
    def spec(self) -> str:
        """The model, with its defence where it stood behind one."""
        defence = self.parameters.get("defense")
        return f"{self.model} with {defence}" if defence else self.model

    @property
    def own(self) -> Mapping[str, Any]:
        """What midspan wrote of the run beside their parameters; empty for artifacts of others."""
        own = self.parameters.get(OWN)
        return own if isinstance(own, dict) else {}

    def to_dict(self) -> dict[str, Any]:
        """As their format has it."""
        rows = [jailbreak.to_dict() for jailbreak in self.jailbreaks]
        return {"parameters": dict(self.parameters), "jailbreaks": rows}

    @classmethod
    def read(cls, path: Path) -> "Artifact":
        """Read a file, of theirs or of `midspan export`.

        Raises:
            MidspanError: It is missing, damaged or something else.
        """
        value = read_object(path, _REMEDY)
        parameters, rows = value.get("parameters"), value.get("jailbreaks")
        if not isinstance(parameters, dict) or not isinstance(rows, list) or not rows:
            raise MidspanError(f"{path}: has no parameters or no jailbreaks; {_REMEDY}")
        for name in ("method", "model"):
            if not isinstance(parameters.get(name), str) or not parameters[name]:
                raise MidspanError(f"{path}: parameters.{name} must be a name; {_REMEDY}")
        found = [_jailbreak(row, f"{path}: jailbreaks.{place}") for place, row in enumerate(rows)]
        names = [one.behavior for one in found]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise MidspanError(f"{path}: names the behavior {twice!r} twice; keep one of them")
        return cls(parameters, tuple(found))


def _jailbreak(row: Any, place: str) -> Jailbreak:
    """One row; fields that others add to theirs are skipped."""
    if not isinstance(row, dict):
        raise MidspanError(f"{place} must be a JSON object; {_REMEDY}")
    texts = {name: row.get(name) for name in ("goal", "behavior", "category")}
    for name, value in (*texts.items(), ("prompt", row.get("prompt") or "")):
        if not isinstance(value, str) or (name in ("goal", "behavior") and not value.strip()):
            raise MidspanError(f"{place}.{name} must be a text; {_REMEDY}")
    if not isinstance(row.get("jailbroken"), bool):
        raise MidspanError(f"{place}.jailbroken must be true or false; {_REMEDY}")
    numbers = {name: _number(row.get(name), f"{place}.{name}") for name in _NUMBERS}
    response, own = row.get("response"), row.get(OWN)
    return Jailbreak(
        # Some of theirs have it as a text.
        index=_number(row.get("index"), f"{place}.index") or 0,
        goal=str(texts["goal"]).strip(),
        behavior=str(texts["behavior"]).strip(),
        category=str(texts["category"]),
        prompt=row.get("prompt"),
        response=response if isinstance(response, str) else None,
        number_of_queries=numbers["number_of_queries"],
        queries_to_jailbreak=numbers["queries_to_jailbreak"],
        prompt_tokens=numbers["prompt_tokens"],
        response_tokens=numbers["response_tokens"],
        jailbroken=row["jailbroken"],
        own=own if isinstance(own, dict) else {},
    )


def _number(value: Any, place: str) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value is not None and type(value) is not int:
        raise MidspanError(f"{place} must be a whole number or null; {_REMEDY}")
    return value
