"""A run folder: whose it is, what it holds, and safe ways to write to it."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from midspan.errors import MidspanError
from midspan.files import (
    PRIVATE_FOLDER,
    advised,
    disk,
    make_private,
    read_jsonl,
    read_object,
    write_atomic,
)
from midspan.frozen import changes, first_change
from midspan.journal.journal import Journal, is_locked
from midspan.journal.ranks import ALONE, check_unsharded, open_journal, this_rank, wait_for_all
from midspan.runs.machine import git_revision, hardware, versions

RUN_FILE = "run.json"
_FIELDS: dict[str, type[Any]] = {
    "kind": str, "dataset": str, "config": dict, "command": str, "versions": dict,
    "hardware": dict, "git": str, "processes": list,
}  # fmt: skip
# Fields of records that are true, false or null, in whatever kind of run.
_TRUTHS = frozenset({"coherent", "complied", "helped", "ran", "refusal", "refused", "success"})


class RunFolder:
    """One study's folder; opening it again continues the study. Each rank has its own journal.

    Every process of a run opens it before it writes anything: that accepts the configuration.
    A folder in which nothing has been recorded yet, and nobody is at work, takes another one.

    ``command`` is what started it, by default the program's own command line; ``kind`` names the
    study, for whoever reads the folder later (`midspan.runs.kinds`), and ``dataset`` says in a
    line what is asked.

    Raises:
        MidspanError: The folder holds a run of another configuration, or cannot be written, or the
            launcher was told to shard models.
    """

    def __init__(
        self,
        path: str | Path,
        config: Mapping[str, Any],
        command: str = "",
        kind: str = "",
        dataset: str = "",
    ) -> None:
        self.path = Path(path)
        check_unsharded()
        self.info = {
            "kind": kind,
            "dataset": dataset,
            "config": json.loads(json.dumps(config)),
            "command": command or command_line(),
            "versions": versions(),
            "hardware": hardware(),
            "git": git_revision(),
        }
        self.rank = this_rank()
        self.info["processes"] = [self.rank.count]
        self._claim()

    @cached_property
    def journal(self) -> Journal:
        """This process's journal, opened when it is first wanted."""
        return open_journal(self.path, self.rank)

    def gather(self) -> bool:
        """Close the journal and wait for all processes; the first one then goes on alone.

        Returns:
            Whether this is the first process: its journal now holds what all have computed.
        """
        self.journal.close()
        wait_for_all()
        is_first = self.rank.index == 0
        self.rank = ALONE
        if is_first:
            self.journal = open_journal(self.path, ALONE)
        return is_first

    @property
    def _is_in_use(self) -> bool:
        """Whether a run that has recorded nothing yet is at work here."""
        # The other processes of this launch may have their journals open already.
        pattern = "journal*.jsonl" if self.rank.count == 1 else "journal.jsonl"
        return any(map(is_locked, self.path.rglob(pattern)))

    def _claim(self) -> None:
        file, info = self.path / RUN_FILE, self.info
        with disk("cannot write to", self.path):
            _make_folder(self.path)
            is_there = file.exists()
        if is_there:
            stored = _read_info(file)
            changed = changes(stored.get("config"), self.info["config"])
            # A file of requests keeps its name when what is in it changes.
            if stored.get("dataset") and info["dataset"]:
                changed += changes({"data": stored["dataset"]}, {"data": info["dataset"]})
            if changed and (_is_recorded(self.path) or self._is_in_use):
                made = stored.get("command")
                origin = f" It was made by: {made}" if made else ""
                raise MidspanError(
                    f"{self.path} holds a run of another configuration ({first_change(changed)}); "
                    f"choose another -o folder or delete it.{origin}"
                )
            stored = {} if changed else stored
            # The first command's word stands; an earlier midspan may have said less.
            info = info | {name: value for name, value in stored.items() if value}
            numbers = {*stored.get("processes", ()), self.rank.count}
            info = info | {"processes": sorted(numbers)}
            if info == stored:
                return
        write_atomic(file, json.dumps(info, indent=1))


def _make_folder(path: Path) -> None:
    """A folder that its owner alone can read; one that holds other things is not closed."""
    try:
        path.mkdir(PRIVATE_FOLDER, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        if (path / RUN_FILE).exists() or not any(path.iterdir()):
            make_private(path)


def _is_recorded(path: Path) -> bool:
    """Whether a folder, or one within, holds more than configurations and empty journals."""
    files = (file for file in path.rglob("*") if file.name != RUN_FILE and file.is_file())
    return any(file.stat().st_size for file in files)


def _read_info(file: Path) -> dict[str, Any]:
    """What a run.json says; fields that an earlier midspan did not write are missing.

    Raises:
        MidspanError: It is cut, damaged or another program's.
    """
    remedy = "delete it, and the command that began the run goes on with what the journal holds"
    info = read_object(file, remedy)
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(info.get(name, kind()), kind)]
    wrong += [name for name in ("config",) if name not in info]
    if not wrong and not all(type(number) is int for number in info.get("processes", ())):
        wrong = ["processes"]
    if wrong:
        raise MidspanError(
            f"{file} is damaged: {wrong[0]} is missing or of the wrong type; {remedy}"
        )
    return info


def is_begun(path: Path) -> bool:
    """Whether a folder holds replies of a run, be it finished or not."""
    return any(file.stat().st_size for file in path.glob("journal*.jsonl"))


@dataclass(frozen=True)
class FinishedRun:
    """A run folder as it is read, long after and maybe on another machine.

    Attributes:
        path: The folder.
        info: What ``run.json`` says, with its models by their labels.
        names: Labels by model spec; a model without one is called as it was given.
        specs: The models as they were given.
    """

    path: Path
    info: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    specs: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path, names: Mapping[str, str] | None = None) -> "FinishedRun":
        """Read ``run.json``.

        Raises:
            MidspanError: It is no run folder, or its run did not come to its end.
        """
        file, names = Path(path) / RUN_FILE, names or {}
        if not file.exists():
            raise MidspanError(f"{path} is no run folder: {file.name} is missing")
        info = _read_info(file)
        config = info["config"]
        with reading(path):
            _check_specs(config)
            labelled = info | {"config": _labelled(config, names)}
            run = cls(Path(path), labelled, names, tuple(config.get("models", ())))
        if not (run.path / "records.jsonl").is_file():
            raise MidspanError(
                f"{path} is not finished; continue it with: {run.info.get('command')}"
            )
        return run

    @property
    def origin(self) -> dict[str, str]:
        """How it came about, for a report's settings."""
        return {
            "command": self.info.get("command", ""),
            **{f"version: {name}": text for name, text in self.info.get("versions", {}).items()},
            **self.info.get("hardware", {}),
            "source revision": self.info.get("git", ""),
            **self._continued,
        }

    @property
    def _continued(self) -> dict[str, str]:
        """A word on runs that were continued by another number of processes, in other batches."""
        numbers = self.info.get("processes", ())
        if len(numbers) < 2:
            return {}
        listed = " and ".join(map(str, numbers))
        shapes = (self.info["config"].get("decoding") or {}).get("shapes", "ragged")
        if shapes != "ragged":
            return {"processes": f"{listed}; rows are invariant, shapes={shapes}"}
        return {"processes": f"{listed}; in half precision the same study to rounding only"}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The lines of one of its JSONL files, with their models by their labels.

        Raises:
            MidspanError: It is missing or damaged.
        """
        with advised(f"the command that made the run writes it anew: {self.info.get('command')}"):
            rows = read_jsonl(self.path / name)
        with reading(self.path):
            for row in rows:
                _check_truths(row)
                if row.get("model") in self.names:
                    row["model"] = self.names[row["model"]]
        return rows


def _check_specs(config: Mapping[str, Any]) -> None:
    """Refuse models that are no list of names: a text would be read letter by letter."""
    for name in ("models", "proxies"):
        specs = config.get(name, [])
        if not (isinstance(specs, list) and all(isinstance(spec, str) for spec in specs)):
            raise TypeError(f"config.{name} is {specs!r:.60}, not a list of names")


def _check_truths(row: Mapping[str, Any]) -> None:
    """Refuse a verdict that is no truth value: any text would count as true."""
    verdict = row.get("verdict")
    for fields in (row, verdict if isinstance(verdict, dict) else {}):
        for name in _TRUTHS & fields.keys():
            value = fields[name]
            if not (value is None or isinstance(value, bool)):
                raise TypeError(f"{name} is {value!r:.60}, not true, false or null")


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Within the context, what a damaged run folder causes becomes a `MidspanError`.

    Args:
        folder: Of a finished run, which somebody may have edited or copied in part.
    """
    try:
        yield
    except MidspanError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        reason = f"hold no {reason}" if isinstance(error, KeyError) else f"are damaged: {reason}"
        raise MidspanError(
            f"{folder}: its run.json or records {reason}; the command that made the run writes its "
            "records anew"
        ) from error


def _labelled(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A configuration with labels where it names targets and proxies."""
    changed: dict[str, Any] = {
        name: [names.get(spec, spec) for spec in config[name]]
        for name in ("models", "proxies")
        if name in config
    }
    if "paper_models" in config:
        pairs = config["paper_models"].items()
        changed["paper_models"] = {names.get(spec, spec): model for spec, model in pairs}
    return {**config, **changed}


def differences(found: Any, wanted: Any, name: str = "config") -> str:
    """The dotted names of the fields that differ, joined by commas; empty when none do."""
    return ", ".join(map(str, changes(found, wanted, name)))


def command_line() -> str:
    """What started this process, as one types it: a midspan command, or a Python program."""
    program, *arguments = sys.argv
    name = Path(program).name
    is_ours = name in ("midspan", "midspan.exe", "cli.py")
    return shlex.join(["midspan" if is_ours else name, *arguments])
