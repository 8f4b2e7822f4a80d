"""What several commands share: options and configuration files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from midspan.commands.choices import A_RULE, CACHES, EXECUTORS, chosen
from midspan.commands.names import A_MODEL, checked_path
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from midspan.frozen import FrozenConfig

Model = Annotated[
    str,
    typer.Argument(
        help="organism, a folder, a hub id, or BASE+ADAPTER.",
        show_default=False,
        **A_MODEL,
    ),
]
Seed = Annotated[int | None, typer.Option(help="Random seed; the configuration's by default.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with configuration fields; options win over it.",
        callback=checked_path,
    ),
]
Models = Annotated[
    list[str],
    typer.Argument(help="One or several: organism, a folder, a hub id, BASE+ADAPTER.", **A_MODEL),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of the requests in files of your own, where midspan does not know its name; "
        "repeatable for several files.",
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Run folder.")]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="End at the first error in the code of an attack or judge."),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write results and settings to this file.")
]
# Fields of decoding that save forward passes.
ACCELERATION: dict[str, Any] = {
    "cache": Annotated[str | None, chosen(CACHES, "Which keys and values are kept")],
    "threshold": Annotated[
        float | None, typer.Option(help="Commit all that are at least so confident.")
    ],
    "factor": Annotated[
        float | None, typer.Option("--parallel-factor", help="Fast-dLLM's factor rule.")
    ],
    "rules": Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="NAME, or '{rule: NAME, field: value}'; repeatable. See docs/rules.md.",
            **A_RULE,
        ),
    ],
}

PhrasesFile = Annotated[
    Path | None,
    typer.Option(help="JSON with safe, procedural and affirmative phrases.", callback=checked_path),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes or Ray tasks at a time; by default one a core for the organism, one a GPU "
        "for other models.",
        min=1,
    ),
]
Executor = Annotated[str, chosen(EXECUTORS, "Processes of this machine, or tasks of a Ray cluster")]

Config = TypeVar("Config", bound="FrozenConfig")


def load_model(spec: str, adapter: Path | None = None, **options: Any) -> Any:
    """Load a model for a command, the organism's names included; options that are None are unset.

    Raises:
        MidspanError: See `midspan.models.load`.
    """
    from midspan.models import load

    quiet()
    given = {name: value for name, value in options.items() if value is not None}
    return load(spec, adapter=adapter, **given)


def quiet() -> None:
    """Keep transformers' own progress bars and notices out of our output."""
    from midspan.runs import progress

    progress.quiet()


def configure(base: Config, file: Path | None, changes: dict[str, Any]) -> Config:
    """Merge defaults, a YAML file and options; options that are None change nothing.

    Of a group the options replace their own fields alone.

    Raises:
        MidspanError: One line naming the field, for an unreadable file or an invalid value.
    """
    from midspan.frozen import merged

    given = {name: value for name, value in changes.items() if value is not None}
    fields = merged(merged(base.model_dump(), read_config(file)), given)
    return type(base).model_validate(fields)


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write what a command found.

    Raises:
        MidspanError: The file cannot be written.
    """
    from midspan.files import write_atomic

    write_atomic(path, json.dumps(result, ensure_ascii=False, indent=1))


def end_with(problems: "Sequence[str]") -> None:
    """Say what makes a finished run doubtful, and end with status 1; return where nothing does.

    Raises:
        typer.Exit: There are problems.
    """
    for problem in problems:
        typer.echo(f"midspan: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def read_config(file: Path | None) -> dict[str, Any]:
    """Fields of a YAML file; none without a file.

    Raises:
        MidspanError: The file cannot be read, or holds no fields.
    """
    if file is None:
        return {}
    from midspan.data.text import whole_values
    from midspan.files import read_text
    from midspan.yaml_file import read_fields

    try:
        fields: dict[str, Any] = whole_values(read_fields(read_text(file), file))
    except MidspanError as error:
        raise MidspanError(f"--config: {error}") from error
    return fields
