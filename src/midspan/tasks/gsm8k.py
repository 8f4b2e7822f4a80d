"""GSM8K: grade-school arithmetic in words, 1,319 questions (Cobbe et al. 2021)."""

import json
import math
import re
from functools import cache
from pathlib import Path

from midspan.data.columns import Named
from midspan.data.origins import Origin
from midspan.errors import MidspanError
from midspan.tasks.rows import Published, read_rows
from midspan.tasks.task import (
    Item,
    Measure,
    Preset,
    Prompt,
    Task,
    Verdict,
    assistant,
    cut,
    preset_of,
    user,
)

TEST = Published(
    name="gsm8k",
    columns=("question", "answer"),
    count=1319,
    digest="feff2ff61c1627f9",
    origin=(Origin("github", "openai/grade-school-math"), "grade_school_math/data/test.jsonl"),
    request="question",
)
_CANVAS = {"length": 512, "block_length": 512, "steps": 512, "eos_policy": "suppress_confidence"}
PRESETS = {
    "llada": Preset(
        name="llada",
        prompt="OpenCompass gsm8k_gen_1d7fe4: worked examples as chat turns; last number",
        shots=4,
        **_CANVAS,
    ),
    # The harness knows no canvas; both presets share one, so that they differ in prompts alone.
    "lm-eval": Preset(
        name="lm-eval",
        prompt="lm-eval 0.4.13 gsm8k_cot: Q/A examples as chat turns; strict and flexible match",
        shots=8,
        until=("Q:", "</s>", "<|im_end|>"),
        **_CANVAS,
    ),
}
_SHOTS = Path(__file__).with_name("gsm8k_shots.json")
_NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_STRICT = re.compile(r"The answer is (\-?[0-9\.\,]+).")
_IGNORED = tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$")))


def load(preset: str = "llada", file: Path | None = None, *, column: Named = None) -> Task:
    """The test set under a preset.

    Args:
        preset: "llada" or "lm-eval".
        file: The questions and answers; None for the authors' file.
        column: What the file calls its questions.

    Raises:
        MidspanError: The data are missing or wrong, or an answer has no `#### NUMBER`.
    """
    chosen = preset_of(PRESETS, TEST.name, preset)
    rows = read_rows(TEST, file, column)
    items = tuple(
        Item(str(number), {"question": row["question"], "gold": gold(row["answer"], number)})
        for number, row in enumerate(rows.rows)
    )
    is_llada = preset == "llada"
    return Task(
        name=TEST.name,
        preset=chosen,
        items=items,
        prompt=_llada_prompt if is_llada else _lm_eval_prompt,
        score=_llada_score if is_llada else _lm_eval_score,
        measures=(Measure("accuracy"),)
        if is_llada
        else (Measure("flexible-extract"), Measure("strict-match", "strict")),
        source=str(rows),
    )


def gold(answer: str, number: int = 0) -> str:
    """The number behind the last `####`, without a sign of dollars or percent.

    Raises:
        MidspanError: There is none, or more than a number.
    """
    value = answer.rpartition("####")[2].strip() if "####" in answer else ""
    value = value.removeprefix("$").removesuffix("%").strip()
    try:
        is_number = math.isfinite(float(value.replace(",", "")))
    except ValueError:
        is_number = False
    if not is_number:
        raise MidspanError(
            f"gsm8k: the answer of item {number} has no '#### NUMBER': {answer!r}; write the "
            "number alone, such as #### 18"
        )
    return value


@cache
def _shots(preset: str) -> list[list[str]]:
    shots: list[list[str]] = json.loads(_SHOTS.read_text(encoding="utf-8"))[preset]
    return shots


def _llada_prompt(item: Item, shots: int) -> Prompt:
    form = "Question: {}\nLet's think step by step\nAnswer:"
    turns = [
        turn
        for question, answer in _shots("llada")[:shots]
        for turn in (user(form.format(question)), assistant(answer))
    ]
    return Prompt((*turns, user(form.format(item.fields["question"]))))


def _lm_eval_prompt(item: Item, shots: int) -> Prompt:
    turns = [
        turn
        for question, answer in _shots("lm-eval")[:shots]
        for turn in (user(f"Q: {question}\nA:"), assistant(answer))
    ]
    return Prompt((*turns, user(f"Q: {item.fields['question']}\nA:")))


def _llada_score(item: Item, response: str) -> Verdict:
    """OpenCompass: the last number before another "Question:", thousands not joined."""
    numbers = _NUMBER.findall(response.split("Question:")[0])
    answer = numbers[-1] if numbers else None
    target = item.fields["gold"].replace(",", "")
    return {"success": _is_equal(answer, target), "answer": answer}


def _is_equal(answer: str | None, target: str) -> bool:
    if answer is None:
        return False
    return answer == target or abs(float(answer) - float(target)) < 1e-6


def _lm_eval_score(item: Item, response: str) -> Verdict:
    text = cut(response, PRESETS["lm-eval"].until)
    numbers = [next(filter(None, groups), None) for groups in _FLEXIBLE.findall(text)]
    answer = (numbers[-1] or "").strip() if numbers else None
    strict = _STRICT.search(text)
    target = _plain(item.fields["gold"])
    return {
        "success": answer is not None and _plain(answer) == target,
        "strict": strict is not None and _plain(strict[1].strip()) == target,
        "answer": answer,
    }


def _plain(number: str) -> str:
    for pattern in _IGNORED:
        number = pattern.sub("", number)
    return number.lower()
