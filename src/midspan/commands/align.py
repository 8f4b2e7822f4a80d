"""``midspan align``: train an alignment adapter for a model."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midspan.commands import ends
from midspan.commands.choices import (
    ATTENTION,
    DTYPES,
    OBJECTIVES,
    QUANTIZATIONS,
    TRACKERS,
    chosen,
)
from midspan.commands.estimates import dry_run as dry_run_of
from midspan.commands.estimates import on_two_cores
from midspan.commands.generated import with_options
from midspan.commands.names import A_JUDGE, A_SET
from midspan.commands.options import (
    Column,
    ConfigFile,
    Model,
    PhrasesFile,
    Seed,
    configure,
    load_model,
    read_config,
)
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.alignment import AlignmentConfig, AlignmentData, AlignmentResult
    from midspan.models import DiffusionLM

# Metrics that the progress line shows, where the objective has them.
SHOWN = ("loss", "reward", "nats_begun", "kl_harmful", "kl_benign", "margin")


# Options that are fields of the recipe, and of its probes.
BUDGET = {
    "num_prompts": Annotated[int | None, typer.Option(help="Harmful prompts seen in all.", min=1)],
    "batch_size": Annotated[int | None, typer.Option(help="Prompts a step.", min=1)],
    "micro_batch_size": Annotated[
        int | None,
        typer.Option(help="Prompts of one forward pass; less memory, same result.", min=1),
    ],
    "learning_rate": Annotated[float | None, typer.Option(help="Peak learning rate.")],
    "seed": Seed,
    "gradient_checkpointing": Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ],
    "compiled": Annotated[
        bool | None, typer.Option("--compiled", help="Fuse layers by torch.compile.")
    ],
}
PROBES = {
    "probe_every": Annotated[int | None, typer.Option(help="Steps between quick probes.")],
    "max_benign_kl": Annotated[
        float | None, typer.Option(help="Stop when a probe's benign KL per token exceeds this.")
    ],
    "max_refusal_drop": Annotated[
        float | None,
        typer.Option(help="Stop when a probe's refusal is these nats below the best one's."),
    ],
}


# Options that are arguments of `midspan.load`.
WEIGHTS = {
    "dtype": Annotated[str | None, chosen(DTYPES, "Of the weights; auto, the checkpoint's")],
    "quantization": Annotated[str | None, chosen(QUANTIZATIONS, "Of the base, by bitsandbytes")],
    "attn_implementation": Annotated[str | None, chosen(ATTENTION, "What computes attention")],
}


@with_options("budget", BUDGET)
@with_options("weights", WEIGHTS)
@with_options("probes", PROBES)
def align(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Adapter folder.")],
    budget: dict[str, Any],
    weights: dict[str, Any],
    probes: dict[str, Any],
    objective: Annotated[str, chosen(OBJECTIVES, "Recipe")] = "mosa-stable",
    behaviors: Annotated[
        str | None,
        typer.Option(help="Harmful requests: a file, or a set of `midspan data`.", **A_SET),
    ] = None,
    benign: Annotated[
        str | None,
        typer.Option(help="Benign prompts; all but the paper's own recipes need them.", **A_SET),
    ] = None,
    column: Column = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Set or file that --behaviors must not overlap.", **A_SET),
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Train on prompts that --exclude has, too.")
    ] = False,
    phrases: PhrasesFile = None,
    reward: Annotated[
        str | None,
        typer.Option(help="Judge whose verdict recovery learns by, as of `attack`.", **A_JUDGE),
    ] = None,
    config: ConfigFile = None,
    track: Annotated[str, chosen(TRACKERS, "Where metrics are reported, too")] = "none",
    dry_run: Annotated[
        bool, typer.Option(help="Say what it would take, from a few steps taken here, and stop.")
    ] = False,
) -> None:
    """Train a LoRA adapter; the same command continues an interrupted run.

    An organism brings its own prompts; every other model needs --behaviors, and is trained at the
    paper's learning rate.
    """
    from midspan.commands.config_names import check_fields
    from midspan.organism.worlds import check_training_sets, is_organism

    check_fields(read_config(config), "AlignmentConfig")
    excluded: list[str | None] = [*(exclude or ())]
    sets = {"--behaviors": [behaviors], "--benign": [benign], "--exclude": excluded}
    check_training_sets(model, sets)
    if behaviors is None and not is_organism(model):
        raise MidspanError(
            "--behaviors: give a file of harmful prompts, or a set of `midspan data`; only "
            "organism and organism2 bring their own"
        )
    from midspan.alignment import check_data, check_dtype, check_tracker
    from midspan.journal.ranks import this_rank
    from midspan.models import stored_dtype
    from midspan.studies.redteam.roles import with_reward
    from midspan.studies.training import TrainingData, load_training_data

    check_tracker(track)
    recipe = _recipe(model, objective, config, budget, probes)
    names = TrainingData(
        harmful=behaviors,
        benign=benign,
        phrases=phrases,
        column=tuple(column) if column else None,
        exclude=tuple(exclude or ()),
        allow_overlap=allow_overlap,
    )
    # Under a launcher, the first process speaks for all.
    is_first = this_rank().index == 0
    tell = typer.echo if is_first else lambda _: None
    data = with_reward(load_training_data(names, model, tell), reward, output)
    check_data(data, recipe)
    if not dry_run:
        takes = on_two_cores(*ends.given_words()[1:]) or "--dry-run says how long"
        ends.say(
            f"Trains {model} by {recipe.name}; {recipe.num_steps} steps of {recipe.batch_size} "
            f"prompts, learning rate {recipe.learning_rate:g}; {takes}; goes in "
            f"{shlex.quote(str(output))}"
        )
    if "dtype" not in weights:
        check_dtype(model, stored_dtype(model))
    if dry_run:
        _forecast(model, weights, data, recipe)
        return
    lm = load_model(model, **weights)
    result = _train(lm, data, recipe, output, track)
    _leave_group()
    if result.stopped and is_first:
        raise MidspanError(result.stopped)
    trained = f"Trained in {result.seconds:.0f} s." if result.seconds else "Kept: trained before."
    tell(f"{trained} The adapter is {shlex.quote(str(result.folder))}")
    tell(f"Next: {ends.typed(*ends.asking(f'{model}+{result.folder}'))}")


def _forecast(
    model: str, weights: Mapping[str, Any], data: "AlignmentData", recipe: "AlignmentConfig"
) -> None:
    """What the training would take, on this machine."""
    from midspan.studies.paper.part_forecasts import Forecast
    from midspan.studies.paper.rates import training_hours

    def estimate() -> list[Forecast]:
        lm = load_model(model, **weights)
        return [Forecast(recipe.name, 1, hours=training_hours(lm, data, recipe))]

    dry_run_of(f"{recipe.num_steps} steps of {recipe.name} on {model}", estimate)


def _recipe(
    model: str,
    objective: str,
    config: Path | None,
    budget: Mapping[str, Any],
    probes: Mapping[str, Any],
) -> "AlignmentConfig":
    """A preset with a user's changes."""
    from midspan.studies.training import preset_recipe

    base = preset_recipe(objective, model, "--objective")
    changes = dict(budget)
    if probes:
        changes["probes"] = {name.removeprefix("probe_"): value for name, value in probes.items()}
    return configure(base, config, changes)


def _train(
    lm: "DiffusionLM",
    data: "AlignmentData",
    recipe: "AlignmentConfig",
    output: Path,
    track: str,
) -> "AlignmentResult":
    """Train; the first process shows how far it is."""
    from midspan.alignment import align as train
    from midspan.journal.ranks import this_rank
    from midspan.runs.progress import Reporter

    if this_rank().index != 0:
        return train(lm, data, recipe, output, track=track)
    steps = {"done": 0, "total": recipe.num_steps}
    with (
        ends.stopping_at(output, steps),
        Reporter().training(recipe.name, recipe.num_steps, SHOWN) as show,
    ):

        def shown(step: int, total: int, row: Mapping[str, Any]) -> None:
            steps["done"] = step
            show(step, total, row)

        return train(lm, data, recipe, output, shown, track)


def _leave_group() -> None:
    """Its threads must not outlive the interpreter: gloo's then abort the process."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
