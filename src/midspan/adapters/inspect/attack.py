"""Our attacks as an inspect solver."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from inspect_ai.model import ChatMessageAssistant, ModelOutput, get_model, model_roles
from inspect_ai.solver import Generate, Solver, TaskState, solver

from midspan.adapters.inspect.judges import judge_role
from midspan.adapters.inspect.judging import Record, behavior_of, run_one, to_record
from midspan.adapters.inspect.roles import ModelRole, in_thread
from midspan.adapters.inspect.turns import turns
from midspan.engine.attack import AttackResult
from midspan.engine.budget import Budget
from midspan.engine.roles import Role
from midspan.engine.running import AttackJob
from midspan.errors import MidspanError
from midspan.organism.scripts import helpers
from midspan.organism.worlds import WORLDS

# Where a sample's store holds what the attack came to.
STORED = "midspan"
# Responses of the organism to an attack on one behavior, as in its own studies.
_ORGANISM_BUDGET = 12


@solver
def midspan_attack(
    attack: str | None = None,
    config: dict[str, Any] | None = None,
    adaptive: bool = False,
    budget: int | None = None,
    judge: str | None = None,
    seed: int = 0,
) -> Solver:
    """Attack the model under evaluation with a sample's request.

    Args:
        attack: Such as "pair"; None takes the one that a sample's metadata name as `attack`.
        config: Fields of its config. On an organism's behaviors it has their language and sizes.
        adaptive: Its variant that knows of MOSA.
        budget: Responses of the target to one behavior.
        judge: Answers attacks that ask for verdicts; see `midspan_judge`.
        seed: Of all draws of the attack.

    Helpers are inspect's model roles attacker, evaluator and translator; for an organism's
    behaviors they are scripted where no role is bound. Attempts are in the sample's store, under
    "midspan"; the output is the attempt that counts.
    """
    if attack is not None:
        _prepared(attack, WORLDS[0], adaptive, budget, **config or {})  # A wrong name ends here.

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        name, own = attack, dict(config or {})
        if name is None:
            row = state.metadata.get("attack_row") or {"attack": state.metadata.get("attack")}
            name, own = row["attack"], {**row.get("config", {}), **own}
        if not name:
            raise MidspanError("attack: name one, or give samples one in their metadata")
        behavior = behavior_of(state.sample_id, state.input_text, state.metadata)
        world = behavior.source if behavior.source in WORLDS else ""
        row = _prepared(name, world, adaptive or bool(own.pop("adaptive", False)), budget, **own)
        roles = _roles(row.attack.roles, world, judge)
        job = AttackJob(row.attack, row.config, behavior, roles, row.budget)
        result = await in_thread(lambda: run_one(job, seed))
        record = to_record(result, row.attack.counts)
        state.store.set(STORED, record)
        return _shown(state, record, result)

    return solve


def _prepared(attack: str, world: str, adaptive: bool, budget: int | None, **config: Any) -> Any:
    from midspan.studies.redteam.config import AttackSpec
    from midspan.studies.redteam.prepare import prepare_attack
    from midspan.studies.redteam.presets import organism_attack

    if world:
        spec = organism_attack(attack, adaptive, world, **config)
    else:
        spec = AttackSpec(attack=attack, adaptive=adaptive, config=config)
    if budget is not None:
        spec = spec.model_copy(update={"budget": Budget(target=budget)})
    return prepare_attack(spec, Budget(target=_ORGANISM_BUDGET if world else None))


def _roles(names: tuple[str, ...], world: str, judge: str | None) -> dict[str, Role]:
    """Who answers an attack's calls."""
    roles: dict[str, Role] = {"target": ModelRole("target", get_model())}
    for name in names:
        if name == "target":
            continue
        if name == "judge":
            roles[name] = judge_role(judge or ("exact" if world else "strongreject"))
        elif name in model_roles():
            roles[name] = ModelRole(name, get_model(role=name))
        elif world and name in _scripted(world):
            roles[name] = _scripted(world)[name]
        else:
            roles[name] = _Missing(name)
    return roles


@cache
def _scripted(world: str) -> Mapping[str, Role]:
    return helpers(world)


class _Missing(Role):
    """A role that nobody has been named for; some settings of an attack never ask it."""

    def __init__(self, name: str) -> None:
        self.fingerprint = f"no {name}"
        self._name = name

    def answer(self, tasks: Any) -> Any:
        """Say what to do.

        Raises:
            MidspanError: Always.
        """
        raise MidspanError(
            f"{self._name}: the attack asks one; name it with inspect's --model-role "
            f"{self._name}=MODEL"
        )


def _shown(state: TaskState, record: Record, result: AttackResult) -> TaskState:
    """The attempt that counts as the sample's conversation; of several equals the last."""
    attempts = result.attempts
    if not attempts:
        state.output = ModelOutput.from_content(str(state.model), "", error=result.reason or None)
        return state
    shown = attempts[-1]
    if record["counts"] == "best":
        shown = max(attempts, key=lambda a: float("-inf") if a.score is None else a.score)
    state.messages = turns(shown.messages)
    state.output = ModelOutput.from_content(str(state.model), shown.response)
    state.messages.append(ChatMessageAssistant(content=shown.response))
    return state
