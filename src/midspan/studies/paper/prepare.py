"""From the study's names to objects, once: training data and parts that can start."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from midspan.errors import MidspanError, not_one_of
from midspan.studies.paper.config import PaperConfig, PartConfig, with_model_paths
from midspan.studies.paper.metrics import metrics
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.probes.prepare import PreparedProbe
from midspan.studies.probes.prepare import prepare as prepare_probe
from midspan.studies.redteam.ask import with_harm_judge
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.redteam.prepare import prepare as prepare_redteam
from midspan.studies.redteam.roles import with_refusal_judge
from midspan.studies.tasks.prepare import PreparedTasks
from midspan.studies.tasks.prepare import prepare as prepare_tasks
from midspan.studies.training import load_training_data

if TYPE_CHECKING:
    from midspan.alignment import AlignmentData

PreparedPart: TypeAlias = PreparedRedteam | PreparedProbe | PreparedTasks


@dataclass(frozen=True)
class PreparedPaper:
    """A study whose names all mean something.

    Attributes:
        config: As users wrote it.
        folder: Its run folder.
        data: What the recipes learn from; None where none of them was asked for.
        parts: What is measured, by name, with models as they are loaded.
    """

    config: PaperConfig
    folder: Path
    data: "AlignmentData | None"
    parts: Mapping[str, PreparedPart]


def prepare(
    config: PaperConfig, folder: Path, only: Collection[str] | None = None
) -> PreparedPaper:
    """Read data sets and names; models may not exist yet.

    Args:
        config: The study.
        folder: Its run folder.
        only: Parts and labels of recipes; None for all.

    Raises:
        MidspanError: Naming the part and its field.
    """
    known = metrics(config)
    for hypothesis in config.hypotheses:
        if hypothesis.metric not in known:
            raise not_one_of("hypotheses.metric", hypothesis.metric, known)
    names = {*config.trainings, *config.parts} if only is None else set(only)
    trained = names & set(config.trainings)
    data = load_training_data(config.data, config.base) if trained else None
    if data is not None:
        from midspan.alignment import check_data

        for name in sorted(trained):
            check_data(data, config.trainings[name])
    specs = config.specs(folder)
    parts = {}
    for name, part in config.parts.items():
        if name in names:
            try:
                parts[name] = _prepare_part(with_model_paths(part, specs), folder / name)
            except MidspanError as error:
                raise MidspanError(f"{name}: {error}") from error
    _check_planned(config, parts)
    return PreparedPaper(config, folder, data, parts)


def _check_planned(config: PaperConfig, parts: Mapping[str, PreparedPart]) -> None:
    """Refuse claims that could get no verdict, whatever their parts measure."""
    known = metrics(config)
    for hypothesis in config.hypotheses:
        part, _, cases = known[hypothesis.metric]
        if part in parts and (given := cases(parts[part])) < hypothesis.n:
            raise MidspanError(
                f"hypotheses.n: {hypothesis.n} cases are planned for {hypothesis.metric}, and "
                f"{part} has {given}; give {part} more to ask, or lower n"
            )


def _prepare_part(part: PartConfig, folder: Path) -> PreparedPart:
    if isinstance(part, RedteamConfig):
        return prepare_redteam(part)
    if isinstance(part, ProbeSpec):
        return prepare_probe(
            part, with_harm_judge(part.judge, part.servers, folder, others=part.models)
        )
    return prepare_tasks(part, with_refusal_judge(part.judge, part.servers))
