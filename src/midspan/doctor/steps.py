"""Decoding: a few steps without a cache and with one."""

import time
from typing import Any

from midspan.decoding import Generation, Request, decode, decoding_config
from midspan.doctor.finding import Status, Subject, fault, note, ok
from midspan.doctor.numbers import CANVAS, PROMPTS

STEPS = 4


def decoding(subject: Subject) -> tuple[Status, str, str]:
    """Decoding ends with tokens that exist, and an exact cache gives the same ones."""
    seconds, plain = _decoded(subject, cache="none")
    lm = subject.lm
    known = set(lm.tokenizer.get_vocab().values())
    strangers = [token for token in plain.tokens if token not in known or token == lm.tokens.mask]
    if strangers:
        return fault(
            f"token {strangers[0]} was committed, which is the mask or has no text",
            "Rows without a token must not be likely: take the weights again.",
        )
    detail = f"{1000 * seconds / max(1, plain.forwards):.0f} ms a step"
    config = decoding_config(lm)
    if "cache" not in type(config).model_fields:
        return ok(f"{detail}; the {config.sampler} sampler has no cache")
    # Renewed at every step, the prefix cache is exact; that of block diffusion always is.
    renewed = {"refresh_every": 1} if "refresh_every" in type(config).model_fields else {}
    _, cached = _decoded(subject, cache="prefix", **renewed)
    same = sum(a == b for a, b in zip(plain.tokens, cached.tokens, strict=False))
    agreed = f"{detail}; with an exact cache {same} of {len(plain.tokens)} tokens agree"
    if same == len(plain.tokens) == len(cached.tokens):
        return ok(agreed)
    if subject.is_exact:
        return fault(agreed, "Decode with cache none, and report it with the versions above.")
    return note(agreed, "In this number format a cache changes the order of sums: use one mode.")


def _decoded(subject: Subject, **cache: Any) -> tuple[float, Generation]:
    lm = subject.lm
    fields: dict[str, Any] = {
        "length": CANVAS,
        "steps": STEPS,
        "temperature": 0.0,
        "early_stop": False,
    }
    if "cache" in type(decoding_config(lm)).model_fields:
        fields |= cache
    config = decoding_config(lm, **_fitted(subject, fields))
    request = Request(tuple(lm.encode_chat(PROMPTS[0])))
    start = time.perf_counter()
    (generation,) = decode(lm, [request], config)
    return time.perf_counter() - start, generation


def _fitted(subject: Subject, fields: dict[str, Any]) -> dict[str, Any]:
    """A step a block at least: short blocks need more of them."""
    block = subject.lm.block_length
    return fields if block is None else {**fields, "steps": max(STEPS, -(-CANVAS // block))}
