"""``midspan push``: an adapter with its card and audit, to the hub."""

from pathlib import Path
from typing import Annotated

import typer

from midspan.commands.ends import Call, given_words, typed
from midspan.commands.names import checked_path
from midspan.errors import MidspanError


def push(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of an adapter, of a run or of an audit.",
            show_default=False,
            callback=checked_path,
        ),
    ],
    repo: Annotated[str, typer.Option(help="OWNER/NAME on the hub.")],
    adapter: Annotated[str, typer.Option(help="Which of a run's adapters.")] = "",
    audit: Annotated[
        Path | None,
        typer.Option(
            help="Finished audit whose findings go with the adapter.", callback=checked_path
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="PATH=NAME: what a path of this machine is called elsewhere."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Everybody may read it.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Upload; without, only say what would be uploaded.")
    ] = False,
) -> None:
    """Say what would be uploaded of an adapter or audit; with --yes upload it.

    Named files alone go: the adapter, its card, recipe and metrics; an audit's findings, card and
    badge. Texts with a secret or a path of this machine are refused. Needs a token: HF_TOKEN, or
    the hub's own login.
    """
    from midspan.adapters.hub import check_repo
    from midspan.adapters.hub import push as push_package
    from midspan.adapters.publishing import package

    check_repo(repo)
    pairs = [entry.rpartition("=") for entry in name or ()]
    if any(not (path and called) for path, _, called in pairs):
        raise MidspanError("--name: must be PATH=NAME")
    names = {path: called for path, _, called in pairs}
    call = Call(
        f"Takes what goes from {typed(source)} to {repo} on the hub",
        "as long as the upload takes" if yes else "nothing is uploaded without --yes",
    )
    found = package(source, adapter, audit, names)
    typer.echo(f"{repo}, {'public' if public else 'private'}:")
    for one in found.uploads:
        typer.echo(f"  {one.name:28}  {one.size:>13,} bytes  sha256 {one.sha256[:16]}")
    typer.echo(f"  {len(found.uploads)} files, {sum(one.size for one in found.uploads):,} bytes")
    if found.left_out:
        typer.echo(f"not uploaded: {', '.join(found.left_out)}")
    if yes:
        typer.echo(f"uploaded: {push_package(found, repo, public)}")
        call.end(f"It is {repo} on the hub", "hf", "download", repo)
    else:
        typer.echo("nothing was uploaded; --yes uploads it")
        call.end("The files are listed above.", *given_words(), "--yes")
