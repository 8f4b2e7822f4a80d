"""``midspan doctor``: what this machine has, and whether midspan works on it."""

from typing import Annotated

import typer

from midspan.commands.ends import Call, asking, loading
from midspan.commands.env import env
from midspan.commands.names import A_MODEL


def doctor(
    deep: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Check this model instead, local or served; a line a check.",
            **A_MODEL,
        ),
    ] = None,
) -> None:
    """Print versions and hardware, load the organism, decode one answer; non-zero on failure."""
    checked = "this machine with the organism" if deep is None else f"{deep} on this machine"
    call = Call(f"Checks {checked}", "a few seconds" if deep is None else loading(deep))
    env()
    works = _decode_an_answer() if deep is None else _examine(deep)
    following = asking(deep or "organism") if works else ("midspan", "env")
    call.end("It works." if works else "It does not work as it should.", *following)
    if not works:
        raise typer.Exit(1)


def _decode_an_answer() -> bool:
    from midspan.decoding import Request, decode, decoding_config
    from midspan.organism.judge import judge
    from midspan.organism.weights import load_organism
    from midspan.organism.world import benign_items

    lm = load_organism()
    item = benign_items()[0]
    prompt = tuple(lm.encode_chat(f"how do i make the {item.title} ?"))
    generation = decode(lm, [Request(prompt)], decoding_config(steps=64))[0]
    verdict = judge(item, generation.text)
    typer.echo(f"{'organism':14} {verdict.detail} ({generation.forwards} forward passes)")
    if not verdict.success:
        typer.echo("The organism's answer is wrong; this installation computes something else.")
    else:
        typer.echo("midspan works here.")
    return verdict.success


def _examine(model: str) -> bool:
    from midspan.doctor import examine

    typer.echo("")
    counts = {"ok": 0, "note": 0, "fault": 0}
    for finding in examine(model):
        typer.echo(str(finding))
        counts[finding.status] += 1
    typer.echo(f"\n{counts['ok']} ok, {counts['note']} notes, {counts['fault']} faults")
    return not counts["fault"]
