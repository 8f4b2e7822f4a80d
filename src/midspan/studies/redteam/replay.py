"""Replays of an earlier run: its attempts as cases of an attack, and how many of them transfer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midspan.attacks.replay import ReplayConfig, Replayed
from midspan.bounds import RateBounds
from midspan.data.artifacts import Artifact
from midspan.engine.capabilities import Capabilities, Need, lacks, needs_of
from midspan.engine.outcomes import won
from midspan.errors import MidspanError, not_one_of
from midspan.files import Record, user_path
from midspan.organism.worlds import world_of
from midspan.report import Cell, Table
from midspan.report.cells import rate_cell
from midspan.runs.folder import FinishedRun, reading
from midspan.studies.redteam.config import AttackSpec

REPLAY = "replay"  # the attack's name
REPLAYS_FILE = "replays.jsonl"
_KIND = "red-team"
_IN_PARTS = "its answer is put together of several responses"
_TAMPERED = "it changes the weights"
# Attacks whose judged text is not what the call in their records brought; records of parts and of
# changed weights say so themselves.
CHANGED: Mapping[str, str] = {
    "speakeasy": _IN_PARTS,
    "avatar": f"{_IN_PARTS}, with words turned back",
    "readout": "it reads likelihoods",
    "encodings": "its response is decoded",
    "post_context": "its response is cut off before the text behind it",
    "replay": "it is a replay itself",
}
# What of an attempt another call needs; the rest of a record is what came of it.
_ASKED = tuple(Replayed.model_fields)


@dataclass(frozen=True)
class Source:
    """A finished run, or an artifact of JailbreakBench, whose attempts are replayed.

    Attributes:
        run: The folder as it is read; of an artifact what a run would say.
        judge: Whose verdict says what won: the run's first.
        rows: Records by model and label.
    """

    run: FinishedRun
    judge: str
    rows: Mapping[tuple[str, str], list[Record]]

    @classmethod
    def open(cls, folder: str, field: str = "replay.run") -> "Source":
        """Read a run, or a JailbreakBench artifact.

        Args:
            folder: The run's; or the artifact, a .json file.
            field: What errors call it.

        Raises:
            MidspanError: It is no finished red-team run and no artifact, or is damaged.
        """
        if not folder:
            raise MidspanError(f"{field}: must be the folder of a finished red-team run")
        if user_path(folder).suffix == ".json":
            return cls._of_artifact(user_path(folder))
        run = FinishedRun.open(Path(folder))
        if run.info.get("kind") != _KIND:
            raise MidspanError(f"{field}: {folder} is no red-team run")
        rows: dict[tuple[str, str], list[Record]] = {}
        for record in run.rows("records.jsonl"):
            rows.setdefault((record["model"], record["attack_label"]), []).append(record)
        return cls(run, run.info["config"]["judges"][0], rows)

    @classmethod
    def _of_artifact(cls, path: Path) -> "Source":
        """The prompts found that an artifact holds; its behaviors are its own goals.

        The organism's behaviors are its world's, whose judge and helpers know them by name.
        """
        artifact = Artifact.read(path)
        judge, behaviors = artifact.own.get("judge", ""), artifact.own.get("behaviors", "")
        is_ours = isinstance(behaviors, str) and bool(world_of(behaviors))
        config = {"behaviors": behaviors if is_ours else str(path), "judges": [judge]}
        if is_ours and isinstance(artifact.own.get("seed"), int):
            config["seed"] = artifact.own["seed"]
        rows = {(artifact.spec, artifact.method): artifact_records(artifact)}
        return cls(FinishedRun(path, {"kind": _KIND, "config": config}), judge, rows)

    def chosen(self, config: ReplayConfig) -> tuple[str, str]:
        """Model and label of a row; what is not named must be the only one.

        Raises:
            MidspanError: There is none of this name, or several.
        """
        models = tuple(dict.fromkeys(model for model, _ in self.rows))
        labels = tuple(dict.fromkeys(label for _, label in self.rows))
        model = config.model or (models[0] if len(models) == 1 else "")
        label = config.attack or (labels[0] if len(labels) == 1 else "")
        for field, value, known in (("model", model, models), ("attack", label, labels)):
            if value not in known:
                raise not_one_of(f"replay.{field}", value, known)
        return model, label

    def cases(self, config: ReplayConfig) -> dict[str, tuple[Replayed, ...]]:
        """By behavior, the attempts of a row that are asked again.

        Raises:
            MidspanError: The row cannot be replayed, or is not there.
        """
        key = self.chosen(config)
        with reading(self.run.path):
            if reason := why_not(self.rows[key]):
                raise MidspanError(f"replay: {key[1]} cannot be replayed: {reason}")
            return {
                record["behavior"]: tuple(
                    _replayed(one) for one in best_attempts(record, self.judge)[: config.each]
                )
                for record in self.rows[key]
            }


def asked_fields(attempt: Record) -> dict[str, Any]:
    """Fields of an attempt that another call needs."""
    return {name: attempt[name] for name in _ASKED if name in attempt}


def artifact_records(artifact: Artifact) -> list[Record]:
    """An artifact's rows as records of a run; its judge is the one that the artifact names."""
    judge = artifact.own.get("judge", "")
    return [
        {
            "attack": artifact.own.get("attack", artifact.method),
            "behavior": one.behavior,
            "counts": "any",
            "lost": [],
            "outcome": {judge: "won" if one.jailbroken else "lost"},
            "attempts": []
            if not one.prompt
            else [
                {"messages": [{"role": "user", "content": one.prompt}], **one.own}
                | {"score": None, "verdicts": {judge: {"success": one.jailbroken}}}
            ],
        }
        for one in artifact.jailbreaks
    ]


def why_not(records: Sequence[Record], server: Capabilities | None = None) -> str:
    """Why a row of a run cannot be asked of another model; empty where it can.

    Args:
        records: Of the row.
        server: What the other model can be asked, where it is behind a server.
    """
    if reason := CHANGED.get(records[0]["attack"], ""):
        return reason
    attempts = [one for record in records for one in record["attempts"]]
    if any(one.get("parts") for one in attempts):
        return _IN_PARTS
    if any(one.get("tampering") for one in attempts):
        return _TAMPERED
    if server is None:
        return ""
    needs = frozenset[Need]().union(*(needs_of(_replayed(one).call) for one in attempts))
    missing = lacks(server, needs)
    return f"it needs {', '.join(missing)}, which the server does not give" if missing else ""


def _replayed(attempt: Record) -> Replayed:
    return Replayed(**asked_fields(attempt))


def best_attempts(record: Record, judge: str) -> list[Record]:
    """Attempts in the order in which they are worth another try: won, then by the attack's score.

    Equals keep their order; where the last one counts, the later goes first.
    """

    def worth(numbered: tuple[int, Record]) -> tuple[bool, float, int]:
        number, attempt = numbered
        score = -math.inf if attempt["score"] is None else attempt["score"]
        later = number if record["counts"] == "last" else -number
        return bool(attempt["verdicts"][judge].get("success")), score, later

    ranked = sorted(enumerate(record["attempts"]), key=worth, reverse=True)
    return [attempt for _, attempt in ranked]


def replay_rows(
    folder: str, server: Capabilities | None = None
) -> tuple[tuple[AttackSpec, ...], list[str]]:
    """A row for every row of a run that can be replayed, and why the others cannot.

    Args:
        folder: The run.
        server: What the new target can be asked, where it is behind a server.

    Raises:
        MidspanError: It is no finished red-team run, or nothing of it can be replayed.
    """
    source = Source.open(folder)
    several = len({model for model, _ in source.rows}) > 1
    specs, left_out = [], []
    for (model, label), records in source.rows.items():
        reason = why_not(records, server)
        if reason:
            left_out.append(f"{label}: {reason}")
            continue
        name = f"replay {label} of {model}" if several else f"replay {label}"
        fields = {"run": folder, "model": model, "attack": label}
        specs.append(AttackSpec(attack="replay", config=fields, label=name))
    if not specs:
        raise MidspanError(f"replay: nothing of {folder} can be replayed; {left_out[0]}")
    return tuple(specs), list(dict.fromkeys(left_out))


def source_fields(folder: str) -> dict[str, Any]:
    """What a run asked for, which its replay asks for too.

    Raises:
        MidspanError: It is no finished red-team run.
    """
    config = Source.open(folder).run.info["config"]
    names = ("behaviors", "column", "seed")
    return {name: config[name] for name in names if config.get(name) is not None}


def transfer_rows(spec: AttackSpec, records: Sequence[Record]) -> list[dict[str, Any]]:
    """For ``replays.jsonl``: of each behavior, whether the attack had won in the earlier run."""
    config = ReplayConfig(**spec.config)
    source = Source.open(config.run)
    model, label = source.chosen(config)
    before = {row["behavior"]: won(row, source.judge) for row in source.rows[model, label]}
    return [
        {"replay": spec.name, "from_model": model, "from_attack": label}
        | {"behavior": name, "had_won": before.get(name)}
        for name in dict.fromkeys(record["behavior"] for record in records)
    ]


def transfer_table(
    replays: Sequence[Record], cells: Mapping[tuple[str, str], Sequence[Record]], judge: str
) -> Table:
    """Of the behaviors that were won in the earlier run, the share that is won again.

    Args:
        replays: Lines of ``replays.jsonl``.
        cells: Records by model and label.
        judge: Who says what is won here.
    """
    rows: list[tuple[Cell | str, ...]] = []
    for name in dict.fromkeys(row["replay"] for row in replays):
        own = [row for row in replays if row["replay"] == name]
        had_won = {row["behavior"] for row in own if row["had_won"]}
        for (model, label), records in cells.items():
            if label != name:
                continue
            again = RateBounds.of(won(r, judge) for r in records if r["behavior"] in had_won)
            there = f"{len(had_won)} of {len(own)}"
            rate = rate_cell(again) if had_won else Cell("n/a", "n=0")
            rows.append((own[0]["from_attack"], own[0]["from_model"], model, there, rate))
    return Table(
        title="Transfer",
        columns=("Attack", "Found on", "Asked of", "won there", "of these, won here"),
        rows=tuple(rows),
        caption="What won there by that run's first judge, asked again in this study's decoding.",
        name="transfer",
    )
