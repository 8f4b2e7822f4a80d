"""One module a command; each imports what it needs inside its function, so ``--help`` is quick."""

import typer

from midspan.commands import (
    align,
    attack,
    audit,
    data,
    demo,
    doctor,
    env,
    export,
    generate,
    judge,
    merge,
    organism,
    play,
    probe,
    push,
    report,
    serve,
    study,
    task,
)
from midspan.commands.ends import Group

app = typer.Typer(
    name="midspan",
    cls=Group,
    help="The safety workbench for diffusion language models.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("generate")(generate.generate)
app.command("align")(align.align)
app.command("attack")(attack.attack)
app.command("audit")(audit.audit)
app.command("study")(study.study)
app.command("serve")(serve.serve)
app.command("play")(play.play)
app.command("merge")(merge.merge)
app.command("data")(data.data)
app.add_typer(organism.app, name="organism")
app.add_typer(probe.app, name="probe")
app.command("task")(task.task)
app.add_typer(judge.app, name="judge")
app.command("report")(report.report)
app.command("compare")(report.compare)
app.command("export")(export.export)
app.command("push")(push.push)
app.command("doctor")(doctor.doctor)
app.command("env")(env.env)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from midspan.version import __version__

        typer.echo(__version__)
        raise typer.Exit
