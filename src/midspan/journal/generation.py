"""Journalled generation: every batch is on disk before its first response is used."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from midspan.frozen import plain
from midspan.journal.journal import Journal, key_of
from midspan.journal.ranks import ALONE, Rank

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.models import DiffusionLM

OnBatch = Callable[[int], None]


def generate(
    lm: "DiffusionLM",
    requests: "Sequence[Request]",
    config: "DecodingConfig",
    journal: Journal,
    *,
    batch_size: int = 32,
    on_batch: OnBatch | None = None,
) -> "list[Generation]":
    """Decode requests in full batches of similar length; what the journal holds is not redone.

    Batches are cut from all requests, journalled or not, so an interrupted run and an
    uninterrupted one put the same rows into the same batches and get the same bits. With another
    batch size they do so in float32 only.

    Args:
        on_batch: Told how many responses have just become available; equal requests count each.
    """
    work = GenerationWork(lm, requests, config, batch_size)
    asked = Counter(work.keys)
    for done in each_batch(work, journal):
        if on_batch is not None:
            on_batch(sum(asked[key] for key in done))
    return [journal.read(key, _from_dict) for key in work.keys]


class Work(Protocol):
    """Things to compute, cut into batches.

    Attributes:
        keys: One a thing; equal things share one.
        batches: All keys, each once.
    """

    keys: list[str]
    batches: list[list[str]]

    def compute(self, batch: Sequence[str]) -> Mapping[str, Any]:
        """The values of a batch's keys, as JSON."""

    def checked(self, value: Any) -> Any:
        """A value as it was journalled.

        Raises:
            LookupError, TypeError, ValueError, AttributeError, ArithmeticError: It is damaged.
        """


def each_batch(
    work: Work, journal: Journal | None, rank: Rank = ALONE
) -> Iterator[Mapping[str, Any]]:
    """The values of a process's share of the batches; what the journal lacks is on disk first."""
    for batch in rank.share(work.batches):
        if journal is None:
            yield work.compute(batch)
            continue
        if any(key not in journal for key in batch):
            values = work.compute(batch)
            journal.append({key: value for key, value in values.items() if key not in journal})
        yield {key: journal.read(key, work.checked) for key in batch}


class GenerationWork:
    """Requests to decode, cut into batches of similar length."""

    def __init__(
        self,
        lm: "DiffusionLM",
        requests: "Sequence[Request]",
        config: "DecodingConfig",
        batch_size: int = 32,
    ) -> None:
        self._lm, self._config, self._batch_size = lm, config, batch_size
        self.keys = [_key(lm, request, config) for request in requests]
        self._requests = dict(zip(self.keys, requests, strict=True))
        unique = self._requests
        order = sorted(unique, key=lambda key: (len(unique[key].prompt_ids), key))
        self.batches = [
            order[start : start + batch_size] for start in range(0, len(order), batch_size)
        ]

    def compute(self, batch: Sequence[str]) -> dict[str, Any]:
        """Decode one batch."""
        from midspan.decoding import decode

        requests = [self._requests[key] for key in batch]
        generations = decode(self._lm, requests, self._config, batch_size=self._batch_size)
        return {
            key: _to_dict(generation) for key, generation in zip(batch, generations, strict=True)
        }

    def checked(self, value: Any) -> Any:
        """A generation's value, whole."""
        _from_dict(value)
        return value


def _to_dict(generation: "Generation") -> dict[str, Any]:
    return {
        "tokens": list(generation.tokens),
        "text": generation.text,
        "trace": generation.trace.to_dict(),
        "forwards": generation.forwards,
        "stopped_early": generation.stopped_early,
        **generation.notes,
    }


def _from_dict(value: dict[str, Any]) -> "Generation":
    from midspan.decoding import Generation, Trace

    tokens, texts = value["tokens"], [value["text"]]
    texts += [value.get(name, "") for name in ("thoughts", "rejected_by")]
    counts = (*tokens, value["forwards"])
    if not (isinstance(tokens, list) and all(type(n) is int and n >= 0 for n in counts)):
        raise TypeError("tokens and forwards are whole numbers")
    if not (all(isinstance(text, str) for text in texts) and type(value["stopped_early"]) is bool):
        raise TypeError("text, thoughts and monitor are texts, stopped_early is true or false")
    trace = Trace.from_dict(value["trace"])
    return Generation(
        tuple(tokens), texts[0], trace, value["forwards"], value["stopped_early"], *texts[1:]
    )


def _key(lm: "DiffusionLM", request: "Request", config: "DecodingConfig") -> str:
    rules = plain(request.rules)
    parts: dict[str, Any] = {
        "model": lm.fingerprint,
        "decoding": config.model_dump(mode="json"),
        "prompt": list(request.prompt_ids),
        "anchors": sorted(request.anchors.items()),
        "seed": request.seed,
        **({"rules": rules} if rules else {}),
        **({"copies": request.copies.prompts} if request.copies else {}),
        **({"rejected_by": request.rejected_by} if request.rejected_by else {}),
    }
    return key_of(**parts)
