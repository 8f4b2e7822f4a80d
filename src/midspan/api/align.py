"""`midspan.align`: a model and prompts in, a trained adapter out."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.adapter import TrainedAdapter
from midspan.api.runs import ready, run_folder
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.alignment import AlignmentConfig, AlignmentData
    from midspan.models import DiffusionLM


def align(
    lm: "DiffusionLM | str",
    data: "AlignmentData | Mapping[str, Any] | str | None" = None,
    recipe: "AlignmentConfig | str" = "mosa-stable",
    out: str | Path | None = None,
    *,
    progress: bool | None = None,
    **fields: Any,
) -> TrainedAdapter:
    """Train an alignment adapter; the same call continues one that was interrupted.

    The model is left as it was: the adapter lives in its folder alone.

    Examples:
        >>> lm = midspan.load("organism")
        >>> adapter = midspan.align(lm, "organism", midspan.objectives.mosa(), "adapters/mosa")
        >>> safer = adapter.load()

    Args:
        lm: A loaded model without an adapter, or a spec that `midspan.load` takes.
        data: Harmful requests as a file or a set of `midspan data`; a mapping with such names
            under `harmful`, `benign`, `phrases` and `exclude`; an `AlignmentData`; or "organism"
            (the default on the organism) for the organism's own training data.
        recipe: What `midspan.objectives` has, called, or its name; by name, models other than the
            organism get the paper's learning rate and number of prompts.
        out: Adapter folder; a temporary one by default.
        progress: False for silence; by default a bar on a terminal or in a notebook.
        **fields: Fields of `AlignmentConfig` that replace the recipe's, such as `num_prompts`
            (prompts in all), `learning_rate` or `seed`; and `track`, where transformers reports
            the metrics too ("trackio", "wandb" or "tensorboard"), and `reward`, a judge by name or
            as an object, whose verdict the recipe `recovery` learns by.

    Returns:
        The adapter. Its `stopped` says whether training ended early.

    Raises:
        MidspanError: A field or data set is wrong, the model has an adapter already, the folder
            belongs to another recipe, or training diverged; one line that names it.
    """
    from midspan.alignment import align as train
    from midspan.alignment import check_data
    from midspan.runs.progress import Reporter, library_output
    from midspan.studies.redteam.roles import with_reward

    track, reward = fields.pop("track", "none"), fields.pop("reward", None)
    name = lm if isinstance(lm, str) else lm.name
    config = _config(recipe, name, fields)
    training_data = with_reward(_training_data(data, name), reward, out)
    check_data(training_data, config)
    with library_output(progress):
        lm = ready(lm)
        with Reporter().training(config.name, config.num_steps) as show:
            result = train(lm, training_data, config, run_folder(out, "align"), show, track)
    return TrainedAdapter(result.folder, lm.name, config, result.seconds, result.stopped)


def _config(
    recipe: "AlignmentConfig | str", model: str, fields: Mapping[str, Any]
) -> "AlignmentConfig":
    from midspan.alignment import AlignmentConfig
    from midspan.studies.training import preset_recipe

    if isinstance(recipe, str):
        own = preset_recipe(recipe, model, "recipe")
    elif isinstance(recipe, AlignmentConfig):
        own = recipe
    else:
        raise MidspanError(
            "recipe: must be a recipe of midspan.objectives, called, or its name; "
            f"got {type(recipe).__name__}"
        )
    return own.changed(fields) if fields else own


def _training_data(
    data: "AlignmentData | Mapping[str, Any] | str | None", model: str
) -> "AlignmentData":
    from midspan.alignment import AlignmentData
    from midspan.organism.worlds import WORLDS, check_one_world, world_of
    from midspan.studies.training import TrainingData, load_training_data

    if isinstance(data, AlignmentData):
        return data
    if data is None:
        return load_training_data(TrainingData(), model)
    if isinstance(data, str) and data in WORLDS:
        check_one_world(world_of(data), "lm", (model,))
        return load_training_data(TrainingData(), data)
    names = {"harmful": data} if isinstance(data, str) else dict(data)
    return load_training_data(TrainingData(**names), model)
