"""HumanEval: 164 Python functions to complete, judged by running them (Chen et al. 2021)."""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from midspan.data.columns import Named
from midspan.data.origins import Origin
from midspan.errors import MidspanError
from midspan.tasks.rows import Published, read_rows
from midspan.tasks.sandbox import Program, check, isolation_problem
from midspan.tasks.task import Item, Measure, Preset, Prompt, Task, Verdict, cut, preset_of, user

TEST = Published(
    name="humaneval",
    columns=("task_id", "prompt", "entry_point", "test"),
    count=164,
    digest="3f561cb3dc29ebfc",
    origin=(Origin("github", "openai/human-eval"), "data/HumanEval.jsonl.gz"),
)
_CANVAS = {"length": 512, "block_length": 512, "steps": 512, "eos_policy": "suppress_logits"}
PRESETS = {
    "llada": Preset(
        name="llada",
        prompt="OpenCompass humaneval_gen_8e312c: 'Complete the following python code'; "
        "first code block",
        **_CANVAS,
    ),
    "lm-eval": Preset(
        name="lm-eval",
        prompt="lm-eval 0.4.13 humaneval_instruct: the response begins with the function's head",
        until=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
        **_CANVAS,
    ),
}
_BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


def load(
    preset: str = "llada", file: Path | None = None, *, force: bool = False, column: Named = None
) -> Task:
    """The problems under a preset.

    Args:
        preset: "llada" or "lm-eval".
        file: HumanEval.jsonl.gz or the like; None for the authors' file.
        force: Run code on a machine that cannot isolate it.
        column: What the file calls its prompts.

    Raises:
        MidspanError: The data are missing or wrong, or this machine cannot isolate code.
    """
    chosen = preset_of(PRESETS, TEST.name, preset)
    if isolation_problem() and not force:
        raise MidspanError(
            f"humaneval: this machine cannot isolate code ({isolation_problem()}); "
            "--force-code runs it all the same, see docs/sandbox.md"
        )
    rows = read_rows(TEST, file, column)
    solution = SOLUTIONS[preset]
    return Task(
        name=TEST.name,
        preset=chosen,
        items=tuple(Item(str(row["task_id"]), row) for row in rows.rows),
        prompt=_llada_prompt if preset == "llada" else _lm_eval_prompt,
        score=partial(_score, solution, force),
        measures=(Measure("pass"),),
        source=str(rows),
        costly=True,
    )


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of one problem: 1 - C(n - correct, k) / C(n, k) (their section 2.1).

    Raises:
        ValueError: k is not in 1..n, or more are correct than there are.
    """
    if not 1 <= k <= n or not 0 <= correct <= n:
        raise ValueError(f"need 1 <= k <= n and correct <= n, got n={n}, correct={correct}, k={k}")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)


def _llada_prompt(item: Item, shots: int) -> Prompt:
    return Prompt((user(f"Complete the following python code:\n{item.fields['prompt']}"),))


def _lm_eval_prompt(item: Item, shots: int) -> Prompt:
    head = item.fields["prompt"]
    ask = "Write a solution to the following problem and make sure that it passes the tests:\n"
    return Prompt(
        (user(f"{ask}```python\n{head}\n```\n"),),
        prefix=f"Here is the completed function:\n```python\n{head}\n",
    )


def _llada_solution(item: Item, response: str) -> str:
    blocks = _BLOCK.findall(response)
    return str(item.fields["prompt"]) + (blocks[0] if blocks else response).lstrip()


def _lm_eval_solution(item: Item, response: str) -> str:
    text = cut(response, PRESETS["lm-eval"].until)
    return str(item.fields["prompt"]) + text.split("```")[0]


SOLUTIONS: dict[str, Callable[[Item, str], str]] = {
    "llada": _llada_solution,
    "lm-eval": _lm_eval_solution,
}


def _score(solution: Callable[[Item, str], str], force: bool, item: Item, text: str) -> Verdict:
    head, entry_point = item.fields["prompt"], item.fields["entry_point"]
    # The head ends in an open function; with a body, what it defines before is there for the test.
    program = Program(solution(item, text), entry_point, f"{head}\n    pass\n", item.fields["test"])
    outcome = check(program, force=force)
    return {"success": outcome.passed, "problem": outcome.problem}
