"""From names of tasks to their items, once."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.decoding.rule import as_rule
from midspan.engine.capabilities import Need
from midspan.engine.server import EndpointConfig
from midspan.served import is_served, read_served
from midspan.studies.given import NOTHING, Given
from midspan.studies.servers import contact_all
from midspan.studies.tasks.config import TaskConfig, build_tasks
from midspan.studies.tasks.servers import ServedModel
from midspan.tasks import Task
from midspan.tasks.compare import check_same
from midspan.tasks.fit import How, settings_of
from midspan.tasks.served import needs_of_task, served_settings

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

        loaded, how = self.given.models, self.config.how
        models = dict.fromkeys(self.config.behind(spec)[0] for spec in self.config.models)
        families = {
            spec: loaded[spec].family if spec in loaded else check_spec(spec)
            for spec in models
            if not is_served(spec)
        }
        for task in self.tasks:
            settings = {
                spec: settings_of(families[spec], task, how)
                if spec in families
                else served_settings(task, how, read_served(spec).engine)
                for spec in models
            }
            check_same(settings)
        for one in self.servers.values():
            one.check(self.tasks)

    @cached_property
    def servers(self) -> dict[str, ServedModel]:
        """Models behind servers, by spec.

        Raises:
            MidspanError: A server's settings are wrong, or there is no such defence.
        """
        found = {}
        for spec in self.config.models:
            model, how = self.config.behind(spec)
            if is_served(model):
                config = EndpointConfig.from_spec(model, **self.config.servers.get(model, {}))
                rules = tuple(map(as_rule, how.overrides.get("rules", ())))
                found[spec] = ServedModel(spec, config, rules)
        return found

    def contact(self, folder: str | Path) -> None:
        """Ask the servers for a word, where the folder holds no replies yet.

        Raises:
            MidspanError: See `midspan.studies.servers.contact_all`.
        """
        asked = frozenset[Need]().union(*map(needs_of_task, self.tasks))
        models = {self.config.behind(spec)[0]: one for spec, one in self.servers.items()}
        contacts = {model: one.contact for model, one in models.items()}
        contact_all(contacts, folder, dict.fromkeys(models, asked))

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
