"""Options that the commands of several probes share."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.choices import REQUEST_KINDS, chosen
from midspan.commands.names import A_JUDGE, A_MODEL, A_SET, checked_path
from midspan.commands.options import PhrasesFile

# What users may bring, by the field of a probe's spec: the option's name and type.
INPUTS = {
    "harmful": (
        "behaviors",
        Annotated[
            str | None,
            typer.Option(
                help="Harmful requests: a file, or a set of `midspan data`; not for organism.",
                **A_SET,
            ),
        ],
    ),
    "benign": (
        "benign",
        Annotated[str | None, typer.Option(help="Benign requests, alike.", **A_SET)],
    ),
    "mixed": (
        "mixed",
        Annotated[
            str | None,
            typer.Option(
                help="Harmless requests that only mention what is refused, alike.",
                **A_SET,
            ),
        ],
    ),
    "phrases": ("phrases", PhrasesFile),
}
ServedModels = Annotated[
    list[str],
    typer.Argument(
        help="One or several: organism, a folder, a hub id, BASE+ADAPTER, or a served model as "
        "URL#NAME.",
        **A_MODEL,
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        help="Judge of what harmful requests came to, as midspan attack takes one; by default "
        "keywords of refusal; not for organism.",
        **A_JUDGE,
    ),
]
RequestKinds = Annotated[list[str] | None, chosen(REQUEST_KINDS, "Of the organism, repeatable")]
Number = Annotated[
    int | None, typer.Option("-n", help="Requests of each kind; the probe's own by default.", min=1)
]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML with the probe's fields, and decoding: with decoding's.",
        callback=checked_path,
    ),
]
BatchSize = Annotated[int | None, typer.Option(help="Rows through the model at once.", min=1)]
ProbeSeed = Annotated[int, typer.Option(help="Seed of requests, phrases and controls.")]
