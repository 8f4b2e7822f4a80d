"""`midspan.probe`: one property of one model or several, measured with its controls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from midspan.api.results import RunResult
from midspan.api.runs import Model, call_text, named, run_folder, split_fields, warn_of


@dataclass(frozen=True, repr=False)
class ProbeRun(RunResult[dict[str, Any]]):
    """A finished probe; the type of its records is in `midspan.records.PROBE_RECORDS`.

    Attributes:
        name: The probe's name.
    """

    name: str = field(default="")

    def summary(self) -> str:
        """The result in a few words."""
        return f"{self.name} on {super().summary()}"


def probe(
    name: str,
    models: "Model | Sequence[Model]",
    *,
    out: str | Path | None = None,
    progress: bool | None = None,
    **fields: Any,
) -> ProbeRun:
    """Measure one property of models, every rate with its n and interval.

    Examples:
        >>> lm = midspan.load("organism")
        >>> result = midspan.probe("order", [lm, "organism:mosa"], n=5)
        >>> result.records[0]["tau"]  # 1 is from left to right
        -0.197674

    Args:
        name: "prefill", "window", "gcg", "instruction-placement", "order", "activations",
            "samples" or "monitors".
        models: Loaded models, adapters of `midspan.align`, or specs, in the order of the tables.
        out: Run folder; a temporary one by default. The same call continues a run.
        progress: False for silence; by default bars on a terminal or in a notebook.
        **fields: `n` (requests of each kind), `request_kinds` (of the organism's own), `harmful`,
            `benign`, `mixed` and `phrases` (files or sets for other models), `decoding` (a mapping
            with fields of `DecodingConfig`), `batch_size`, `seed`, `judge` (of what harmful
            requests came to on other models: a name, or one as an object) and `servers` (settings
            of servers, by spec); and fields of the probe's own config, such as `positions` or
            `stride`.

    Returns:
        The records, tables, figures and page of the run.

    Raises:
        MidspanError: A field, file or model is wrong, or the folder belongs to another run; one
            line that names it.
    """
    from midspan.runs.progress import library_output
    from midspan.studies.given import Given
    from midspan.studies.probes.config import ProbeSpec
    from midspan.studies.probes.run import run_probe
    from midspan.studies.redteam.ask import with_harm_judge

    started = time.monotonic()
    specs, loaded = named(models)
    command = call_text("probe", name, models, out=out, **fields)
    judge, judges = fields.get("judge"), {}
    if judge is not None and not isinstance(judge, str):
        fields["judge"], judges = judge.fingerprint, {judge.fingerprint: judge}
    mine, own = split_fields(fields, ProbeSpec.model_fields.keys() - {"probe", "models", "fields"})
    spec = ProbeSpec.model_validate({"probe": name, "models": specs, "fields": own, **mine})
    folder = run_folder(out, "probe")
    given = with_harm_judge(spec.judge, spec.servers, folder, Given(loaded, judges), specs)
    with library_output(progress):
        warn_of(run_probe(spec, folder, command, given).problems)
    return ProbeRun(folder, specs, time.monotonic() - started, name)
