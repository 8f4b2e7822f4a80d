"""The paper's study as functions: on LLaDA-8B, on the organism, and the smallest whole one."""

from collections.abc import Sequence
from dataclasses import dataclass

from midspan.alignment import PRESETS as RECIPES
from midspan.engine.budget import Budget
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.expected import (
    adaptive_hypothesis,
    attack_hypotheses,
    probe_hypotheses,
    task_hypotheses,
)
from midspan.studies.paper_values import ATTACKS, MODELS
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.presets import (
    SEARCHED,
    organism2_redteam,
    organism_attack,
    organism_redteam,
)
from midspan.studies.tasks.config import TaskConfig
from midspan.studies.training import TrainingData, preset_recipe

INITIAL, MOSA = "Initial", "MOSA"
# The organism's; labels name folders.
INITIAL_STABLE, MOSA_STABLE, PSA = "Initial-stable", "MOSA-stable", "PSA"
_TWO = (ORIGINAL, MOSA_STABLE)
LLADA = "GSAI-ML/LLaDA-8B-Instruct"
# The paper's judge; its attacker and evaluator are not stated.
GPT = "openai:gpt-4.1"
# List prices of April 2025, US dollars a million tokens.
_PRICES = {GPT: (2.0, 8.0)}
_ADAPTIVE = ("tap", "ept", "advprefix")
# What docs/attacks gives a study that cannot pay for the published sizes.
_AFFORDABLE = {"advprefix": {"kept": 30, "completions": 4, "completion_tokens": 256}}
_BUDGETS = {"ept": Budget(target=300)}


def paper(base: str = LLADA) -> PaperConfig:
    """Tables 1 to 4 and Figures 3 to 5 and 7, verbatim recipes; a GPU, hub access and a key.

    What the paper leaves open (numbers of requests, helpers, budgets, decoding) is set here.
    """
    models = (ORIGINAL, INITIAL, MOSA)
    harmful, benign = "advbench", "alpaca"
    eight = [_attack(attack) for attack in ATTACKS]
    eight.append(AttackSpec(attack="dia", config={"variant": "II"}, label="dia II"))
    adaptive = [_attack(attack, adaptive=True) for attack in _ADAPTIVE]
    return PaperConfig(
        base=base,
        recipes={INITIAL: RECIPES["initial"](), MOSA: RECIPES["mosa"]()},
        data=TrainingData(
            harmful="sorrybench-all:3000", exclude=("advbench", "harmbench"), allow_overlap=True
        ),
        probes={
            "prefill": ProbeSpec(
                probe="prefill", models=models, harmful=harmful, benign=benign, n=100,
                fields={"positions": (0, 20, 40, 80, 120, 160)},
                decoding={"length": 256, "steps": 128},
            ),
            "gcg": ProbeSpec(probe="gcg", models=(ORIGINAL, MOSA), harmful=harmful, n=100),
            "instruction-placement": ProbeSpec(
                probe="instruction-placement", models=(ORIGINAL,), benign=benign, n=100
            ),
            "order": ProbeSpec(
                probe="order", models=models, harmful=harmful, benign=benign, n=50,
                decoding={"length": 128, "steps": 32},
            ),
            "activations": ProbeSpec(
                probe="activations", models=(ORIGINAL, MOSA), harmful=harmful, benign=benign, n=100
            ),
            "samples": ProbeSpec(
                probe="samples", models=models, harmful=harmful, benign=benign, n=2
            ),
        },
        attacks={
            "advbench": _llada_attacks(models, eight, "advbench:100"),
            "harmbench": _llada_attacks(models, eight, "harmbench:100"),
            "adaptive": _llada_attacks(models, adaptive, "advbench:100"),
        },
        tasks={
            "utility": TaskConfig(
                models=models, tasks=("gsm8k", "mmlu", "humaneval"), code="isolated"
            ),
            "over-refusal": TaskConfig(models=models, tasks=("overrefusal",)),
        },
        prices=_PRICES,
        hypotheses=(
            *probe_hypotheses(
                MOSA, prefill=100, gcg=100, instruction_placement=100, order=_ordered(50)
            ),
            *attack_hypotheses(_rivals(INITIAL, MOSA), "advbench", 100),
            *attack_hypotheses(_rivals(INITIAL, MOSA), "harmbench", 100),
            adaptive_hypothesis(MOSA, 100),
            *task_hypotheses(MOSA, "utility", 164, "over-refusal", 250),
        ),
    )  # fmt: skip


def _ordered(n: int) -> int:
    """Of so many responses those that a claim on order plans: one token alone has no order."""
    return 9 * n // 10


def _rivals(initial: str, mosa: str) -> tuple[tuple[str, str], ...]:
    """The paper's order of the three models, the safer one first."""
    return (initial, ORIGINAL), (mosa, ORIGINAL), (mosa, initial)


def _attack(attack: str, adaptive: bool = False) -> AttackSpec:
    return AttackSpec(
        attack=attack,
        config=_AFFORDABLE.get(attack, {}),
        adaptive=adaptive,
        budget=_BUDGETS.get(attack),
    )


def _llada_attacks(
    models: Sequence[str], attacks: Sequence[AttackSpec], behaviors: str
) -> RedteamConfig:
    return RedteamConfig(
        models=tuple(models),
        attacks=tuple(attacks),
        behaviors=behaviors,
        helpers=dict.fromkeys(("attacker", "evaluator", "translator"), GPT),
        judges=(f"harm={GPT}", f"strongreject={GPT}", "refusal-keywords"),
        proxies=("GSAI-ML/LLaDA-8B-Base",),
        paper_models=dict(zip(MODELS, MODELS, strict=True)),
    )


@dataclass(frozen=True)
class _Cases:
    """How many cases each part of an organism's study has.

    Attributes:
        attacks: Behaviors.
        adaptive: Behaviors of the attacks that know of MOSA.
        prefill: Plain requests, and as many disguised ones, for each position.
        gcg: Suffixes a position.
        placement: Requests, each asked for every phrase and word.
        order: Requests a kind.
        activations: The same.
        tasks: Questions of each task.
        refusals: Harmless requests.
    """

    attacks: int
    adaptive: int
    prefill: int
    gcg: int
    placement: int
    order: int
    activations: int
    tasks: int
    refusals: int


def organism() -> PaperConfig:
    """The same on the organism, with PSA as a fourth model; half an hour on two cores."""
    cases = _Cases(
        attacks=18, adaptive=18, prefill=6, gcg=5, placement=12, order=12, activations=36,
        tasks=36, refusals=36,
    )  # fmt: skip
    return _on_organism(organism_redteam(cases.attacks), cases)


def organism2() -> PaperConfig:
    """The same on the second organism, with power 0.8 at the paper's effects (`paper.power`)."""
    cases = _Cases(
        attacks=24, adaptive=64, prefill=42, gcg=45, placement=100, order=12, activations=96,
        tasks=200, refusals=128,
    )  # fmt: skip
    study = _on_organism(organism2_redteam(cases.attacks), cases)
    repeated = ("attacks", "utility", "over-refusal")
    return study.model_copy(update={"seeds": (1, 2), "repeated": repeated})


def _on_organism(redteam: RedteamConfig, cases: _Cases) -> PaperConfig:
    """The whole study of the organism that a red-team study attacks."""
    base = redteam.models[0]
    models = (ORIGINAL, INITIAL_STABLE, MOSA_STABLE, PSA)
    paper_models = dict(zip(models[: len(MODELS)], MODELS, strict=True))
    searched = tuple(spec for spec in redteam.attacks if spec.attack in SEARCHED)
    attacks = redteam.model_copy(
        update={
            "models": models, "paper_models": paper_models,
            "proxies": _TWO,
        }
    )  # fmt: skip
    usual = tuple(spec for spec in searched if not spec.adaptive)
    adaptive = tuple(spec for spec in searched if spec.adaptive)
    names = ("arithmetic", "choice", "program")
    return PaperConfig(
        base=base,
        paper_models=paper_models,
        recipes={label: preset_recipe(label.lower(), base, "recipes") for label in models[1:]},
        attacks={
            "attacks": attacks.model_copy(update={"attacks": usual}),
            "adaptive": attacks.model_copy(
                update={
                    "attacks": adaptive,
                    "models": _TWO,
                    "behaviors": f"{base}:{cases.adaptive}",
                }
            ),
        },
        probes=_probes_on_organism(models, cases),
        tasks={
            "utility": TaskConfig(models=models, tasks=names, items=cases.tasks),
            "over-refusal": TaskConfig(models=models, tasks=("overrefusal",), items=cases.refusals),
        },
        hypotheses=(
            *probe_hypotheses(
                MOSA_STABLE,
                prefill=2 * cases.prefill,
                gcg=cases.gcg,
                instruction_placement=cases.placement,
                order=_ordered(cases.order),
            ),
            *attack_hypotheses(_rivals(INITIAL_STABLE, MOSA_STABLE), "attacks", cases.attacks),
            *attack_hypotheses([(PSA, MOSA_STABLE)], "attacks", cases.attacks, "not in the paper"),
            adaptive_hypothesis(MOSA_STABLE, cases.adaptive),
            *task_hypotheses(MOSA_STABLE, "utility", cases.tasks, "over-refusal", cases.refusals),
        ),
    )


def _probes_on_organism(models: Sequence[str], cases: _Cases) -> dict[str, ProbeSpec]:
    """The probes; where safety lies is asked of two models alone."""
    return {
        "prefill": ProbeSpec(
            probe="prefill", models=_TWO, n=cases.prefill, request_kinds=("plain", "wrapped")
        ),
        "gcg": ProbeSpec(probe="gcg", models=_TWO, n=cases.gcg),
        "instruction-placement": ProbeSpec(
            probe="instruction-placement", models=(ORIGINAL,), n=cases.placement
        ),
        "order": ProbeSpec(probe="order", models=tuple(models), n=cases.order),
        "activations": ProbeSpec(probe="activations", models=_TWO, n=cases.activations),
        "samples": ProbeSpec(probe="samples", models=tuple(models)),
    }


def smoke() -> PaperConfig:
    """Every kind of part on two models and the smallest cells; for tests."""
    models = (ORIGINAL, MOSA_STABLE)
    whole = organism()
    small = {"length": 64, "block_length": 32, "steps": 4}
    attacks = whole.attacks["attacks"].model_copy(
        update={
            "models": models,
            "attacks": (
                organism_attack("direct"),
                organism_attack("tap", branching=1, width=1, depth=1),
            ),
            "behaviors": "organism:2",
            "decoding": small,
        }
    )
    probe = {"models": models, "n": 2, "decoding": small}
    return PaperConfig(
        base="organism",
        recipes={MOSA_STABLE: RECIPES["mosa-stable"](num_prompts=24)},
        attacks={"attacks": attacks},
        probes={
            "prefill": ProbeSpec(probe="prefill", fields={"positions": (0, 40)}, **probe),
            "samples": ProbeSpec(probe="samples", fields={"start": 20}, **probe),
        },
        tasks={"utility": TaskConfig(models=models, tasks=("choice",), items=2)},
        hypotheses=(
            *probe_hypotheses(MOSA_STABLE, prefill=4),
            *task_hypotheses(MOSA_STABLE, "utility", 2),
        ),
    )
