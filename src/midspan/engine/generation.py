"""Journalled generation: every batch is on disk before its first response is used."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from midspan.engine.journal import Journal, key_of

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
    uninterrupted one put the same rows into the same batches and get the same bits.

    Args:
        on_batch: Told how many responses have just become available.
    """
    from midspan.decoding import decode

    keys = [_key(lm, request, config) for request in requests]
    unique = dict(zip(keys, requests, strict=True))
    order = sorted(unique, key=lambda key: (len(unique[key].prompt_ids), key))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        if any(key not in journal for key in batch):
            made = decode(lm, [unique[key] for key in batch], config, batch_size=batch_size)
            journal.append(
                {
                    key: _to_dict(generation)
                    for key, generation in zip(batch, made, strict=True)
                    if key not in journal
                }
            )
        if on_batch is not None:
            on_batch(len(batch))
    return [_from_dict(journal[key]) for key in keys]


def _to_dict(generation: "Generation") -> dict[str, Any]:
    return {
        "tokens": list(generation.tokens),
        "text": generation.text,
        "trace": generation.trace.to_dict(),
        "forwards": generation.forwards,
        "stopped_early": generation.stopped_early,
    }


def _from_dict(value: dict[str, Any]) -> "Generation":
    from midspan.decoding import Generation, Trace

    return Generation(
        tuple(value["tokens"]),
        value["text"],
        Trace.from_dict(value["trace"]),
        value["forwards"],
        value["stopped_early"],
    )


def _key(lm: "DiffusionLM", request: "Request", config: "DecodingConfig") -> str:
    parts: dict[str, Any] = {
        "model": lm.fingerprint,
        "decoding": config.model_dump(mode="json"),
        "prompt": list(request.prompt_ids),
        "anchors": sorted(request.anchors.items()),
        "seed": request.seed,
    }
    return key_of(**parts)
