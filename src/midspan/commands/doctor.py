"""``midspan doctor``: what this machine has, and whether midspan works on it."""

import typer


def doctor() -> None:
    """Print versions and hardware, load the organism, decode one answer; non-zero on failure."""
    from midspan.commands.options import quiet
    from midspan.runs.machine import hardware, versions

    quiet()
    for name, value in {**versions(), **hardware()}.items():
        typer.echo(f"{name:14} {value}")
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
        raise typer.Exit(1)
    typer.echo("midspan works here.")
