"""What the runs of native_table.py came to, as lines of a file that outlives their folders.

A line holds one group of attacks on one model of one training seed: by attack and behavior whether
it was won and how many facts were told. So any rate, union or interval over seeds can be made
again, and a later run on another machine continues the tables.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args

from midspan.bounds import Span, any_of
from midspan.engine.attack import Access
from midspan.engine.outcomes import chance_of_facts, facts, won
from midspan.errors import MidspanError
from midspan.organism.world import NUM_FACTS
from midspan.runs.folder import FinishedRun
from midspan.studies.redteam.config import AttackSpec

JUDGE = "exact"
STORE = Path(__file__).parent / "results" / "native_table.jsonl"
_MARKS = {True: "1", False: "0", None: "?"}
_OUTCOMES = {mark: outcome for outcome, mark in _MARKS.items()}
# Of a run's config, what is no part of the question put to its model.
_NOT_ASKED = ("models", "attacks", "labels")
Record = Mapping[str, Any]


class Tally(NamedTuple):
    """One attack on one model of one training seed, behaviors in the order of their names.

    Attributes:
        won: By behavior; None is not known.
        facts: By behavior, the share told, at the least and at the most.
        chance: The mean share that chance brings.
        access: The most that was used of the target.
        settings: Digest of what was asked and how; only equal ones are pooled.
    """

    won: tuple[bool | None, ...]
    facts: tuple[Span, ...]
    chance: float
    access: str = ""
    settings: str = ""

    @classmethod
    def of(cls, records: Iterable[Record], settings: str = "") -> Self:
        """From records of one attack on one model."""
        rows = sorted(records, key=lambda record: str(record["behavior"]))
        return cls(
            tuple(won(row, JUDGE) for row in rows),
            tuple(facts(row, JUDGE) for row in rows),
            chance_of_facts(rows, JUDGE),
            max((row["access"] for row in rows), key=get_args(Access).index),
            settings,
        )

    def as_fields(self) -> dict[str, Any]:
        """For a line: facts as their number where it is known, else as two."""
        return {
            "access": self.access,
            "won": "".join(_MARKS[outcome] for outcome in self.won),
            "facts": [_count(span) for span in self.facts],
            "chance": round(self.chance, 5),
            "settings": self.settings,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The reverse."""
        return cls(
            tuple(_OUTCOMES[mark] for mark in fields["won"]),
            tuple(_span(count) for count in fields["facts"]),
            fields["chance"],
            fields["access"],
            fields["settings"],
        )


class Run(NamedTuple):
    """One group of attacks on one model of one training seed.

    Attributes:
        model: Its objective, or the Original's name.
        seed: Of its training.
        group: Of attacks.
        attacks: By name.
        spent: CPU seconds, processor and revision.
    """

    model: str
    seed: int
    group: str
    attacks: Mapping[str, Tally]
    spent: Mapping[str, Any]

    @classmethod
    def read(cls, note: Path) -> Self:
        """From a finished run's folder, by the note of native_table.py in it."""
        info, run = json.loads(note.read_text()), FinishedRun.open(note.parent)
        asked = _asked(run.info["config"])
        by_attack: dict[str, list[Record]] = {}
        for record in run.rows("records.jsonl"):
            by_attack.setdefault(record["attack_label"], []).append(record)
        attacks = {
            name: Tally.of(records, asked.get(name, "")) for name, records in by_attack.items()
        }
        spent = {name: info[name] for name in ("cpu_seconds", "cpu")}
        spent["revision"] = run.info.get("git", "")
        return cls(info["model"], info["seed"], info["group"], attacks, spent)

    @property
    def key(self) -> tuple[str, str, int]:
        """What another run of the same replaces."""
        return self.group, self.model, self.seed

    @property
    def any_won(self) -> tuple[bool | None, ...]:
        """By behavior, whether any attack won it."""
        every = (tally.won for tally in self.attacks.values())
        return tuple(any_of(outcomes) for outcomes in zip(*every, strict=True))

    def as_line(self) -> str:
        """JSON."""
        attacks = {name: tally.as_fields() for name, tally in self.attacks.items()}
        return json.dumps({**self._asdict(), "attacks": attacks, "spent": dict(self.spent)})

    @classmethod
    def from_line(cls, line: str) -> Self:
        """The reverse."""
        fields = json.loads(line)
        tallies = {name: Tally.from_fields(own) for name, own in fields["attacks"].items()}
        return cls(**fields | {"attacks": tallies})


def read_store(store: Path) -> list[Run]:
    """All lines; none where there is no file yet."""
    if not store.is_file():
        return []
    return [Run.from_line(line) for line in store.read_text(encoding="utf-8").splitlines()]


def update_store(store: Path, folder: Path) -> list[Run]:
    """Put every finished run of a folder in place of its line, and return all.

    Raises:
        MidspanError: A run asked something else than a stored run of another model or seed.
    """
    known = {run.key: run for run in read_store(store)}
    for note in sorted(folder.glob("*/*/table.json")):
        run = Run.read(note)
        known[run.key] = run
    runs = [known[key] for key in sorted(known)]
    _check_settings(runs)
    if runs:
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text("".join(f"{run.as_line()}\n" for run in runs), encoding="utf-8")
    return runs


def _check_settings(runs: Sequence[Run]) -> None:
    first: dict[str, tuple[str, Run]] = {}
    for run in runs:
        for name, tally in run.attacks.items():
            settings, other = first.setdefault(name, (tally.settings, run))
            if settings != tally.settings:
                raise MidspanError(
                    f"{name}: {run.model}, seed {run.seed}, was asked under other settings than "
                    f"{other.model}, seed {other.seed}; run both again, or take one's line out"
                )


def _asked(config: Mapping[str, Any]) -> dict[str, str]:
    """By row, a digest of its settings and of those of the whole study."""
    shared = {name: value for name, value in config.items() if name not in _NOT_ASKED}
    return dict(_digests(shared, config.get("attacks", ())))


def _digests(shared: Record, rows: Iterable[Record]) -> Iterator[tuple[str, str]]:
    for row in rows:
        text = json.dumps([shared, row], sort_keys=True)
        yield AttackSpec.model_validate(row).name, hashlib.sha256(text.encode()).hexdigest()[:12]


def _count(span: Span) -> float | list[float]:
    least, most = (round(NUM_FACTS * end, 3) for end in span)
    if least != most:
        return [least, most]
    return int(least) if least.is_integer() else least


def _span(count: float | Sequence[float]) -> Span:
    least, most = (count, count) if isinstance(count, int | float) else count
    return Span(least / NUM_FACTS, most / NUM_FACTS)
