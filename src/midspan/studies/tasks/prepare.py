"""From names of tasks to their items, once."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from midspan.studies.given import NOTHING, Given
from midspan.studies.tasks.config import TaskConfig, build_tasks
from midspan.tasks import Task
from midspan.tasks.compare import check_same
from midspan.tasks.fit import How, settings_of

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class PreparedTasks:
    """Tasks with their items, for models that may not exist yet.

    Attributes:
        config: As users wrote it.
        tasks: In its order.
        given: What the caller had in hand.
    """

    config: TaskConfig
    tasks: tuple[Task, ...]
    given: Given = NOTHING

    def check_models(self) -> None:
        """Refuse, before weights are read, models on which the tasks cannot be run.

        Raises:
            MidspanError: A model or its adapter is missing or wrong, or the models would decode
                differently.
        """
        from midspan.models import check_spec

        loaded = self.given.models
        models = dict.fromkeys(self.config.behind(spec)[0] for spec in self.config.models)
        families = {
            spec: loaded[spec].family if spec in loaded else check_spec(spec) for spec in models
        }
        for task in self.tasks:
            settings = {
                spec: settings_of(family, task, self.config.how)
                for spec, family in families.items()
            }
            check_same(settings)

    def load(self, spec: str) -> "tuple[DiffusionLM, How]":
        """A model under the name of its spec, and how it is asked.

        Raises:
            MidspanError: It cannot be loaded.
        """
        model, how = self.config.behind(spec)
        lm = self.given.load(model)
        return (lm if model == spec else replace(lm, name=spec)), how

    def on(self, *models: str) -> "PreparedTasks":
        """The same tasks for other models."""
        return replace(self, config=self.config.model_copy(update={"models": models}))


def prepare(config: TaskConfig, given: Given = NOTHING) -> PreparedTasks:
    """Build every task.

    Args:
        config: What is asked of which models.
        given: Models that the caller has loaded, and the judge that the config names.

    Raises:
        MidspanError: Data are missing or wrong, code cannot be isolated, or a judge is missing.
    """
    return PreparedTasks(config, tuple(build_tasks(config, given)), given)
