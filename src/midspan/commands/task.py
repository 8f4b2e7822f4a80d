"""``midspan task``: what models still solve, and what they refuse, under stated settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands.choice import Decoding, with_decoding
from midspan.commands.choices import (
    TASK_PRESETS,
    TASKS,
    check_defences,
    chosen,
    limited,
)
from midspan.commands.ends import REPORT, Call, Run, command_line, given_words
from midspan.commands.names import A_JUDGE, A_MODEL, TASK_FILES, checked_path
from midspan.commands.options import (
    Column,
    ConfigFile,
    FailFast,
    Output,
    end_with,
    quiet,
    read_config,
)
from midspan.errors import MidspanError
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from midspan.studies.tasks.config import TaskConfig

# Of a configuration file; its other fields are of decoding.
_GROUPS = ("servers", "defences")
# Fields that presets of tasks set for themselves.
_CANVAS = ("length", "block_length", "steps")

Targets = Annotated[
    list[str],
    typer.Argument(
        help="organism, a folder, a hub id, or BASE+ADAPTER, each perhaps with DEFENCE "
        "(docs/rules.md); the first is compared with.",
        show_default=False,
        **A_MODEL,
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="gsm8k, mmlu, mmlu-likelihood, humaneval, overrefusal; the organism's arithmetic, "
        "choice, program. Repeatable.",
        **limited(TASKS),
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=FILE: gsm8k, humaneval, xstest, or_bench, alpaca; mmlu=FOLDER; mentioned: ours.",
        **TASK_FILES,
    ),
]
Items = Annotated[
    int | None,
    typer.Option(
        "-n",
        help="At most N items a task, drawn by the seed, of several files equally many; with "
        "--lm-eval the first N.",
        min=1,
    ),
]
AllowCode = Annotated[
    bool, typer.Option(help="Run code that the model wrote, isolated; docs/sandbox.md.")
]
ForceCode = Annotated[bool, typer.Option(help="Run it where this machine cannot isolate it, too.")]
Judge = Annotated[
    str | None,
    typer.Option(
        help="Of overrefusal: xstest=MODEL (three classes), strongreject=MODEL, xstest-strmatch or "
        "refusal-keywords (default). MODEL is openai:NAME, URL#NAME, another served model or a "
        "diffusion model.",
        **A_JUDGE,
    ),
]
DryRun = Annotated[bool, typer.Option(help="Estimate the hours from a measured batch, and stop.")]
LMEval = Annotated[list[str] | None, typer.Option(help="Task of lm-eval instead; repeatable.")]
IncludePath = Annotated[
    Path | None,
    typer.Option(help="Folder of lm-eval task files of your own.", callback=checked_path),
]


def task(
    models: Targets,
    tasks: Tasks = None,
    preset: Annotated[str, chosen(TASK_PRESETS, "Whose settings")] = "llada",
    data: Data = None,
    column: Column = None,
    items: Items = None,
    samples: Annotated[int, typer.Option(help="Responses to each HumanEval problem.", min=1)] = 1,
    allow_code: AllowCode = False,
    force_code: ForceCode = False,
    lm_eval: LMEval = None,
    include_path: IncludePath = None,
    judge: Judge = None,
    chat: Annotated[bool, typer.Option(help="Chat format around lm-eval's prompts.")] = True,
    dry_run: DryRun = False,
    batch_size: Annotated[int, typer.Option(help="Rows decoded together.", min=1)] = 32,
    config: ConfigFile = None,
    decoding: Decoding = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    output: Output = Path("runs/task"),
    fail_fast: FailFast = False,
) -> None:
    """Score models on tasks, with the same items and settings for all of them.

    The configuration file sets fields of decoding, which go before the preset's, under servers what
    servers need, and under defences the rules of MODEL with DEFENCE. --decoding goes before both.
    The same command continues an interrupted run; torchrun or accelerate launch share the work.
    """
    if bool(tasks) == bool(lm_eval):
        raise MidspanError("--task or --lm-eval: give one of them")
    own = read_config(config)
    servers, defences = (group_of(own, name) for name in _GROUPS)
    check_defences(models, "MODEL with DEFENCE", defences)
    quiet()
    own = {name: value for name, value in own.items() if name not in _GROUPS}
    if lm_eval:
        if defences or len(models) > 1 or dry_run or judge or column or decoding:
            raise MidspanError(
                "--lm-eval: takes one model, and has no defences, --dry-run, --judge, --column "
                "and --decoding"
            )
        from midspan.adapters.lm_eval_run import Evaluation, evaluate

        names = tuple(lm_eval)
        evaluation = Evaluation(names, include_path, chat, items, own, batch_size, seed)
        what = f"Puts {' and '.join(names)} of lm-eval to {models[0]}"
        run = Run(what, output, "lm-eval says the time left")
        typer.echo(evaluate(models[0], evaluation, output, command_line()))
        run.end(output / "results.json")
        return
    from midspan.studies.tasks.config import TaskConfig, parse_data

    fields = {
        "models": models,
        "tasks": tasks,
        "preset": preset,
        "data": parse_data(data or []),
        "column": column or None,
        "items": items,
        "samples": samples,
        "seed": seed,
        "batch_size": batch_size,
        "decoding": own,
        "code": "forced" if force_code else "isolated" if allow_code else "no",
        "judge": judge,
        "defences": defences,
        "servers": servers,
    }
    asked = TaskConfig.model_validate(_decoded(fields, decoding, models))
    _run(asked, output, dry_run, fail_fast)


def _decoded(fields: dict[str, Any], decoding: str | None, models: Sequence[str]) -> dict[str, Any]:
    """The fields under the settings that ``--decoding`` names.

    Raises:
        MidspanError: The settings change how many steps there are, which a task's preset says.
    """
    found = with_decoding(fields, decoding, models)
    chosen = found.get("decoding_choice")
    if not chosen or not chosen["found"]:
        return found
    before, after = fields["decoding"], found["decoding"]
    changed = [name for name in _CANVAS if after.get(name) != before.get(name)]
    if changed:
        raise MidspanError(
            f"--decoding: changes {' and '.join(changed)}, which every task's preset has of its "
            "own; give a file with a threshold or a cache"
        )
    canvas = chosen["reference"]
    at = {name: canvas[name] for name in _CANVAS if canvas.get(name)}
    return found | {"decoding_choice": chosen | {"chosen_at": at}}


def _run(config: "TaskConfig", output: Path, dry_run: bool, fail_fast: bool) -> None:
    from midspan.studies.redteam.roles import with_refusal_judge
    from midspan.studies.tasks.page import settings_line, text
    from midspan.studies.tasks.prepare import prepare
    from midspan.studies.tasks.run import estimate, problems_of, run_tasks

    models = (config.behind(spec)[0] for spec in config.models)
    given = with_refusal_judge(config.judge, config.servers, others=models)
    if dry_run:
        call = Call("Estimates what the tasks would take here", "measures a batch of each")
        for model, title, settings, hours in estimate(prepare(config, given)):
            typer.echo(f"{hours:9.3f} h  {title}, {model}: {settings_line(settings)}")
        call.end("Nothing was run.", *given_words("--dry-run"))
        return
    what = f"Puts {' and '.join(config.tasks)} to {' and '.join(config.models)}"
    run = Run(what, output, "--dry-run says how long")
    results = run_tasks(config, output, command_line(), given, fail_fast=fail_fast)
    if results:
        typer.echo("\n\n".join(map(text, results)))
    run.end(output / REPORT if results else None)
    end_with(problems_of(results))
