"""The checks, in their order, and what becomes of one that ends in an error."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from midspan.doctor import numbers, place, steps, text
from midspan.doctor.finding import Check, Finding, Subject
from midspan.doctor.served import examine_served
from midspan.errors import MidspanError
from midspan.models import DiffusionLM, load
from midspan.models.checkpoint import resolve_folder
from midspan.models.sources import parse_spec
from midspan.served import is_served

CHECKS = (
    Check("device", place.device),
    Check("attention", place.attention),
    Check("plain text", text.plain_text),
    Check("rows and tokens", text.rows),
    Check("mask and stop tokens", text.mask_and_stops),
    Check("chat template", text.chat_template),
    Check("encode_chat", text.encode_chat_time),
    Check("placed phrases", text.phrases),
    Check("adapter's base", place.adapter_base),
    Check("logits", numbers.finite_logits, of_masks=True),
    Check("batch against alone", numbers.batch_against_rows, of_masks=True),
    Check("adapter", numbers.adapter, of_masks=True),
    Check("scoring", numbers.scoring, of_masks=True),
    Check("decoding", steps.decoding, of_masks=True),
)


def examine(spec: str | Path, **options: Any) -> Iterator[Finding]:
    """Load a model and check it; findings come as they are made.

    Examples:
        >>> faults = [finding for finding in examine("organism") if finding.status == "fault"]

    Args:
        spec: See `midspan.load`, or a served model's (`midspan.served.read_served`).
        **options: Of `midspan.load`; of `EndpointConfig` for a served model.
    """
    if is_served(str(spec)):
        yield from examine_served(str(spec), **options)
        return
    start = time.perf_counter()
    try:
        source = parse_spec(spec, options.get("adapter"))
        lm = load(spec, **options)
    except MidspanError as error:
        yield Finding("loading", "fault", str(error))
        return
    yield Finding("loading", "ok", _what(lm, time.perf_counter() - start))
    adapter = None if source.adapter is None else resolve_folder(source.adapter)
    alias = lm.name.partition("+")[0].partition(":")[0]
    names = (str(source.base), alias)
    subject = Subject(lm, names, resolve_folder(source.base), adapter)
    for check in CHECKS:
        yield _checked(check, subject)


def _checked(check: Check, subject: Subject) -> Finding:
    family = subject.lm.family
    if check.of_masks and family.noise == "uniform":
        return Finding(check.name, "note", f"not of family {family.name}: its sampler is its own")
    try:
        return Finding(check.name, *check.look(subject))
    # Torch's own errors, memory's among them, are RuntimeErrors: one check less, not no findings.
    except (MidspanError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return Finding(check.name, "fault", reason, "The check itself could not be made.")


def _what(lm: DiffusionLM, seconds: float) -> str:
    weights = sum(weight.numel() for weight in lm.base.parameters())
    size = f"{weights / 1e9:.2f}B" if weights >= 1e8 else f"{weights / 1e6:.1f}M"
    dtype = str(lm.base.dtype).removeprefix("torch.")
    return f"{lm.family.name}, {size} weights, {dtype}, {seconds:.1f} s"
