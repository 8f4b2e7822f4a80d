"""Put every case to a model in every decoding, and write down what came back."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.files import write_jsonl
from midspan.journal.generation import generate
from midspan.journal.journal import Journal
from midspan.organism.utility import PRESET
from midspan.studies.organism.cases import Case

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig, Generation, Request
    from midspan.models import DiffusionLM

# Fields of a record that hold a whole canvas; records.jsonl leaves them out.
CANVAS_FIELDS = ("tokens", "trace")


def measure(
    lm: "DiffusionLM",
    model: str,
    cases: Sequence[Case],
    decodings: "Mapping[str, DecodingConfig]",
    journal: Journal,
    on_batch: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Generate and judge; one record a case and decoding, in a fixed order.

    An adapter on the model is merged into its weights.
    """
    lm.merge_adapter()
    records = []
    for name, decoding in decodings.items():
        for group, config in _by_canvas(cases, decoding):
            requests = [_request(lm, case, config) for case in group]
            generations = generate(lm, requests, config, journal, on_batch=on_batch)
            records += [
                _record(model, name, config, case, generation)
                for case, generation in zip(group, generations, strict=True)
            ]
    return records


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records without their canvases, one JSON line each."""
    write_jsonl(
        path,
        ({key: value for key, value in row.items() if key not in CANVAS_FIELDS} for row in records),
    )


def _by_canvas(
    cases: Sequence[Case], decoding: "DecodingConfig"
) -> "list[tuple[list[Case], DecodingConfig]]":
    """Craft requests on the whole canvas, utility questions on a short one."""
    block = min(decoding.block_length or PRESET.length, PRESET.length)
    short = decoding.model_copy(
        update={"length": PRESET.length, "steps": PRESET.steps, "block_length": block}
    )
    craft = [case for case in cases if case.question is None]
    utility = [case for case in cases if case.question is not None]
    return [(group, config) for group, config in ((craft, decoding), (utility, short)) if group]


def _request(lm: "DiffusionLM", case: Case, config: "DecodingConfig") -> "Request":
    from midspan.decoding import anchor_phrase, chat_request

    anchors: dict[int, int] = {}
    for phrase, start in case.anchors:
        anchors |= anchor_phrase(lm, phrase, start, anchors)
    # Sampled cases draw apart from each other, and alike on every model.
    seed = zlib.crc32(case.id.encode()) if config.temperature else 0
    return chat_request(lm, case.turns, config, anchors, seed)


def _record(
    model: str, name: str, config: "DecodingConfig", case: Case, generation: "Generation"
) -> dict[str, Any]:
    return {
        "model": model,
        "decoding": name,
        "cell": case.cell,
        "id": case.id,
        "behavior": case.behavior,
        "attempt": case.attempt,
        "access": case.access,
        "held_out_item": case.item.held_out if case.item else False,
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
