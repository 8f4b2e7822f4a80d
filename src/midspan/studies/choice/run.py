"""Choose settings in a run folder, and get those of a model for a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.files import write_jsonl
from midspan.organism.worlds import FIRST, world_in
from midspan.probes.choice import Tried, choose
from midspan.runs.folder import RunFolder
from midspan.runs.kinds import write_page
from midspan.runs.progress import Reporter
from midspan.statistics import wilson
from midspan.studies.choice.asked import read_asked
from midspan.studies.choice.config import ChoiceSpec
from midspan.studies.choice.stored import SETTINGS_FILE, Settings, read_settings, settings_home

if TYPE_CHECKING:
    from midspan.decoding import DecodingConfig
    from midspan.models import DiffusionLM


def run_choice(
    spec: ChoiceSpec, folder: str | Path, command: str = "", lm: "DiffusionLM | None" = None
) -> Settings:
    """Choose, or go on with a choice; writes decoding.yaml, records and a page.

    Args:
        spec: Model, requests and search.
        folder: The run folder.
        command: What started it; by default the program's own command line.
        lm: The model where it is loaded.

    Raises:
        MidspanError: The model cannot be decoded faster, or the folder holds another run.
    """
    if lm is None:
        from midspan.models import load

        lm = load(spec.model)
    lm.merge_adapter()
    reference = reference_of(lm, spec.decoding)
    asked = read_asked(spec, lm)
    identity = spec.model_dump(mode="json") | {
        "models": [spec.model], "fingerprint": lm.fingerprint, "judged_by": asked.judged_by,
        "reference": reference.model_dump(mode="json"),
    }  # fmt: skip
    run = RunFolder(folder, identity, command, "choice")
    reporter = Reporter()
    total = len(asked.requests)
    with run.journal, reporter.stage(f"choosing for {spec.model}", total) as stage:
        tried = choose(lm, reference, asked, spec.choice, run.journal, stage.advance)
    settings = _settings(lm, reference, tried, asked.judged_by, spec.choice.confidence)
    settings.write(run.path / SETTINGS_FILE)
    write_jsonl(run.path / "records.jsonl", [one.record(spec.model) for one in tried])
    reporter.say(f"report: {write_page(run.path)}")
    return settings


def reference_of(lm: "DiffusionLM", fields: Mapping[str, Any]) -> "DecodingConfig":
    """The decoding that verdicts are compared with.

    Raises:
        MidspanError: The fields accelerate already.
    """
    from midspan.decoding import decoding_config

    reference = decoding_config(lm, **fields)
    if not reference.exact:
        raise MidspanError(f"decoding: accelerates already ({reference.approximations[0]})")
    return reference


def _settings(
    lm: "DiffusionLM",
    reference: "DecodingConfig",
    tried: Sequence[Tried],
    judged_by: str,
    confidence: float,
) -> Settings:
    last = tried[-1]
    chosen: dict[str, Any] = {
        "model": lm.fingerprint,
        "reference": reference.model_dump(mode="json"),
        "judged_by": judged_by,
    }
    if last.outcome != "chosen":
        return Settings({}, chosen | {"found": False})
    record = last.record("")
    return Settings(
        dict(last.fields),
        chosen
        | {
            "found": True,
            "agreement": str(wilson(last.same, last.n, confidence)),
            "same": last.same,
            "n": last.n,
            "times_fewer_forwards": round(record["reference_forwards"] / record["forwards"], 2),
            "times_faster": round(record["reference_seconds"] / record["seconds"], 2),
        },
    )


def fast_settings(
    models: Sequence[str], decoding: Mapping[str, Any], behaviors: str | None = None
) -> Settings:
    """Settings under which all the models give their reference's verdicts.

    The first model's are chosen, or taken where they are kept; the other models confirm them, or
    the reference decoding stays for all.

    Args:
        models: Specs of local models.
        decoding: Fields of the reference decoding.
        behaviors: What to choose on, for other models than the organism.

    Raises:
        MidspanError: A model is served, or has neither kept settings nor requests.
    """
    names = list(dict.fromkeys(model.partition(" with ")[0] for model in models))
    first = _of_model(names[0], decoding, behaviors, ())
    for spec in names[1:] if first.decoding else ():
        confirmed = _of_model(spec, decoding, behaviors, (first.decoding,))
        if not confirmed.decoding:
            return Settings({}, first.chosen | {"found": False, "not_confirmed_by": spec})
    return first


def _of_model(
    model: str,
    decoding: Mapping[str, Any],
    behaviors: str | None,
    candidates: tuple[dict[str, Any], ...],
) -> Settings:
    from midspan.models import load
    from midspan.served import is_served

    if is_served(model):
        raise MidspanError(
            f"--decoding fast: {model} is served, and its server decodes; leave it out"
        )
    lm = load(model)
    lm.merge_adapter()
    home = settings_home(lm, reference_of(lm, decoding), candidates=list(candidates))
    if (home / SETTINGS_FILE).is_file():
        return read_settings(home / SETTINGS_FILE)
    if behaviors is None and world_in(model) != FIRST:
        raise MidspanError(
            f"--decoding fast: no settings are kept for {model}; choose them on requests of their "
            f"own: midspan probe fidelity {model} --choose --behaviors FILE"
        )
    spec = ChoiceSpec(model=model, behaviors=behaviors, decoding=dict(decoding))
    spec = spec.model_copy(
        update={"choice": spec.choice.model_copy(update={"candidates": candidates})}
    )
    return run_choice(spec, home, lm=lm)


def keep(lm: "DiffusionLM", reference: "DecodingConfig", settings: Settings) -> Path:
    """Keep settings for studies of this model that ask for ``--decoding fast``."""
    path = settings_home(lm, reference, candidates=[]) / SETTINGS_FILE
    settings.write(path)
    return path
