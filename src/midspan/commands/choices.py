"""What options may be: said by ``--help``, completed by shells, checked before torch loads.

The lists stand here because what they name imports torch; a test holds them equal to it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from midspan.errors import MidspanError, not_one_of
from midspan.yaml_file import read_fields

_SOURCE = Path(__file__).parents[1]
_RULE = re.compile(r"""\brule\s*:\s*["']?([\w-]+)""")


def _modules(room: str) -> tuple[str, ...]:
    """What a room has one file of each."""
    stems = sorted(file.stem for file in (_SOURCE / room).glob("*.py"))
    return tuple(stem for stem in stems if not stem.startswith("_"))


def _folders(place: str) -> tuple[str, ...]:
    """Names of the folders that a folder holds."""
    return tuple(sorted(path.name for path in (_SOURCE / place).glob("*") if path.is_dir()))


ORGANISM_ADAPTERS = _folders("organism/weights/adapters")
ORGANISM2_ADAPTERS = _folders("organism/second/weights/adapters")
ATTACKS = _modules("attacks")
# What monitors watch: attacks, and the organism's disguised requests.
CONDITIONS = ("wrapped", *ATTACKS)
RULES = _modules("decoding/rules")
OBJECTIVES = (
    "mosa", "mosa-stable", "initial", "initial-stable", "psa", "sft", "a2d", "vrpo", "recovery",
)  # fmt: skip
BENCHMARK_TASKS = ("gsm8k", "mmlu", "mmlu-likelihood", "humaneval", "overrefusal")
ORGANISM_TASKS = ("arithmetic", "choice", "program")
TASKS = (*BENCHMARK_TASKS, *ORGANISM_TASKS)
TASK_PRESETS = ("llada", "lm-eval")
TASK_DATA = ("gsm8k", "mmlu", "humaneval", "xstest", "or_bench", "alpaca", "mentioned")
TIERS = ("quick", "standard", "full")
LEVELS = ("chat", "infill", "sampler", "logprobs", "white-box", "weights")
STUDIES = (
    "paper", "organism", "organism2", "organism-redteam", "organism-native", "organism-words",
    "organism-weights", "organism2-redteam", "objectives", "recovery-alignment", "ablations",
    "samplers", "pieces", "demo", "demo-full", "demo-smoke",
)  # fmt: skip
# Of the studies that have parts: the recipes that they train, then what they measure.
_MEASURED = ("prefill", "gcg", "instruction-placement", "order", "activations", "samples")
_ORGANISMS = ("Initial-stable", "MOSA-stable", "PSA")
_REPEATED = ("attacks", "utility", "over-refusal")
_ON_ORGANISM = (*_ORGANISMS, *_MEASURED, "adaptive", *_REPEATED)


def _seeded(names: Iterable[str], seeds: Iterable[Any]) -> tuple[str, ...]:
    """Trainings and parts for further training seeds."""
    return tuple(f"{name}-seed{seed}" for seed in seeds for name in names)


PARTS: Mapping[str, tuple[str, ...]] = {
    "paper": (
        "Initial", "MOSA", *_MEASURED, "advbench", "harmbench", "adaptive", "utility",
        "over-refusal",
    ),
    "organism": _ON_ORGANISM,
    "organism2": (*_ON_ORGANISM, *_seeded((*_ORGANISMS, *_REPEATED), (1, 2))),
}  # fmt: skip
SAMPLERS = ("llada", "dream", "block")
REMASKING = ("low_confidence", "margin", "entropy", "random")
EOS_POLICIES = ("model", "suppress_logits", "suppress_confidence")
CACHES = ("none", "prefix", "dual")
DTYPES = ("auto", "bfloat16", "float16", "float32")
QUANTIZATIONS = ("4bit", "8bit")
ATTENTION = (
    "sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3",
    "flash_attention_4",
)  # fmt: skip
TRACKERS = ("none", "trackio", "wandb", "tensorboard")
REQUEST_KINDS = ("plain", "wrapped", "benign")
EXECUTORS = ("processes", "ray")
PHRASE_KINDS = ("affirmative", "procedural", "neutral", "safe", "random")
SECOND_SAMPLES = (
    "card", "list", "fact", "choice", "gaps", "about", "talk", "arithmetic", "program", "plain",
    "short", "disguised", "repeat", "dictionary", "followed", "later", "mixed", "mention", "refuse",
    "reported", "about_sealed", "after_refusal", "overlooked", "caught",
)  # fmt: skip
EXPORTS = ("jailbreakbench", "inspect")
# Judges that need no model, classifiers, rubrics of ours, published rubrics in a user's file.
PLAIN_JUDGES = (
    "exact", "exact-strongreject", "exact-forms", "refusal-keywords", "xstest-strmatch",
)  # fmt: skip
CLASSIFIERS = ("harmbench-cls", "llama-guard")
RUBRICS = ("harm", "strongreject", "xstest")
PUBLISHED_RUBRICS = ("strongreject", "pair", "harmbench")
FROM_FILE = ":rubric="
JUDGES = (*PLAIN_JUDGES, *CLASSIFIERS, *dict.fromkeys((*RUBRICS, *PUBLISHED_RUBRICS)))


def chosen(choices: Iterable[str], meaning: str, *names: str) -> Any:
    """An option that takes some of the choices, names them in its help and completes them.

    Args:
        choices: What it may be.
        meaning: What it is; the help's beginning.
        names: As users write the option; by default after its parameter.
    """
    known = tuple(choices)
    return typer.Option(*names, help=f"{meaning}: {listed(known)}.", **limited(known))


def limited(choices: Iterable[str]) -> dict[str, Any]:
    """What makes an option refuse and complete its values: for ``typer.Option``."""
    known = tuple(choices)
    return {"callback": one_of(known), "autocompletion": completing(known)}


def completing(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell is given for a value's beginning: all choices that begin so."""
    known = tuple(choices)

    def begun_so(incomplete: str) -> list[str]:
        return [one for one in known if one.startswith(incomplete)]

    return begun_so


def checking(check: Callable[[str, Any], None]) -> Callable[..., Any]:
    """A callback that gives every value of an option to a check, behind the option's name."""

    def checked(param: typer.CallbackParam, given: Any) -> Any:
        name = param.opts[0]
        field = name if name.startswith("-") else name.upper()
        for value in [given] if isinstance(given, str | Path) else given or ():
            check(field, value)
        return given

    return checked


def one_of(choices: Iterable[str]) -> Callable[..., Any]:
    """A callback that refuses what is none of the choices, with the nearest one."""
    known = tuple(choices)

    def check(field: str, value: str) -> None:
        if value not in known:
            raise not_one_of(field, value, known)

    return checking(check)


def _check_named_rule(field: str, text: str) -> None:
    has_fields = text.lstrip().startswith("{")
    if has_fields:
        read_fields(text, field)
    found = _RULE.search(text) if has_fields else None
    check_rule(found[1] if found else text, field)


# Rules of decoding, by name or by fields with a name among them.
A_RULE: dict[str, Any] = {
    "callback": checking(_check_named_rule),
    "autocompletion": completing(RULES),
}


def check_rule(name: str, field: str, others: Iterable[str] = ()) -> None:
    """Refuse what is no rule, and no defence of a user's file.

    Raises:
        MidspanError: It is none of them.
    """
    known = (*RULES, *others)
    if name not in known:
        raise not_one_of(field, name, known)


def check_defences(specs: Iterable[str], field: str, others: Iterable[str] = ()) -> None:
    """Refuse ``MODEL with DEFENCE`` where there is no such defence.

    Raises:
        MidspanError: There is none of this name.
    """
    own = tuple(others)
    for spec in specs:
        for name in spec.split(" with ")[1:]:
            check_rule(name, field, own)


def check_parts(preset: str, given: Iterable[str], changed: Mapping[str, Any]) -> None:
    """Refuse parts that a study does not have.

    Args:
        preset: Of the study; one without parts takes none.
        given: Names from ``--part``.
        changed: Fields of the configuration file, which may add parts and training seeds.

    Raises:
        MidspanError: There is no such part, or the study has none.
    """
    wanted = list(given)
    if wanted and preset not in PARTS:
        raise MidspanError(f"--part: {preset} is a study without parts")
    groups = ("recipes", "probes", "attacks", "tasks")
    added = [name for group in groups for name in (changed.get(group) or {})]
    seeds = changed.get("seeds")
    first = (*PARTS.get(preset, ()), *added)
    again = _seeded(first, seeds if isinstance(seeds, list) else ())
    known = tuple(dict.fromkeys((*first, *again)))
    for name in wanted:
        if name not in known:
            raise not_one_of("--part", name, known)


def judge_forms() -> tuple[str, ...]:
    """Every judge as one writes it."""
    rubrics = (f"{name}=MODEL" for name in RUBRICS)
    published = (f"{name}=MODEL{FROM_FILE}FILE" for name in PUBLISHED_RUBRICS)
    return (*PLAIN_JUDGES, *CLASSIFIERS, *rubrics, *published)


def listed(choices: tuple[str, ...]) -> str:
    """Choices in a sentence: ``a, b or c``."""
    if len(choices) < 2:
        return ", ".join(choices)
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
