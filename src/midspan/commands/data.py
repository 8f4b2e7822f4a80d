"""``midspan data``: what a data set holds, without showing its texts."""

from collections import Counter
from typing import Annotated

import typer

from midspan.commands.ends import Call, typed
from midspan.commands.names import A_SET
from midspan.commands.options import Column


def data(
    spec: Annotated[
        str | None,
        typer.Argument(
            help="A set, an organism's such as organism:18, NAME=PATH, a file, or "
            "hub:OWNER/NAME/FILE; each with :N.",
            **A_SET,
        ),
    ] = None,
    column: Column = None,
) -> None:
    """Read a data set and say what it holds; without a name, list the registered sets."""
    from midspan.data import BENCHMARKS, load_behaviors
    from midspan.organism.behaviors import named_set

    if spec is None:
        call = Call("Lists the registered sets, on standard output", "nothing is downloaded")
        for benchmark in BENCHMARKS.values():
            access = "gated" if benchmark.origin.gated else "open"
            typer.echo(
                f"{benchmark.name:24} {benchmark.num_rows:>6} rows  {benchmark.kind:8} {access:6} "
                f"{benchmark.licence}; {benchmark.paper}; {benchmark.origin.page}"
            )
        call.end("Gated sets need the hub's login.", "midspan", "data", "mentioned")
        return
    call = Call(f"Reads {spec}, and shows none of its texts", "seconds where it is on the disk")
    own = named_set(spec)
    dataset = own or load_behaviors(spec, keep="all", column=column)
    categories = Counter(behavior.category for behavior in dataset if behavior.category)
    num_answers = sum(behavior.answer is not None for behavior in dataset)
    rows = {
        "name": dataset.name,
        "behaviors": len(dataset),
        "different prompts": len(dataset.prompts()),
        "with a context": sum(bool(behavior.context) for behavior in dataset),
        "with an answer": f"{num_answers} ({dataset.answers})" if num_answers else "0",
        "left out": "; ".join(dataset.left_out) or "nothing",
        "categories": ", ".join(f"{name} {n}" for name, n in categories.most_common(10)) or "none",
        "sha256": dataset.sha256,
        "licence": dataset.licence,
        "source": dataset.source,
        "first ids": ", ".join(behavior.id for behavior in dataset.behaviors[:3]),
    }
    for name, value in rows.items():
        typer.echo(f"{name:18} {value}")
    given = typed("--behaviors", spec)
    takers = "Attacks and audits" if own else "Attacks, probes and align"
    call.end(f"{takers} take it as {given}", "midspan", "attack", "--help")
