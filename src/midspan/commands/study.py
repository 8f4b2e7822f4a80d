"""``midspan study``: a whole comparison from one configuration, resumable, with one report."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.choice import Decoding, decoded
from midspan.commands.choices import PARTS, STUDIES, check_parts, completing, limited
from midspan.commands.ends import Run, command_line, given_words
from midspan.commands.estimates import dry_run as dry_run_of
from midspan.commands.estimates import on_two_cores
from midspan.commands.options import (
    ConfigFile,
    Executor,
    FailFast,
    Jobs,
    Output,
    end_with,
    quiet,
    read_config,
)
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.runs.executors import How

Preset = Annotated[
    str,
    typer.Option(
        help="paper (LLaDA-8B), organism or organism2 (the same on an organism), "
        "organism-redteam, organism-native, organism-words, organism-weights, organism2-redteam, "
        "objectives, recovery-alignment, ablations, samplers, pieces, demo, demo-full or "
        "demo-smoke.",
        **limited(STUDIES),
    ),
]


def study(
    preset: Preset = "organism",
    config: ConfigFile = None,
    show: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration, and stop.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(help="Say what it would take, from rates measured here, and stop."),
    ] = False,
    pilot: Annotated[
        int | None,
        typer.Option(
            help="Of a dry run: attack so many behaviors to see how early attacks stop; 0, on the "
            "organism 4 where its own attacks are changed.",
            min=0,
        ),
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            help="Of paper and organism: run this part alone; repeatable.",
            autocompletion=completing(dict.fromkeys(part for of in PARTS.values() for part in of)),
        ),
    ] = None,
    decoding: Decoding = None,
    jobs: Jobs = None,
    executor: Executor = "processes",
    output: Output = Path("runs/study"),
    fail_fast: FailFast = False,
) -> None:
    """Run a whole study; the same command continues it.

    --config changes fields of the preset; a part or recipe set to null is left out. --decoding is
    for attacks; of a whole paper it is chosen on the base model.
    --print-config writes the configuration in full, to be edited and given back.
    """
    from midspan.commands.attack import run_and_print
    from midspan.commands.config_names import check_fields
    from midspan.organism.worlds import is_organism
    from midspan.runs.executors import How
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.registry import config_class, preset_config, study_of

    if pilot is not None and not dry_run:
        raise MidspanError("--pilot goes with --dry-run, which it makes more exact")
    given = read_config(config)
    check_parts(preset, parts or (), given)
    check_fields(given, config_class(preset))
    quiet()
    how = How(command_line(), jobs, fail_fast, executor)
    chosen: Any = preset_config(preset).changed(given)
    kind = study_of(chosen)
    assert kind is not None
    if decoding is not None:
        chosen = decoded(chosen, decoding, preset)
    if show:
        import yaml

        fields = chosen.model_dump(mode="json")
        typer.echo(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), nl=False)
    elif dry_run:
        more = (parts or [], pilot) if kind.has_parts else ()
        width = how.width(is_organism(chosen.base)) if kind.has_parts else 1
        estimate = resolve_name(kind.forecast)
        dry_run_of(f"the study {preset}", lambda: estimate(chosen, output, *more), width=width)
    elif kind.has_parts:
        # The preset stands in the command or not.
        known = on_two_cores("study", "--preset", preset, *given_words()[2:])
        _run_paper(chosen, output, parts or [], how, known)
    elif isinstance(chosen, RedteamConfig):
        run_and_print(chosen, output, how.or_one)
    elif jobs or how.on_ray:
        raise MidspanError(f"--jobs, --executor: {preset} is a study without parts")
    else:
        known = on_two_cores("study", "--preset", preset)
        run = Run(f"Runs the study {preset}", output, known or "--dry-run says how long")
        done = resolve_name(kind.run)(chosen, output, command_line())
        run.end(done.report)


def _run_paper(config: Any, output: Path, parts: list[str], how: "How", known: str) -> None:
    from midspan.studies.paper.run import run_parts

    names = parts or [*config.trainings, *config.parts]
    dry = known or "--dry-run says how long; every stage says the time left"
    run = Run(f"Runs {len(names)} parts of the study of {config.base}", output, dry)
    done = run_parts(config, output, how, parts)
    if done.report is None:
        typer.echo(f"Still to be run: {', '.join(done.missing)}")
        run.unfinished(*given_words("--part", has_value=True))
    else:
        run.end(done.report)
    end_with(done.problems)
