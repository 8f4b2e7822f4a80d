"""The registered data sets: where they are published, what they must hold, under which licence.

midspan ships none of their texts but its own, `mentioned`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from midspan.data.columns import Columns
from midspan.data.origins import Origin


@dataclass(frozen=True)
class Benchmark:
    """A published data set, or a named part of one.

    Attributes:
        name: What users write.
        paper: Whom to cite.
        origin: Where its authors publish it.
        files: Its files there.
        columns: Columns that every row must have.
        num_rows: Rows of all files together.
        licence: Of the texts.
        kind: What its requests are: "harmful", "benign", or "marked" row by row.
        content: Hash of all its requests (see `content_hash`), where it was measured.
        only: A column, and the values of the rows that belong to this part.
    """

    name: str
    paper: str
    origin: Origin
    files: tuple[str, ...]
    columns: Columns
    num_rows: int
    licence: str
    kind: Literal["harmful", "benign", "marked"] = "harmful"
    content: str | None = None
    only: tuple[str, tuple[str, ...]] | None = None


_STYLES = (
    "question", "slang", "uncommon_dialects", "technical_terms", "role_play", "misspellings",
    "logical_appeal", "authority_endorsement", "misrepresentation", "evidence-based_persuasion",
    "expert_endorsement", "ascii", "atbash", "caesar", "morse",
)  # fmt: skip
_LANGUAGES = ("fr", "ml", "mr", "ta", "zh-cn")


def _harmbench(name: str, *categories: str) -> Benchmark:
    return Benchmark(
        name,
        "Mazeika et al. 2024, arXiv 2402.04249",
        Origin("github", "centerforaisafety/HarmBench", "c0423b9"),
        ("data/behavior_datasets/harmbench_behaviors_text_all.csv",),
        Columns("Behavior", id="BehaviorID", context="ContextString", category="SemanticCategory"),
        400,
        "MIT",
        content="474037c9b5cc8183528fd9be928061d4a0fe6f7f01f90ab5b00c952f7ee85be2",
        only=("FunctionalCategory", categories) if categories else None,
    )


def _sorry_bench(name: str, styles: tuple[str, ...]) -> Benchmark:
    files = ("question.jsonl", *(f"question_{style}.jsonl" for style in styles))
    return Benchmark(
        name,
        "Xie et al. 2025, arXiv 2406.14598",
        Origin(
            "hub",
            "sorry-bench/sorry-bench-202503",
            "612a4e1f45db8adf884fa62318ddf9fa1c6e75e9",
            gated=True,
        ),
        files,
        Columns("turns", id="question_id", style="prompt_style", category="category"),
        440 * len(files),
        "SORRY-Bench licence agreement",
    )


_ALL = (
    Benchmark(
        "advbench",
        "Zou et al. 2023, arXiv 2307.15043",
        Origin("github", "llm-attacks/llm-attacks"),
        ("data/advbench/harmful_behaviors.csv",),
        Columns("goal", opening="target"),
        520,
        "MIT",
        content="e86c773aebb10780fe23229152da2d4b0ee9e9d66b62aa8847615c32d0ff4d9d",
    ),
    # Copyright behaviors are judged by comparing texts, which no harm judge does.
    _harmbench("harmbench", "standard", "contextual"),
    _harmbench("harmbench-standard", "standard"),
    _harmbench("harmbench-all"),
    _sorry_bench("sorrybench", ()),
    _sorry_bench("sorrybench-untranslated", _STYLES),
    _sorry_bench("sorrybench-all", (*_STYLES, *(f"translate-{code}" for code in _LANGUAGES))),
    Benchmark(
        "jailbreakbench",
        "Chao et al. 2024, arXiv 2404.01318",
        Origin("hub", "JailbreakBench/JBB-Behaviors", "886acc352a31533ffbcf4ef22c744658688086fc"),
        ("data/harmful-behaviors.csv",),
        Columns("Goal", id="Behavior", category="Category", opening="Target"),
        100,
        "MIT",
    ),
    Benchmark(
        "strongreject",
        "Souly et al. 2024, arXiv 2402.10260",
        Origin("github", "alexandrasouly/strongreject", "3432b2d696b428f242bd507df96d80f686571d5e"),
        ("strongreject_dataset/strongreject_dataset.csv",),
        Columns("forbidden_prompt", category="category"),
        313,
        "MIT",
    ),
    Benchmark(
        "beavertails",
        "Ji et al. 2023, arXiv 2307.04657",
        Origin("hub", "PKU-Alignment/BeaverTails", "8401fe609d288129cc684a9b3be6a93e41cfe678"),
        ("round0/30k/train.jsonl.gz",),
        Columns("prompt", category="category", answer="response", safe="is_safe"),
        27186,
        "CC-BY-NC-4.0",
        kind="marked",
    ),
    Benchmark(
        "alpaca",
        "Taori et al. 2023, github.com/tatsu-lab/stanford_alpaca",
        Origin("github", "tatsu-lab/stanford_alpaca"),
        ("alpaca_data.json",),
        Columns("instruction", input="input", answer="output"),
        52002,
        "CC-BY-NC-4.0",
        kind="benign",
    ),
    Benchmark(
        "mentioned",
        "midspan, docs/data.md",
        Origin("package", "midspan"),
        ("mentioned.jsonl",),
        Columns("prompt", id="id", category="category"),
        200,
        "Apache-2.0",
        kind="benign",
        content="03dc9b22ef8d3d9faa00ec0109edad764b574e3c9d6309405c326cfbf7f2e6b9",
    ),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
