"""A finished red-team study, as its page reads it."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from pydantic_core import to_json

from midspan.bounds import RateBounds
from midspan.engine.outcomes import Outcomes, counting_judges, scoring_judges, union
from midspan.files import Record
from midspan.judges.calibration import Calibration
from midspan.runs.folder import FinishedRun
from midspan.studies.redteam.config import AttackSpec, RedteamConfig


class View(NamedTuple):
    """A study's config and records, as the tables read them."""

    config: RedteamConfig
    records: Mapping[tuple[str, str], Sequence[Record]]
    calibrations: Mapping[str, Calibration]

    @classmethod
    def open(cls, run: FinishedRun) -> "View":
        """Read a study's folder."""
        config = RedteamConfig.model_validate(run.info["config"])
        records: dict[tuple[str, str], list[Record]] = {
            (model, spec.name): [] for model in config.models for spec in config.attacks
        }
        for row in run.rows("records.jsonl"):
            records[row["model"], row["attack_label"]].append(row)
        kept = run.rows("calibrations.jsonl") if config.calibrations else []
        return cls(
            config, records, {row["name"]: Calibration.from_fields(row["counts"]) for row in kept}
        )

    @property
    def scoring_judges(self) -> tuple[str, ...]:
        """Judges that give StrongREJECT's own score, in the study's order."""
        found = scoring_judges([row for rows in self.records.values() for row in rows])
        return tuple(judge for judge in self.config.judges if judge in found)

    @property
    def counting_judges(self) -> tuple[str, ...]:
        """Judges that count single facts, in the study's order."""
        found = counting_judges([row for rows in self.records.values() for row in rows])
        return tuple(judge for judge in self.config.judges if judge in found)

    @property
    def cells(self) -> Sequence[tuple[AttackSpec, str]]:
        """Every attack with every model."""
        return list(product(self.config.attacks, self.config.models))

    def of(self, model: str, spec: AttackSpec) -> Sequence[Record]:
        """Records of one cell."""
        return self.records[model, spec.name]

    def settings_of(self, spec: AttackSpec) -> str:
        """The attack's whole config, which its records hold."""
        return to_json(self.of(self.config.models[0], spec)[0]["config"]).decode()

    def outcomes(self, model: str, spec: AttackSpec, judge: str) -> Outcomes:
        """What one cell came to."""
        return Outcomes.from_records(self.of(model, spec), judge)

    def union(self, model: str, judge: str) -> RateBounds:
        """Behaviors that any attack wins."""
        rows = [row for spec in self.config.attacks for row in self.of(model, spec)]
        return union(rows, judge)
