"""`midspan.attack`: attacks on models, every attempt judged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.api.records import AttackRecord
from midspan.api.results import RunResult, by_name, few, picked
from midspan.api.runs import (
    Model,
    Models,
    call_text,
    listed,
    named,
    run_folder,
    split_fields,
    warn_of,
)
from midspan.errors import MidspanError
from midspan.yaml_file import group_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from midspan.data import BehaviorSet
    from midspan.engine.outcomes import Outcomes
    from midspan.engine.roles import Role
    from midspan.models import DiffusionLM
    from midspan.statistics import Estimate
    from midspan.studies.given import Given
    from midspan.studies.redteam.config import RedteamConfig


@dataclass(frozen=True, repr=False)
class AttackRun(RunResult[AttackRecord]):
    """Attacks on models, judged.

    Attributes:
        methods: Rows of the tables: attacks, or their labels.
        judges: Judges; the first one's rate leads.
    """

    methods: tuple[str, ...] = field(default=())
    judges: tuple[str, ...] = field(default=())

    def asr(
        self, method: str | None = None, model: str | None = None, judge: str | None = None
    ) -> "Estimate":
        """The attack success rate: behaviors won, of those won or lost; see `outcomes`.

        Args:
            method: One of `methods`; the first by default.
            model: One of `models`; the first by default.
            judge: One of `judges`; the first by default.

        Returns:
            A rate from 0 to 1 with its 95 % Wilson interval: `rate`, `low`, `high`, `n`.

        Raises:
            MidspanError: There is none of this name.
        """
        return self.outcomes(method, model, judge).asr

    def outcomes(
        self, method: str | None = None, model: str | None = None, judge: str | None = None
    ) -> "Outcomes":
        """The rate with all that is not known: what did not run, or could not be read.

        Args:
            method: See `asr`.
            model: See `asr`.
            judge: See `asr`.

        Returns:
            `asr`, and `least` and `most`: the rate if all that is not known were lost, or won.

        Raises:
            MidspanError: There is none of this name.
        """
        from midspan.engine.outcomes import Outcomes

        method = picked("method", method, self.methods)
        model = picked("model", model, self.models)
        judge = picked("judge", judge, self.judges)
        rows = [
            row for row in self.records if (row["attack_label"], row["model"]) == (method, model)
        ]
        return Outcomes.from_records(rows, judge)

    def summary(self) -> str:
        """The result in a few words."""
        rates = [
            f"{method} on {model} {self.outcomes(method, model)}"
            for method in self.methods
            for model in self.models
        ]
        return f"ASR by {self.judges[0]}: {few(rates)}"

    def _bar(self, method: str, model: str, judge: str) -> "Estimate":
        """The rate with what is not known lost; the interval reaches to where it were won."""
        from midspan.statistics import Estimate

        outcomes = self.outcomes(method, model, judge)
        least, most = outcomes.least, outcomes.most
        return Estimate(least.successes, least.n, least.low, most.high)

    @property
    def _figures(self) -> "dict[str, Figure]":
        """Attack success rates by method, a bar a model, for each judge."""
        from midspan.report import figures

        with figures.kept() as drawn:
            for judge in self.judges:
                series = [
                    (model, [self._bar(method, model, judge) for method in self.methods])
                    for model in self.models
                ]
                figures.bars(f"ASR by {judge}", self.methods, series, "ASR, %")
        return by_name(drawn)


def attack(
    models: "Model | Sequence[Model]",
    methods: str | Sequence[str] = (),
    *,
    behaviors: str | Path | Sequence[str] | None = None,
    judge: "str | Role | Sequence[str | Role] | None" = None,
    replay: str | Path | None = None,
    out: str | Path | None = None,
    **fields: Any,
) -> AttackRun:
    """Attack models and judge every attempt.

    On the organism attacks have its language and small sizes; elsewhere they have their papers'
    defaults, and behaviors and judges must be named.

    Examples:
        >>> lm = midspan.load("organism")
        >>> result = midspan.attack(lm, "tap", behaviors="organism:18", judge="exact")
        >>> print(result.asr())
        77.8 % [54.8, 91.0] n=18

    Args:
        models: Loaded models, adapters of `midspan.align`, or specs, also of
            servers (``openai:NAME``, ``URL#NAME``).
        methods: Attacks, one or several: "direct", "best_of_n", "pair", "tap", "avatar",
            "speakeasy", "aos", "pal", "ept", "dia", "advprefix". None where `replay` is given.
        behaviors: ``organism:N``, a data set such as ``advbench:100``, a file, or a list of
            requests; ``organism:18`` on the organism by default, those of the run that is
            replayed.
        judge: Names, such as "exact", "refusal-keywords" or ``strongreject=MODEL``, or judges as
            objects (`midspan.judges`); the first one's rate leads.
        replay: A finished run, such as the `folder` of a result: what it found is asked of these
            models, a row "replay NAME" for each of its attacks. What cannot be asked again is told
            in a warning.
        out: Run folder; a temporary one by default. The same call continues a run.
        **fields: `progress` (False for silence; by default bars on a terminal or in a notebook),
            `adaptive` (the variant aimed at the response's middle), `seed`, `budget` (target
            responses a behavior, or a mapping with fields of `Budget`), `decoding` (a mapping
            with fields of `DecodingConfig`), `helpers` (models by "attacker", "evaluator",
            "translator"), `proxies`, `batch_size`, `servers`, `calibrations`; and fields of the
            attacks' own configs, such as `depth`, or as ``tap={"depth": 3}``.

    Returns:
        The records, rates, tables and page of the run.

    Raises:
        MidspanError: One line that names the wrong field, or a folder of another run.
    """
    from midspan.runs.progress import library_output
    from midspan.studies.redteam.run import run_redteam

    started = time.monotonic()
    progress = fields.pop("progress", None)
    named_fields = {"behaviors": behaviors, "judge": judge, "replay": replay, "out": out, **fields}
    command = call_text("attack", models, methods, **named_fields)
    targets = named(models)
    if not methods and replay is None:
        raise MidspanError("methods: name an attack, or a finished run as replay")
    config, given = _prepared(targets, listed(methods), behaviors, judge, replay, fields)
    folder = run_folder(out, "attack")
    with library_output(progress):
        done = run_redteam(config, folder, command, given)
    warn_of(done.problems)
    if done.report is None:
        raise MidspanError("attack: several processes share a run by `midspan attack` alone")
    rows = tuple(spec.name for spec in config.attacks)
    return AttackRun(folder, targets.specs, time.monotonic() - started, rows, config.judges)


def _prepared(
    targets: Models,
    methods: list[str],
    behaviors: Any,
    judge: Any,
    replay: str | Path | None,
    fields: Mapping[str, Any],
) -> "tuple[RedteamConfig, Given]":
    """The config, and the objects that it cannot hold."""
    from midspan.studies.given import Given
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.redteam.presets import redteam_fields, replayed

    loaded, judges = dict(targets.loaded), {}
    fields = _routed(methods, dict(fields))
    adaptive = bool(fields.pop("adaptive", False))
    for name in ("helpers", "proxies"):
        if name in fields:
            fields[name] = _named(fields[name], loaded)
    chosen = redteam_fields(targets.specs[0], methods, adaptive, fields)
    chosen["models"] = targets.specs
    if replay is not None:
        chosen, left_out = replayed(chosen, fields, str(replay))
        warn_of([f"not replayed: {line}" for line in left_out])
    if "helpers" in fields:
        own = redteam_fields(targets.specs[0], methods, adaptive, {})["helpers"]
        chosen["helpers"] = own | fields["helpers"]
    if isinstance(chosen.get("budget"), int):
        chosen["budget"] = {"target": chosen["budget"]}
    if judge is not None:
        names = []
        for item in listed(judge):
            names.append(item if isinstance(item, str) else item.fingerprint)
            if not isinstance(item, str):
                judges[item.fingerprint] = item
        chosen["judges"] = tuple(names)
    requests = None
    if isinstance(behaviors, str | Path):
        chosen["behaviors"] = str(behaviors)
    elif behaviors is not None:
        requests = listed_behaviors(behaviors)
        chosen["behaviors"] = requests.name
    return RedteamConfig.model_validate(chosen), Given(loaded, judges, requests)


def _routed(methods: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of the attacks' configs under the attacks' names; those of the study as they are.

    Raises:
        MidspanError: A field belongs to neither.
    """
    from midspan.attacks import get_attack
    from midspan.studies.redteam.config import RedteamConfig

    configs = {method: get_attack(method).config.model_fields for method in methods}
    set_elsewhere = {"models", "attacks", "behaviors", "judges"}
    study = {*RedteamConfig.model_fields.keys(), "adaptive", *methods} - set_elsewhere
    kept, others = split_fields(fields, study)
    for name, value in others.items():
        takers = [method for method in methods if name in configs[method]]
        if not takers:
            known = sorted(study.union(*configs.values()) - set(methods))
            raise MidspanError(f"{name}: must be one of {', '.join(known)}")
        for method in takers:
            kept[method] = {name: value} | group_of(kept, method)
    return kept


def _named(value: Any, loaded: "dict[str, DiffusionLM]") -> Any:
    """Models by their names; those that are loaded are noted."""
    if isinstance(value, Mapping):
        return {role: _named(model, loaded)[0] for role, model in value.items()}
    models = named(value)
    loaded |= models.loaded
    return models.specs


def listed_behaviors(texts: Sequence[str]) -> "BehaviorSet":
    """Requests of the caller's own as a set; its name holds their hash, and tells it apart."""
    from midspan.data import Behavior, BehaviorSet
    from midspan.data.behaviors import content_hash
    from midspan.data.text import digest

    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise MidspanError("behaviors: must be a spec, a file, or a list of requests as text")
    if len(set(texts)) < len(texts):
        raise MidspanError("behaviors: the same request stands in the list twice")
    behaviors = tuple(Behavior(digest(text)[:12], text, source="list") for text in texts)
    sha256 = content_hash(behaviors)
    name = f"list:{len(texts)}:{sha256[:16]}"
    return BehaviorSet(name, behaviors, sha256, "licence unknown", "a list")
