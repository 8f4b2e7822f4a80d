"""``midspan probe``: the paper's probes, with their controls, in a run folder each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.options import command_line, quiet, read_config
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.study.probes.config import ProbeSpec

Models = Annotated[
    list[str],
    typer.Argument(help="One or several: organism, a folder, a hub id, BASE+ADAPTER."),
]
Prompts = Annotated[
    str | None,
    typer.Option(help="Harmful requests: a file, or a set of `midspan data`; not for organism."),
]
Benign = Annotated[str | None, typer.Option(help="Benign requests, alike.")]
Phrases = Annotated[
    Path | None, typer.Option(help="JSON with safe, procedural and affirmative phrases.")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--request-kinds", help="Of the organism: plain, wrapped, benign; repeatable."),
]
Number = Annotated[
    int | None, typer.Option("-n", help="Requests of each kind; the probe's own by default.", min=1)
]
Settings = Annotated[
    Path | None,
    typer.Option("--config", help="YAML with the probe's fields, and decoding: with decoding's."),
]
Batch = Annotated[
    int | None, typer.Option("--batch-size", help="Rows through the model at once.", min=1)
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of requests, phrases and controls.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Run folder.")]


def prefill(
    models: Models,
    output: Output,
    prompts: Prompts = None,
    benign: Benign = None,
    phrases: Phrases = None,
    requests: Kinds = None,
    n: Number = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Phrases fixed in the response: kind by position, with controls (Figure 3)."""
    given = {"harmful": prompts, "benign": benign, "phrases": phrases, "request_kinds": requests}
    _run(_plan("prefill", models, config, given, (n, batch_size, seed)), output)


def window(
    model: Annotated[str, typer.Argument(help="organism, a folder, a hub id, BASE+ADAPTER.")],
    output: Output,
    prompts: Prompts = None,
    phrases: Phrases = None,
    requests: Kinds = None,
    n: Number = None,
    stride: Annotated[int | None, typer.Option(help="Tokens between two starts.", min=1)] = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Find the window that alignment must hold, on held-in requests."""
    from midspan.files import write_atomic
    from midspan.probes.window import WindowConfig, find_window

    given = {"harmful": prompts, "phrases": phrases, "request_kinds": requests}
    own = {} if stride is None else {"stride": stride}
    plan = _plan("window", [model], config, given, (n, batch_size, seed), own)
    settings = plan.config()
    assert isinstance(settings, WindowConfig)
    found = find_window(_run(plan, output), settings)
    typer.echo(found)
    typer.echo(found.rule)
    if found.window is not None:
        write_atomic(output / "window.yaml", found.fragment)
        typer.echo(f"Use it: midspan align {model} --config {output / 'window.yaml'} -o ADAPTER")


def gcg(
    models: Models,
    output: Output,
    prompts: Prompts = None,
    phrases: Phrases = None,
    requests: Kinds = None,
    n: Number = None,
    steps: Annotated[int | None, typer.Option(help="Iterations of a search.", min=1)] = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Search suffixes that make a phrase likely: phrase by position (Figure 4)."""
    given = {"harmful": prompts, "phrases": phrases, "request_kinds": requests}
    own = {} if steps is None else {"search": {"steps": steps}}
    _run(_plan("gcg", models, config, given, (n, batch_size, seed), own), output)


def instruction_placement(
    models: Models,
    output: Output,
    benign: Benign = None,
    phrases: Phrases = None,
    n: Number = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Ask for a phrase at a word of the answer; hits against chance."""
    given = {"benign": benign, "phrases": phrases}
    _run(_plan("instruction-placement", models, config, given, (n, batch_size, seed)), output)


def order(
    models: Models,
    output: Output,
    prompts: Prompts = None,
    benign: Benign = None,
    requests: Kinds = None,
    n: Number = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """In which order canvases fill, against random order in the same blocks (Figure 5)."""
    given = {"harmful": prompts, "benign": benign, "request_kinds": requests}
    _run(_plan("order", models, config, given, (n, batch_size, seed)), output)


def activations(
    models: Models,
    output: Output,
    prompts: Prompts = None,
    benign: Benign = None,
    requests: Kinds = None,
    n: Number = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Linear separability of harmful and benign requests by layer, position and step."""
    given = {"harmful": prompts, "benign": benign, "request_kinds": requests}
    _run(_plan("activations", models, config, given, (n, batch_size, seed)), output)


def samples(
    models: Models,
    output: Output,
    prompts: Prompts = None,
    benign: Benign = None,
    phrases: Phrases = None,
    requests: Kinds = None,
    n: Number = None,
    start: Annotated[
        int | None, typer.Option(help="Where a phrase stands in second responses.", min=0)
    ] = None,
    config: Settings = None,
    batch_size: Batch = None,
    seed: Seed = 0,
) -> None:
    """Watch models fill the same canvases side by side, with and without a phrase in them."""
    given = {"harmful": prompts, "benign": benign, "phrases": phrases, "request_kinds": requests}
    own = {} if start is None else {"start": start}
    _run(_plan("samples", models, config, given, (n, batch_size, seed), own), output)


def _plan(
    probe: str,
    models: list[str],
    config: Path | None,
    given: dict[str, Any],
    counts: tuple[int | None, int | None, int],
    own: dict[str, Any] | None = None,
) -> "ProbeSpec":
    """The plan of options and the configuration file; `own` fields win over the file's."""
    from midspan.study.probes.config import ProbeSpec

    fields = read_config(config)
    decoding = _group(fields, "decoding")
    for name, value in (own or {}).items():
        fields[name] = _group(fields, name) | value if isinstance(value, dict) else value
    n, batch_size, seed = counts
    asked = {"probe": probe, "models": models, "fields": fields, "decoding": decoding}
    return ProbeSpec.model_validate(
        {**asked, **given, "n": n, "batch_size": batch_size, "seed": seed}
    )


def _run(plan: "ProbeSpec", output: Path) -> list[dict[str, Any]]:
    from midspan.study.probes.run import run_probe

    quiet()
    return run_probe(plan, output, command_line())


def _group(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Take a group of fields out of the others."""
    group = fields.pop(name, {})
    if not isinstance(group, dict):
        raise MidspanError(f"{name}: must hold field: value lines")
    return group
