"""Settings chosen for a model: ``probe fidelity --choose``, and what ``--decoding`` takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from midspan.commands.ends import REPORT, Run, command_line
from midspan.commands.names import FAST, SETTINGS
from midspan.commands.options import quiet
from midspan.errors import MidspanError
from midspan.yaml_file import group_of

_OUTPUT = Path("runs/decoding")


Decoding = Annotated[
    str | None,
    typer.Option(
        help="fast, for settings that keep this model's verdicts (chosen first where none are "
        "kept), or a file of such settings or of decoding's fields.",
        **SETTINGS,
    ),
]


def choose_settings(
    model: str, fields: Mapping[str, Any], given: Mapping[str, Any], output: Path | None
) -> None:
    """Choose, keep the settings for ``--decoding fast``, and say what they are."""
    from midspan.probes.choice import ChoiceConfig
    from midspan.studies.choice.config import ChoiceSpec

    n, batch_size, search = given["n"], given["batch_size"], group_of(fields, "choose")
    if n is not None:
        search |= {"n": n, "held_out": n}
    if batch_size is not None:
        search["batch_size"] = batch_size
    choice = ChoiceConfig.model_validate(search)
    spec = ChoiceSpec(
        model=model,
        decoding={name: value for name, value in fields.items() if name != "choose"},
        choice=choice,
        **{name: given[name] for name in ("behaviors", "seed")},
        column=tuple(given["column"]) if given["column"] else None,
    )
    quiet()
    folder = output or _OUTPUT
    run = Run(f"Chooses the decoding of {model}", folder, "every stage says the time left")
    from midspan.models import load
    from midspan.studies.choice.run import keep, reference_of, run_choice
    from midspan.studies.choice.stored import SETTINGS_FILE

    lm = load(model)
    settings = run_choice(spec, folder, command_line(), lm)
    keep(lm, reference_of(lm, spec.decoding), settings)
    if not settings.decoding:
        typer.echo("No candidate keeps the verdicts; the reference decoding stays.")
    else:
        said = ", ".join(f"{name} {value}" for name, value in settings.decoding.items())
        chosen = settings.chosen
        typer.echo(
            f"Chosen: {said}. Same verdicts on other requests: {chosen['agreement']}; "
            f"{chosen['times_fewer_forwards']:g} times fewer forwards, "
            f"{chosen['times_faster']:g} times faster (one run)."
        )
    words = ("midspan", "audit", model, "--decoding", folder / SETTINGS_FILE)
    run.end(folder / REPORT, *(words if settings.decoding else ()))


def with_decoding(
    fields: Mapping[str, Any], decoding: str | None, models: Sequence[str]
) -> dict[str, Any]:
    """A configuration under the settings that ``--decoding`` names.

    Args:
        fields: The configuration, whose own decoding is the reference.
        decoding: What the option says; None changes nothing.
        models: Its local models.

    Raises:
        MidspanError: The file holds something else, or nothing can be chosen for a model.
    """
    if decoding is None:
        return dict(fields)
    from midspan.studies.choice.run import fast_settings
    from midspan.studies.choice.stored import read_settings

    reference = group_of(fields, "decoding")
    if decoding == FAST:
        typer.echo("Settings that keep the verdicts: taken where they are kept, or chosen now.")
        settings = fast_settings(models, reference)
    else:
        settings = read_settings(Path(decoding))
    if not settings.decoding and not settings.chosen:
        raise MidspanError(f"--decoding: {decoding} has no fields")
    chosen, theirs = dict(settings.chosen), settings.chosen.get("reference", {})
    # A file may come from a choice at another length or number of steps: its agreement is of that.
    shared = reference.keys() & theirs.keys()
    other = {name: theirs[name] for name in shared if theirs[name] != reference[name]}
    if chosen and other:
        chosen["chosen_at"] = other
    return {**fields, "decoding": reference | settings.decoding, "decoding_choice": chosen}


def decoded(config: Any, decoding: str, preset: str) -> Any:
    """A study's config with its attacks under the settings that ``--decoding`` names.

    Raises:
        MidspanError: The study asks for no attacks.
    """
    from midspan.studies.paper.config import PaperConfig
    from midspan.studies.redteam.config import RedteamConfig

    def changed(part: Any, models: Sequence[str]) -> Any:
        fields = {"decoding": dict(part.decoding)}
        return part.model_copy(update=with_decoding(fields, decoding, models))

    if isinstance(config, RedteamConfig):
        return changed(config, config.models)
    if isinstance(config, PaperConfig) and config.attacks:
        # The other models are trained in the study.
        attacks = {name: changed(part, [config.base]) for name, part in config.attacks.items()}
        return config.model_copy(update={"attacks": attacks})
    raise MidspanError(f"--decoding: is for studies of attacks, and {preset} asks for none")
