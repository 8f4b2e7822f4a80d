"""The fastest decoding of a model whose verdicts are those of its reference decoding.

A successive search. All candidates answer one chunk of held-in requests. From the fastest to the
slowest, each then goes on to the next chunks and is dropped at the first verdict too many. The
first one that comes to the end is chosen, and is then measured once on held-out requests.
Knows neither prompts nor judges: the caller brings requests and what a response is judged to be.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig
from midspan.journal.journal import Journal, key_of
from midspan.statistics import wilson

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Request
    from midspan.models import DiffusionLM

REFERENCE = "reference"
Outcome = Literal["reference", "chosen", "disagrees", "disagrees on held-out requests", "slower"]


class ChoiceConfig(FrozenConfig):
    """How the settings are chosen.

    Attributes:
        n: Held-in requests, which choose.
        held_out: Other requests, which judge what was chosen.
        agreement: Share of the verdicts that must be the reference's.
        floor: What the interval of that share must not reach below.
        confidence: Of the interval, Wilson's.
        chunk: Requests that are decoded before a candidate is looked at again.
        batch_size: Rows that go through the model together.
        candidates: Fields that each changes of the reference; none for midspan's own list.
    """

    group = "choose"

    n: int = Field(300, ge=1)
    held_out: int = Field(300, ge=1)
    agreement: float = Field(0.99, gt=0, le=1)
    floor: float = Field(0.98, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0, lt=1)
    chunk: int = Field(32, ge=1)
    batch_size: int = Field(8, ge=1)
    candidates: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        for name in ("n", "held_out"):
            if self.allowed(getattr(self, name)) < 0:
                fewest = next(n for n in range(1, 10**6) if self.allowed(n) >= 0)
                raise ValueError(
                    f"{name}={getattr(self, name)} is too few for floor={self.floor}: even without "
                    f"a difference the interval reaches below it; give at least {fewest}"
                )
        return self

    def allowed(self, n: int) -> int:
        """Verdicts of n that may differ; -1 where none may and the interval is too wide."""
        differ = 0
        while differ <= n and self._reaches(n - differ, n):
            differ += 1
        return differ - 1

    def _reaches(self, same: int, n: int) -> bool:
        low = wilson(same, n, self.confidence).low
        return same >= self.agreement * n and low >= self.floor


@dataclass(frozen=True)
class Asked:
    """What is asked to choose, and how responses are judged.

    Attributes:
        requests: The held-in ones, then the held-out ones.
        held_in: How many are held in.
        judge: The verdict on the response of a request's index.
        judged_by: Its name in the tables.
    """

    requests: "Sequence[Request]"
    held_in: int
    judge: Callable[[int, str], Any]
    judged_by: str


@dataclass(frozen=True)
class Decoded:
    """Some requests, decoded one way."""

    texts: tuple[str, ...] = ()
    forwards: tuple[int, ...] = ()
    seconds: float = 0.0

    def __add__(self, other: "Decoded") -> "Decoded":
        return Decoded(
            self.texts + other.texts, self.forwards + other.forwards, self.seconds + other.seconds
        )


@dataclass
class Tried:
    """A candidate and what is known of it.

    Attributes:
        name: In tables.
        fields: What it changes of the reference.
        config: With these changes.
        part: "held in" or "held out".
        n: Requests that it answered.
        same: Verdicts that are the reference's.
        decoded: Its responses.
        reference: The reference's, to the same requests.
        outcome: What became of it.
    """

    name: str
    fields: Mapping[str, Any]
    config: "DecodingConfig"
    part: str = "held in"
    n: int = 0
    same: int = 0
    decoded: Decoded = field(default_factory=Decoded)
    reference: Decoded = field(default_factory=Decoded)
    outcome: Outcome = "slower"

    def record(self, model: str) -> dict[str, Any]:
        """A line of the run's records."""
        return {
            "model": model,
            "decoding": self.name,
            "part": self.part,
            "fields": dict(self.fields),
            "settings": self.config.model_dump(mode="json"),
            "n": self.n,
            "same": self.same,
            "forwards": sum(self.decoded.forwards) / self.n,
            "reference_forwards": sum(self.reference.forwards) / self.n,
            "seconds": self.decoded.seconds / self.n,
            "reference_seconds": self.reference.seconds / self.n,
            "outcome": self.outcome,
        }


def choose(
    lm: "DiffusionLM",
    reference: "DecodingConfig",
    asked: Asked,
    config: ChoiceConfig,
    journal: Journal,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Tried]:
    """Every candidate with what it was tried on; the last one is on held-out requests.

    Times are journalled with the responses, so that a resumed search repeats its choice.

    Args:
        lm: The model, its adapter merged.
        reference: How it is decoded without acceleration.
        asked: Requests and judge.
        config: Of the search.
        journal: Of the run.
        advance: Told how many requests the reference has answered, which takes nearly all the time.

    Raises:
        MidspanError: A candidate cannot decode the model, or there is none.
    """
    search = _Search(lm, reference, asked, config, journal, advance)
    tried = candidates(lm, reference, config.candidates)
    for one in tried:
        search.go_on(one, min(config.chunk, asked.held_in), asked.held_in)
    for one in sorted(tried, key=lambda one: one.decoded.seconds):
        while one.outcome != "disagrees" and one.n < asked.held_in:
            search.go_on(one, one.n + config.chunk, asked.held_in)
        if one.outcome != "disagrees":
            one.outcome = "chosen"
            return [*tried, search.confirm(one)]
    return tried


class _Search:
    """Chunks of requests under one decoding or another, journalled."""

    def __init__(
        self,
        lm: "DiffusionLM",
        reference: "DecodingConfig",
        asked: Asked,
        config: ChoiceConfig,
        journal: Journal,
        advance: Callable[[int], None],
    ) -> None:
        self._lm, self._reference, self._asked = lm, reference, asked
        self._config, self._journal, self._advance = config, journal, advance
        self._warm: set[DecodingConfig] = set()
        # Requests that the reference has answered, which they do in order.
        self._referred = 0

    def go_on(self, one: Tried, end: int, most: int) -> None:
        """Let a candidate answer up to request `end`, and say whether it may still reach `most`."""
        allowed = self._config.allowed(most)
        self._answer(one, one.n, min(end, most))
        if one.n - one.same > allowed:
            one.outcome = "disagrees"

    def confirm(self, chosen: Tried) -> Tried:
        """The chosen settings on the held-out requests."""
        first, total = self._asked.held_in, len(self._asked.requests)
        last = Tried(chosen.name, chosen.fields, chosen.config, "held out", outcome="chosen")
        for start in range(first, total, self._config.chunk):
            self._answer(last, start, min(start + self._config.chunk, total))
        if last.n - last.same > self._config.allowed(last.n):
            last.outcome = chosen.outcome = "disagrees on held-out requests"
        return last

    def _answer(self, one: Tried, start: int, end: int) -> None:
        """Add requests `start` to `end` to what is known of a candidate."""
        expected = self._decoded(self._reference, start, end)
        if end > self._referred:
            self._advance(end - self._referred)
            self._referred = end
        found = self._decoded(one.config, start, end)
        for index, (ours, theirs) in enumerate(zip(found.texts, expected.texts, strict=True)):
            judge, place = self._asked.judge, start + index
            one.same += judge(place, ours) == judge(place, theirs)
        one.n += end - start
        one.decoded, one.reference = one.decoded + found, one.reference + expected

    def _decoded(self, config: "DecodingConfig", start: int, end: int) -> Decoded:
        requests = self._asked.requests[start:end]
        key = key_of(
            choice=self._lm.fingerprint,
            decoding=config.model_dump(mode="json"),
            batch_size=self._config.batch_size,
            prompts=[list(request.prompt_ids) for request in requests],
            seeds=[request.seed for request in requests],
        )
        if key not in self._journal:
            self._journal.append({key: self._compute(config, requests)})
        return self._journal.read(key, _decoded_of)

    def _compute(self, config: "DecodingConfig", requests: "Sequence[Request]") -> dict[str, Any]:
        from midspan.decoding import decode

        # What other work on the machine takes is not the model's; a GPU's work is not the CPU's.
        clock = time.process_time if self._lm.device.type == "cpu" else time.perf_counter
        if config not in self._warm:
            decode(self._lm, requests[:1], config)
            self._warm.add(config)
        began = clock()
        answers = decode(self._lm, requests, config, batch_size=self._config.batch_size)
        return {
            "seconds": clock() - began,
            "texts": [one.text for one in answers],
            "forwards": [one.forwards for one in answers],
        }


def _decoded_of(value: Mapping[str, Any]) -> Decoded:
    texts, forwards, seconds = value["texts"], value["forwards"], float(value["seconds"])
    if len(texts) != len(forwards) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts and forwards must be as many")
    return Decoded(tuple(texts), tuple(map(int, forwards)), seconds)


def candidates(
    lm: "DiffusionLM", reference: "DecodingConfig", own: Sequence[Mapping[str, Any]] = ()
) -> list[Tried]:
    """What is tried: the caller's changes of the reference, or midspan's own list.

    Raises:
        MidspanError: A change of the caller's is wrong, or the sampler has no accelerated mode.
    """
    from midspan.decoding import decoding_config

    given = reference.model_dump()
    changes = list(own) or _own_changes(lm, reference)
    if not changes:
        raise MidspanError(
            f"decoding.sampler: {reference.sampler!r} has no accelerated mode; put sampler: llada "
            "into --config to choose one"
        )
    return [Tried(_named(some), some, decoding_config(**given | dict(some))) for some in changes]


def _own_changes(lm: "DiffusionLM", reference: "DecodingConfig") -> list[dict[str, Any]]:
    """Midspan's own list for a sampler and a family."""
    if lm.family.noise == "uniform":
        return []
    if reference.sampler == "block":
        return [{"threshold": p} for p in (0.7, 0.8, 0.9, 0.95, 0.98)] + _fewer_steps(reference)
    if reference.sampler != "llada":
        return _fewer_steps(reference)
    rules: list[dict[str, Any]] = [{"threshold": p} for p in (0.8, 0.9, 0.95, 0.98)]
    rules += [{"factor": 0.5}, {"factor": 1.0}]
    rules += [{"doubt": d, "revise": 0.98} for d in (0.1, 0.2, 0.3)]
    caches: list[dict[str, Any]] = [{}]
    if lm.family.caches and lm.family.attention == "full":
        caches += [{"cache": "prefix"}, {"cache": "dual"}]
        caches += [{"cache": "dual", "trim": True, "refresh_blocks": n} for n in (2, 4)]
    changes = [{**cache, **rule} for cache in caches for rule in rules]
    return changes + [*({**cache} for cache in caches if cache), *_fewer_steps(reference)]


def _fewer_steps(reference: "DecodingConfig") -> list[dict[str, Any]]:
    """A half and a quarter of the steps, where the schedule can be cut so."""
    steps = [reference.steps // 2, reference.steps // 4]
    return [
        {"steps": n} for n in steps if n and (reference.rounds or n % reference.num_blocks == 0)
    ]


def _named(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
