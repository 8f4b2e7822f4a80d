"""Put every case to a model in every decoding, and write down what came back."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.files import write_jsonl
from midspan.journal.generation import generate
from midspan.journal.journal import Journal
from midspan.organism.utility import PRESET
from midspan.studies.organism.cases import Case
from midspan.studies.organism.second.cases import Case as WorkCase

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.models import DiffusionLM

# Fields of a record that hold a whole canvas; records.jsonl leaves them out.
CANVAS_FIELDS = ("tokens", "trace")


# A case of the first world or of the second.
AnyCase = Case | WorkCase


def measure(
    lm: "DiffusionLM",
    model: str,
    groups: "Iterable[tuple[str, DecodingConfig, Sequence[AnyCase]]]",
    journal: Journal,
    on_batch: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Generate and judge; one record a case and decoding, in a fixed order.

    An adapter on the model is merged into its weights.

    Args:
        lm: The model.
        model: As the records name it.
        groups: Names of decodings, each with a canvas's decoding and what is asked on that canvas.
        journal: Of the run.
        on_batch: Told how many responses have just become available.
    """
    lm.merge_adapter()
    records = []
    for name, config, cases in groups:
        requests = [request_of(lm, case, config) for case in cases]
        generations = generate(lm, requests, config, journal, on_batch=on_batch)
        records += [
            _record(model, name, config, case, generation)
            for case, generation in zip(cases, generations, strict=True)
        ]
    return records


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records without their canvases, one JSON line each."""
    write_jsonl(
        path,
        ({key: value for key, value in row.items() if key not in CANVAS_FIELDS} for row in records),
    )


def by_canvas(
    cases: Sequence[Case], decodings: "Mapping[str, DecodingConfig]"
) -> "Iterator[tuple[str, DecodingConfig, Sequence[Case]]]":
    """The first world's cases: craft requests on the whole canvas, questions on a short one."""
    craft = [case for case in cases if case.question is None]
    utility = [case for case in cases if case.question is not None]
    for name, decoding in decodings.items():
        block = min(decoding.block_length or PRESET.length, PRESET.length)
        short = decoding.model_copy(
            update={"length": PRESET.length, "steps": PRESET.steps, "block_length": block}
        )
        if craft:
            yield name, decoding, craft
        if utility:
            yield name, short, utility


def request_of(lm: "DiffusionLM", case: AnyCase, config: "DecodingConfig") -> "Request":
    """What a model is asked in a case, with what stands on the canvas."""
    from midspan.decoding import anchor_phrase, chat_request

    anchors: dict[int, int] = {}
    for phrase, start in case.anchors:
        anchors |= anchor_phrase(lm, phrase, start, anchors)
    # Sampled cases draw apart from each other, and alike on every model.
    seed = zlib.crc32(case.id.encode()) if config.temperature else 0
    return chat_request(lm, case.messages, config, anchors, seed)


def _record(
    model: str, name: str, config: "DecodingConfig", case: AnyCase, generation: "Generation"
) -> dict[str, Any]:
    return {
        "model": model,
        "decoding": name,
        "cell": case.cell,
        "id": case.id,
        "behavior": case.behavior or case.id,
        "attempt": case.attempt,
        "access": case.access,
        "held_out_item": case.held_out_item,
        "prompt": case.prompt,
        "anchors": case.anchors,
        "response": generation.text,
        "verdict": case.verdict(generation.text),
        "forwards": generation.forwards,
        "stopped_early": generation.stopped_early,
        "settings": config.model_dump(mode="json"),
        "exact": config.exact,
        "tokens": list(generation.tokens),
        "trace": generation.trace.to_dict(),
    }
