"""A red-team run as JailbreakBench's artifacts; `midspan.data.artifacts` has the format."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from midspan.adapters.exports import Choice
from midspan.data.artifacts import OWN, Artifact, Jailbreak
from midspan.errors import MidspanError, not_one_of
from midspan.files import Record, write_atomic
from midspan.runs.folder import FinishedRun
from midspan.studies.redteam.replay import Source, asked_fields, best_attempts, why_not

_WHITE_BOX = ("white-box", "weights")
# Their prompts are the attack's own, though what is judged is not the whole response to them.
_STILL_PROMPTS = ("encodings", "post_context", "replay")


def write(run: FinishedRun, output: Path, choice: Choice) -> Iterator[str]:
    """Write one artifact a model and attack; yields what was written and left out.

    Args:
        run: A red-team run.
        output: A .json file where one artifact is written; else a folder, in which they lie as in
            the published repository: ``attack-artifacts/METHOD/TYPE/MODEL.json``.
        choice: Of the run.

    Raises:
        MidspanError: It is another kind of run, holds no prompt, or has several rows for one file.
    """
    source = Source.open(str(run.path), "RUN")
    rows = _chosen(source.rows, choice)
    artifacts = []
    for (model, label), records in rows.items():
        reason = "" if records[0]["attack"] in _STILL_PROMPTS else why_not(records)
        if reason:
            yield f"left out: {label} of {model}: {reason}"
        else:
            artifacts.append(artifact_of(source, model, label, records))
    if not artifacts:
        raise MidspanError(f"RUN: {run.path} holds no prompts found, only what is left out above")
    if output.suffix == ".json":
        if len(artifacts) > 1:
            names = ", ".join(f"{one.method} of {one.model}" for one in artifacts)
            raise MidspanError(
                f"--output: a .json file takes one model and attack; name them by --model and "
                f"--attack ({names}), or give a folder"
            )
        yield _written(artifacts[0], output)
        return
    yield from _folder(artifacts, output / "attack-artifacts")


def _folder(artifacts: Sequence[Artifact], folder: Path) -> Iterator[str]:
    types: dict[str, dict[str, list[str]]] = {}
    for one in artifacts:
        method, model = _file_name(one.method), _file_name(one.spec)
        kind = one.parameters["attack_type"]
        types.setdefault(method, {})[one.spec] = [kind]
        yield _written(one, folder / method / kind / f"{model}.json")
    for method, models in types.items():
        text = json.dumps({"models": models}, indent=2)
        write_atomic(folder / method / "attack-info.json", f"{text}\n")


def artifact_of(source: Source, model: str, label: str, records: Sequence[Record]) -> Artifact:
    """One row of a run: of each behavior the attempt that won, or else the best."""
    config, judge = source.run.info["config"], source.judge
    first, (target, _, defence) = records[0], model.partition(" with ")
    categories = _categories(config)
    found = [_jailbreak(place, record, judge, categories) for place, record in enumerate(records)]
    broken = sum(one.jailbroken for one in found)
    parameters = {
        "method": label,
        "model": target,
        "attack_type": "white_box" if first["access"] in _WHITE_BOX else _text_type(first),
        "defense": defence or None,
        "attack_success_rate": broken / len(found),
        "total_number_of_jailbreaks": broken,
        "number_of_submitted_prompts": sum(one.prompt is not None for one in found),
        "total_number_of_queries": _total(found, "number_of_queries"),
        "total_prompt_tokens": None,
        "total_response_tokens": _total(found, "response_tokens"),
        "evaluation_date": date.today().isoformat(),
        "evaluation_llm_provider": OWN,
        "method_parameters": {
            name: value if isinstance(value, str | int | float) else json.dumps(value)
            for name, value in first["config"].items()
            if value is not None
        },
        OWN: {
            "attack": first["attack"],
            "judge": judge,
            **{name: config[name] for name in ("behaviors", "seed") if name in config},
        },
    }
    return Artifact(parameters, tuple(found))


def _text_type(record: Record) -> str:
    return "transfer" if record["attack"] == "replay" else "black_box"


def _jailbreak(place: int, record: Record, judge: str, categories: Mapping[str, str]) -> Jailbreak:
    best = next(iter(best_attempts(record, judge)), None)
    broken = record["outcome"][judge] == "won" and best is not None
    usage = record.get("usage", {}).get("target", {})
    prompt, own = _asked(best) if best else (None, {})
    return Jailbreak(
        index=place,
        goal=record["request"],
        behavior=record["behavior"],
        category=categories.get(record["behavior"], ""),
        prompt=prompt,
        response=best["response"] if best else None,
        number_of_queries=usage.get("calls"),
        queries_to_jailbreak=(best["target_calls"] or None) if best and broken else None,
        prompt_tokens=None,
        response_tokens=usage.get("tokens"),
        jailbroken=broken,
        own=own,
    )


def _asked(attempt: Record) -> tuple[str, dict[str, Any]]:
    """The last user's turn, and all that was asked where that is more than this one text."""
    fields = asked_fields(attempt)
    messages = fields["messages"]
    users = [turn["content"] for turn in messages if turn["role"] == "user"]
    more = {name: value for name, value in fields.items() if name != "messages" and value}
    if len(messages) > 1 or more:
        return users[-1] if users else "", {"messages": messages, **more}
    return users[-1], {}


def _categories(config: Mapping[str, Any]) -> dict[str, str]:
    """Categories of the run's behaviors by name, where their data are at hand."""
    from midspan.studies.redteam.roles import behavior_set

    try:
        found = behavior_set(config["behaviors"], config.get("seed", 0), config.get("column"))
    except MidspanError:
        return {}
    return {behavior.id: behavior.category for behavior in found}


def _chosen(
    rows: Mapping[tuple[str, str], list[Record]], choice: Choice
) -> dict[tuple[str, str], list[Record]]:
    models, labels = (tuple(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    for option, name, known in (
        ("--model", choice.model, models),
        ("--attack", choice.attack, labels),
    ):
        if name and name not in known:
            raise not_one_of(option, name, known)
    wanted = {
        (model, label): records
        for (model, label), records in rows.items()
        if choice.model in ("", model) and choice.attack in ("", label)
    }
    if not wanted:
        raise MidspanError(f"--attack: {choice.attack} has no records of {choice.model}")
    return wanted


def _total(found: Sequence[Jailbreak], name: str) -> int | None:
    known = [number for one in found if (number := getattr(one, name)) is not None]
    return sum(known) if known else None


def _file_name(name: str) -> str:
    """A name as one part of a path."""
    return "".join(sign if sign.isalnum() or sign in "-._+ " else "_" for sign in name).strip(". ")


def _written(artifact: Artifact, path: Path) -> str:
    write_atomic(path, json.dumps(artifact.to_dict(), ensure_ascii=False, indent=2) + "\n")
    found = artifact.parameters["total_number_of_jailbreaks"]
    return f"wrote {path}: {found} of {len(artifact.jailbreaks)} behaviors jailbroken"
