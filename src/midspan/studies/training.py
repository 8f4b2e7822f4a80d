"""An alignment as users name it: its preset, and what it learns from."""

from collections.abc import Callable
from pathlib import Path

from midspan.alignment import (
    PRESETS,
    AlignmentConfig,
    AlignmentData,
    at_paper_budget,
    on_organism,
    on_organism2,
)
from midspan.data import (
    BehaviorSet,
    english_phrases,
    load_behaviors,
    mentions_of,
    read_phrases,
    refuse_overlap,
)
from midspan.errors import MidspanError, not_one_of
from midspan.frozen import FrozenConfig
from midspan.organism.worlds import FIRST, SECOND, check_training_sets, room, world_in


class TrainingData(FrozenConfig):
    """Names of what an alignment learns from; without any, the organism's own.

    Attributes:
        harmful: File or registered set of requests to refuse.
        benign: The same of requests to keep answering; needed by recipes with benign prompts.
        phrases: JSON file with safe, procedural and affirmative phrases.
        column: Column of the requests in files of one's own, or several of which each has one.
        exclude: Sets that the harmful requests must not overlap.
        allow_overlap: Count what overlaps, and go on.
        seed: Of the organism's training data.
    """

    harmful: str | None = None
    benign: str | None = None
    phrases: Path | None = None
    column: str | tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    allow_overlap: bool = False
    seed: int = 0


def preset_recipe(name: str, model: str, field: str) -> AlignmentConfig:
    """A preset, for any model but the organisms at the paper's learning rate and prompts.

    Args:
        name: Of the preset.
        model: Spec of the model that is aligned.
        field: What the user calls the preset's name, for the message.

    Raises:
        MidspanError: There is no preset of this name.
    """
    if name not in PRESETS:
        raise not_one_of(field, name, PRESETS)
    makers: dict[str, Callable[[str], AlignmentConfig]] = {
        FIRST: on_organism,
        SECOND: on_organism2,
    }
    return makers.get(world_in(model), at_paper_budget)(name)


def load_training_data(
    names: TrainingData, base: str, say: Callable[[str], None] = lambda _: None
) -> AlignmentData:
    """Read everything.

    Args:
        names: What to read.
        base: The model that is aligned.
        say: Told what each set holds.

    Raises:
        MidspanError: A set is missing or wrong, or training and evaluation overlap.
    """
    sets = {"harmful": [names.harmful], "benign": [names.benign], "exclude": names.exclude}
    check_training_sets(base, sets)
    world = world_in(base)
    if world and names.harmful is None and not names.exclude:
        own: AlignmentData = room(world, "training_data").alignment_data(names.seed)
        return own
    if names.harmful is None:
        raise MidspanError(
            "harmful (--behaviors): give a file of harmful prompts, or a set of `midspan data`"
        )
    harmful = load_behaviors(names.harmful, column=names.column)
    say(harmful.summary())
    excluded = {}
    for name in names.exclude:
        evaluation = load_behaviors(name, column=names.column)
        overlaps = refuse_overlap(harmful, evaluation, names.allow_overlap)
        excluded[evaluation.summary()] = len(overlaps)
        say(f"{len(overlaps)} of {len(harmful)} prompts repeat {evaluation.summary()}")
    kept = None
    if names.benign:
        kept = load_behaviors(names.benign, keep="benign", column=names.column)
        say(kept.summary())
    asked, answered = harmful.examples(), kept.examples() if kept else ()
    return AlignmentData(
        harmful=asked,
        benign=answered,
        phrases=read_phrases(names.phrases) if names.phrases else english_phrases(),
        excluded=excluded,
        openings=(_opened(harmful), _opened(kept)),
        mentions=mentions_of(asked, answered, names.seed),
    )


def _opened(behaviors: BehaviorSet | None) -> str:
    """The name of a set whose answers are openings."""
    return behaviors.name if behaviors is not None and behaviors.answers == "openings" else ""
