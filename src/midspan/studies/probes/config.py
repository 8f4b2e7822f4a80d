"""A probe as users ask for it: which one, of which models, with which requests."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from midspan.errors import MidspanError, not_one_of
from midspan.frozen import FrozenConfig
from midspan.organism.worlds import check_one_world, is_organism, world_in
from midspan.probes.context import ProbeConfig, ProbeData
from midspan.served import is_served
from midspan.studies.probes.data import by_noun, file_data, organism_data
from midspan.studies.probes.registry import PROBES
from midspan.studies.probes.served import check_served, sent_to_servers
from midspan.yaml_file import group_of


class ProbeSpec(FrozenConfig):
    """One probe; fields that are None take the probe's own value.

    Attributes:
        probe: Its name.
        models: Specs, in the order of the tables.
        request_kinds: Kinds of the organism's own requests.
        harmful: File or registered set of harmful requests, for other models.
        benign: The same of benign ones.
        mixed: The same of harmless requests that only mention what is refused.
        phrases: JSON file of phrases.
        column: Column of the requests in files of one's own, or several of which each has one.
        n: Requests of each kind.
        judge: Of responses to harmful requests, on models other than the organism; None for
            keywords of refusal.
        servers: Fields of `EndpointConfig` of the models' and the judge's servers, by spec. They do
            not change what is said, so that a run goes on under others.
        fields: Of the probe's config.
        decoding: Fields of a `DecodingConfig` that replace the family's.
        batch_size: Rows that go through a model together.
        seed: Of requests, phrases and controls.
    """

    probe: str
    models: tuple[str, ...] = Field(min_length=1)
    request_kinds: tuple[str, ...] | None = None
    harmful: str | None = None
    benign: str | None = None
    # Left out where it is not given, so that folders of earlier runs stay theirs.
    mixed: str | None = Field(None, exclude_if=lambda mixed: mixed is None)
    phrases: Path | None = None
    judge: str | None = Field(None, exclude_if=lambda judge: judge is None)
    servers: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)
    column: str | tuple[str, ...] | None = None
    n: int | None = Field(None, ge=1)
    fields: dict[str, Any] = Field(default_factory=dict)
    decoding: dict[str, Any] = Field(default_factory=dict)
    batch_size: int | None = Field(None, ge=1)
    seed: int = 0

    @field_validator("probe")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in PROBES:
            raise not_one_of("", name, PROBES)
        return name

    @field_validator("models")
    @classmethod
    def _differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError("the same model is named twice")
        return models

    @model_validator(mode="after")
    def _has_use_for_a_judge(self) -> Self:
        if self.judge is not None and not PROBES[self.probe].takes_judge:
            names = ", ".join(name for name, probe in PROBES.items() if probe.takes_judge)
            raise ValueError(f"judge: {self.probe} rates no responses; {names} do")
        if self.judge is not None and self.on_organism:
            raise ValueError("judge: the organism has its exact judge; leave it out")
        return self

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if any(map(is_served, self.models)):
            check_served(self.probe, self.config(), self.models, self.servers)
            sent_to_servers(self.decoding, self.models)
        return self

    @property
    def on_organism(self) -> bool:
        """Whether the models are organisms, which bring their own requests and judge."""
        return is_organism(self.models[0])

    @property
    def rows(self) -> int:
        """Rows that go through a model together."""
        return self.batch_size or PROBES[self.probe].batch_size

    def config(self) -> ProbeConfig:
        """The probe's own settings.

        Raises:
            MidspanError: It has no such field or value.
        """
        probe = PROBES[self.probe]
        config_class = probe.resolve("config")
        own = probe.organism_fields if self.on_organism else {}
        fields: dict[str, Any] = {"seed": self.seed} if "seed" in config_class.model_fields else {}
        fields |= {**own, **self.fields}
        if self.probe == "gcg":
            search = {"steps": 100, **own.get("search", {})}
            search |= {"seed": self.seed, "batch_size": self.rows}
            fields["search"] = search | group_of(self.fields, "search")
        return config_class.model_validate(fields)

    def data(self) -> ProbeData:
        """What is asked, by whom it is judged.

        Raises:
            MidspanError: A file cannot be read, or a kind of request is missing.
        """
        probe = PROBES[self.probe]
        n = self.n or probe.n
        own, world = [is_organism(model) for model in self.models], world_in(self.models[0])
        if any(own) != all(own):
            raise MidspanError("models: the organism speaks of another world; probe it on its own")
        check_one_world(world, "models", self.models)
        files = (self.harmful, self.benign, self.mixed, self.phrases)
        own_world = all(own) and not any(files)
        if probe.data:
            return self._own_data(n, own_world)
        if own_world:
            kinds = self.request_kinds or probe.request_kinds
            data = organism_data(kinds, n, self.seed, probe.held_in, world)
            data = by_noun(data, world) if probe.by_noun else data
        else:
            data = file_data(self.harmful, self.benign, self.phrases, n, self.seed, self.column)
        for kind in ("harmful", "benign"):
            if kind in probe.needs and not getattr(data, kind):
                raise _missing(kind)
        if not data.requests:
            raise MidspanError("harmful, benign: give a file or set of requests for one at least")
        return data

    def _own_data(self, n: int, own_world: bool) -> ProbeData:
        """What a probe asks that makes its requests itself."""
        probe = PROBES[self.probe]
        for kind in () if own_world else probe.needs:
            if getattr(self, kind) is None:
                raise _missing(kind)
        data: ProbeData = probe.resolve("data")(self, self.config(), n, own_world)
        return data


def _missing(kind: str) -> MidspanError:
    option = {"harmful": "--behaviors"}.get(kind, f"--{kind}")
    return MidspanError(
        f"{kind} ({option}): give a file of {kind} requests, or a set of `midspan data`"
    )
