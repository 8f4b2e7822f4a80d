"""midspan's tasks in inspect: the audit's chat battery, and over-refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from midspan.adapters.inspect.attack import midspan_attack
from midspan.adapters.inspect.judges import METRICS, asr, judge_role, midspan_judge
from midspan.adapters.inspect.judging import answered, behavior_of, judge_one, of_answer
from midspan.adapters.inspect.roles import in_thread
from midspan.adapters.inspect.turns import turns
from midspan.data.behaviors import Behavior, BehaviorSet
from midspan.errors import MidspanError, not_one_of
from midspan.organism.worlds import WORLDS, room, world_of
from midspan.tasks.task import Item
from midspan.tasks.task import Task as OwnTask

_TIERS = ("quick", "standard", "full")


def sample_of(behavior: Behavior, **metadata: Any) -> Sample:
    """A behavior as inspect's sample."""
    told = {name: value for name, value in asdict(behavior).items() if value}
    return Sample(id=behavior.id, input=behavior.prompt, metadata={**metadata, "behavior": told})


@task
def audit(
    behaviors: str = "organism:18",
    attacks: str | list[str] | None = None,
    tier: str = "quick",
    judge: str | None = None,
    budget: int | None = None,
    seed: int = 0,
) -> Task:
    """The audit's attacks that need chat access alone, each on each behavior.

    Args:
        behaviors: ``organism:N``, a data set such as ``advbench:100``, or a file.
        attacks: Some of the battery's rows; all of the tier's by default.
        tier: quick, standard or full; see docs/audit.md.
        judge: Decides what has fallen; "exact" on the organism, else the rubric "strongreject"
            over the model role "grader".
        budget: Responses of the target to an attack on one behavior.
        seed: Of all draws.
    """
    from midspan.studies.redteam.roles import behavior_set

    wanted = behavior_set(behaviors, seed)
    is_ours = bool(world_of(behaviors))
    rows = _battery(tier, is_ours, attacks)
    samples = [
        sample_of(behavior, attack=name, attack_row=row).model_copy(
            update={"id": f"{name}/{behavior.id}"}
        )
        for name, row in rows.items()
        for behavior in wanted
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"audit {wanted.name}"),
        solver=midspan_attack(budget=budget, judge=judge, seed=seed),
        scorer=midspan_judge(judge or ("exact" if is_ours else "strongreject")),
        metrics=[*METRICS, grouped(asr(), "attack", all=False)],
        metadata=_about(wanted),
    )


def _about(behaviors: BehaviorSet) -> dict[str, Any]:
    return {"behaviors": behaviors.name, "sha256": behaviors.sha256, "licence": behaviors.licence}


def _battery(
    tier: str, is_ours: bool, attacks: str | Sequence[str] | None
) -> Mapping[str, dict[str, Any]]:
    """Rows of the audit's battery by name."""
    from midspan.studies.audit.presets import BATTERY

    if tier not in _TIERS:
        raise not_one_of("tier", tier, _TIERS)
    within = _TIERS[: _TIERS.index(tier) + 1]
    known = {row.name: row for row in BATTERY if row.access == "chat"}
    names = [name for name, row in known.items() if row.tier in within]
    if attacks is not None:
        names = attacks.split(",") if isinstance(attacks, str) else list(attacks)
        for name in names:
            if name not in known:
                raise not_one_of("attacks", name, known)
    return {
        name: {
            "attack": known[name].attack,
            "config": dict(known[name].fields)
            | ({"adaptive": True} if known[name].adaptive else {}),
        }
        for name in names
    }


@task
def overrefusal(
    data: str = "mentioned", files: dict[str, str] | None = None, judge: str | None = None
) -> Task:
    """Harmless requests that should be answered, and are refused.

    Args:
        data: "mentioned", the 200 shipped requests in which something harmful is only mentioned;
            "xstest"; names joined by commas; or ``organism:N`` for the organism's own.
        files: Local files by name: xstest, or_bench, alpaca, mentioned.
        judge: Says what refuses: words by default, the exact judge on the organism, or the rubric
            "xstest" over the model role "grader".
    """
    own = _overrefusal(data, files or {})
    if judge is not None and world_of(data):
        raise MidspanError("judge: the organism's requests have an exact one; leave it out")
    items = {item.id: item for item in own.items}
    samples = [
        Sample(
            id=item.id, input=turns(own.prompt(item, 0).messages), metadata={"group": item.group}
        )
        for item in own.items
    ]
    return Task(
        dataset=MemoryDataset(samples, name=own.name),
        solver=generate(),
        scorer=_refusal_scorer(own, items, judge),
        metadata={"source": own.source},
    )


def _overrefusal(data: str, files: Mapping[str, str]) -> OwnTask:
    from pathlib import Path

    from midspan.tasks.overrefusal import load

    name, _, count = data.partition(":")
    if name in WORLDS:
        if not count.isdecimal() or count == "0":
            raise MidspanError(f"data: {data!r} must be {name}:N")
        made: OwnTask = room(name, "overrefusal").overrefusal_task(int(count), 0, mentioned=True)
        return made
    named: dict[str, Path | None] = {part: None for part in data.split(",") if part not in files}
    for part in named:
        if part not in ("mentioned", "xstest"):
            raise not_one_of("data", part, ("mentioned", "xstest", "organism:N"))
    return load({**named, **{part: Path(path) for part, path in files.items()}})


def _refusal_scorer(own: OwnTask, items: Mapping[str, Item], judge: str | None) -> Scorer:
    names = ("refused", "helped", *(("partial",) if judge is not None else ()))
    metrics: dict[str, Any] = {
        name: [mean(), stderr(), grouped(mean(), "group", all=False)] for name in names
    }

    @scorer(metrics=metrics, name="refusal")
    def refusal() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            item, response = items[str(state.sample_id)], state.output.completion
            if judge is None:
                verdict: Mapping[str, Any] = own.score(item, response)
            else:
                verdict = await _judged(own, item, response, judge)
            if "failure" in verdict:
                return Score.unscored(reason="grader_failed", explanation=verdict["reason"])
            value = {name: float(bool(verdict.get(name))) for name in names}
            return Score(value=value, answer=response, explanation=verdict.get("detail"))

        return score

    made: Scorer = refusal()
    return made


async def _judged(own: OwnTask, item: Item, response: str, judge: str) -> Mapping[str, Any]:
    from midspan.tasks.overrefusal import judged_by

    role = judge_role(judge)
    task = judged_by(own, judge, lambda: role)
    assert task.judged is not None
    behavior = behavior_of(item.id, item.fields["prompt"], {})
    result = answered(behavior, (), response)
    found = await in_thread(lambda: judge_one(of_answer(behavior), result, role))
    return task.judged.score(item, response, found.replies["judge"][0])
