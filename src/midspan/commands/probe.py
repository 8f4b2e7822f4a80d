"""``midspan probe``: measurements of models, with n and an interval, in a run folder each."""

from collections.abc import Mapping
from functools import cached_property
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from midspan.commands.choices import CONDITIONS, PHRASE_KINDS
from midspan.commands.ends import REPORT, Run, command_line, typed
from midspan.commands.fidelity import fidelity
from midspan.commands.generate import Asked
from midspan.commands.generated import (
    FieldOption,
    field_options,
    set_field,
    signed,
)
from midspan.commands.options import (
    Column,
    FailFast,
    Model,
    Models,
    Output,
    end_with,
    quiet,
    read_config,
)
from midspan.commands.probe_options import (
    INPUTS,
    BatchSize,
    Judge,
    Number,
    ProbeSeed,
    RequestKinds,
    ServedModels,
    Settings,
)
from midspan.errors import not_one_of
from midspan.served import is_served
from midspan.studies.probes.registry import PROBES
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from midspan.probes.context import ProbeConfig

# Options of every probe set these fields.
_SHARED_FIELDS = ("seed", "batch_size")
# Names that fields of probes hold, where their defaults do not list them.
_NAMED = {"conditions": CONDITIONS, "phrase_kinds": PHRASE_KINDS, "phrase_kind": PHRASE_KINDS}


class _ProbeCommand(TyperCommand):
    """The command of a probe; only its use loads the probe, whose config has its options."""

    def __init__(self, name: str) -> None:
        self._probe = name
        super().__init__(name, help=PROBES[name].summary)

    @cached_property
    def _loaded(self) -> Any:
        app = typer.Typer(add_completion=False)
        app.command(self._probe)(_function(self._probe))
        return typer.main.get_command(app)

    @property
    def params(self) -> list[Any]:
        """The arguments and options."""
        return self._loaded.params

    @params.setter
    def params(self, value: list[Any]) -> None:
        """The base class would set none."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Parse a command line as the loaded command.

        A served model of which no server gives what the probe asks is refused before that is
        loaded, and torch with it.
        """
        for served in filter(is_served, args):
            from midspan.studies.probes.served import check_model

            if not PROBES[self._probe].takes_served:
                check_model(self._probe, PROBES[self._probe].asks, served, {})
        return self._loaded.make_context(info_name, args, *more, **extra)


class _ProbeGroup(TyperGroup):
    """The commands of the registry, then those of this module."""

    def __init__(self, *, commands: Any = None, **attributes: Any) -> None:
        generated = {name: _ProbeCommand(name) for name in PROBES}
        super().__init__(commands={**generated, **(commands or {})}, **attributes)


app = typer.Typer(
    cls=_ProbeGroup,
    help="Measure one property of a model, with n and an interval.",
    no_args_is_help=True,
)


def _function(name: str) -> Any:
    """What typer makes a probe's command of: its signature has the options."""
    probe = PROBES[name]
    own = field_options(probe.resolve("config"), _SHARED_FIELDS, _NAMED)

    def command(**options: Any) -> None:
        _run(name, own, options)

    command.__doc__ = probe.summary
    asks_kinds = "harmful" in probe.inputs and not probe.data
    several, one = (ServedModels, Asked) if probe.takes_served else (Models, Model)
    argument, kind = ("models", several) if probe.several else ("model", one)
    parameters = {
        argument: (kind, Parameter.empty),
        **{option: (kind, None) for option, kind in (INPUTS[field] for field in probe.inputs)},
        **({"column": (Column, None)} if probe.inputs else {}),
        **({"request_kinds": (RequestKinds, None)} if asks_kinds else {}),
        **({"judge": (Judge, None)} if probe.takes_judge else {}),
        "n": (Number, None),
        **{option: (field.annotation, None) for option, field in own.items()},
        "config": (Settings, None),
        "batch_size": (BatchSize, None),
        "seed": (ProbeSeed, 0),
        "output": (Output, Path(f"runs/probe-{name}")),
        "fail_fast": (FailFast, False),
    }
    return signed(command, parameters)


def _run(name: str, own: Mapping[str, FieldOption], options: Mapping[str, Any]) -> None:
    """Run a probe; the options of its own fields win over the configuration file."""
    fields = read_config(options["config"])
    decoding, servers = group_of(fields, "decoding"), group_of(fields, "servers")
    fields = {name: value for name, value in fields.items() if name not in ("decoding", "servers")}
    for option, field in own.items():
        # An option that may be repeated is an empty list where it is not given.
        if options[option] not in (None, []):
            set_field(fields, field.path, options[option])
    models = options["models"] if PROBES[name].several else [options["model"]]
    from midspan.studies.probes.served import check_served

    check_served(name, _checked_fields(name, fields, models[0]), models, servers)
    from midspan.studies.probes.config import ProbeSpec
    from midspan.studies.probes.prepare import prepare
    from midspan.studies.probes.run import run_prepared
    from midspan.studies.redteam.ask import with_harm_judge

    judge = options.get("judge")
    inputs = {field: options[INPUTS[field][0]] for field in PROBES[name].inputs}
    spec = ProbeSpec.model_validate(
        {"probe": name, "models": models, "fields": fields, "decoding": decoding, **inputs}
        | {"judge": judge, "servers": servers}
        | {name: options.get(name) or None for name in ("request_kinds", "column")}
        | {option: options[option] for option in ("n", "batch_size", "seed")},
    )
    quiet()
    output = options["output"]
    prepared = prepare(spec, with_harm_judge(judge, servers, output, others=models))
    run = Run(
        f"Measures {name} of {' and '.join(models)}", output, "every stage says the time left"
    )
    done = run_prepared(prepared, output, command_line(), options["fail_fast"])
    if name == "window":
        _say_window(done.records, spec.config(), models[0], output)
    run.end(output / REPORT)
    end_with(done.problems)


def _checked_fields(name: str, fields: dict[str, Any], model: str) -> "ProbeConfig":
    """The probe's own settings, refused before what runs it is imported, which takes seconds."""
    from midspan.frozen import merged
    from midspan.organism.worlds import is_organism

    probe = PROBES[name]
    base = dict(probe.organism_fields) if is_organism(model) else {}
    config: ProbeConfig = probe.resolve("config").model_validate(merged(base, fields))
    for field, known in _NAMED.items():
        names = fields.get(field) or ()
        for given in [names] if isinstance(names, str) else names:
            if given not in known:
                raise not_one_of(field, given, known)
    return config


def _say_window(records: list[dict[str, Any]], config: Any, model: str, output: Path) -> None:
    """Print the window with its rule, and write it as a configuration of alignment."""
    from midspan.files import write_atomic
    from midspan.probes.window import find_window

    result = find_window(records, config)
    typer.echo(result)
    typer.echo(result.rule)
    if result.window is not None:
        write_atomic(output / "window.yaml", result.fragment)
        file, adapter = output / "window.yaml", output / "adapter"
        weights = "MODEL" if is_served(model) else model
        typer.echo(f"Next: {typed('midspan', 'align', weights, '--config', file, '-o', adapter)}")


app.command()(fidelity)
