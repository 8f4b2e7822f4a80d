"""MMLU: multiple choice in 57 subjects, 14,042 questions (Hendrycks et al. 2021)."""

import re
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from midspan.data.columns import Named
from midspan.data.origins import Origin
from midspan.errors import MidspanError
from midspan.tasks.rows import Published, Row, read_rows
from midspan.tasks.task import (
    Item,
    Measure,
    Message,
    Preset,
    Prompt,
    Task,
    Verdict,
    assistant,
    cut,
    preset_of,
    system,
    user,
)

LETTERS = "ABCD"
_COLUMNS = ("question", "subject", "choices", "answer")
_HUB = Origin("hub", "cais/mmlu")
_FILE = "all/{}-00000-of-00001.parquet"
TEST = Published("mmlu", _COLUMNS, 14042, None, (_HUB, _FILE.format("test")), "question")
DEV = Published("mmlu", _COLUMNS, 285, None, (_HUB, _FILE.format("dev")), "question")
PRESETS = {
    "llada": Preset(
        name="llada",
        prompt="OpenCompass mmlu_gen_a484b3: examples of the subject as chat turns; first option",
        shots=5, length=3, block_length=3, steps=3,
    ),
    "lm-eval": Preset(
        name="lm-eval",
        prompt="lm-eval 0.4.13 mmlu_generative: no examples, subject as system turn; first line",
        length=3, block_length=3, steps=3, until=("</s>", "\n"),
    ),
}  # fmt: skip
LIKELIHOOD_PRESETS = {
    "llada": Preset(
        name="llada",
        prompt="LLaDA Base by lm-eval mmlu: plain text with examples of the subject; likeliest",
        shots=5,
    ),
    "lm-eval": Preset(
        name="lm-eval",
        prompt="lm-eval 0.4.13 mmlu: no examples, subject as system turn; likeliest option",
    ),
}
_LETTER = f"([{LETTERS}])"
# Where OpenCompass's first_option_postprocess looks, in its order (LLaDA's copy of it, in
# ML-GSAI/LLaDA). The patterns in Chinese are left out, and what stands behind the letter where the
# letter is found without it.
_FIRST_OPTION = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rf"[\s，：:,]{_LETTER}[。，,.]?$",
        rf"[是为。]\s?{_LETTER}[。.]?$",
        rf"(?i)answer\s*:\s*{_LETTER}",
        rf"[Tt]he answer is:?\s+\(?{_LETTER}",
        rf"[Tt]he answer is:?\s+\(?\*?\*?{_LETTER}",
        rf"[Tt]he answer is option:?\s+\(?{_LETTER}",
        rf"[Tt]he correct answer is:?\s+\(?{_LETTER}",
        rf"[Tt]he correct answer is option:?\s+\(?{_LETTER}",
        rf"[Tt]he correct answer is.*?boxed{{{_LETTER}}}",
        rf"[Tt]he correct option is.*?boxed{{{_LETTER}}}",
        rf"[Tt]he correct answer option is.*?boxed{{{_LETTER}}}",
        rf"[Tt]he answer to the question is:?\s+\(?{_LETTER}",
        # Published with the white space or the start before it as what is read, so that a letter
        # behind white space is none.
        rf"^{_LETTER}[\s。，,：:.$]",
        r"1.\s?(.*)$",
        rf"{_LETTER}:",
        _LETTER,
    )
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

Shots = Mapping[str, Sequence[Row]]


def load(
    preset: str = "llada",
    folder: Path | None = None,
    *,
    likelihood: bool = False,
    column: Named = None,
) -> Task:
    """All subjects under a preset.

    Args:
        preset: "llada" or "lm-eval".
        folder: Holds test and dev as .jsonl or .parquet; None for the authors' file.
        likelihood: Score the four options instead of generating.
        column: What the folder's files call their questions.

    Raises:
        MidspanError: The data are missing or wrong, or a subject has too few examples.
    """
    name = "mmlu-likelihood" if likelihood else "mmlu"
    chosen = preset_of(LIKELIHOOD_PRESETS if likelihood else PRESETS, name, preset)
    rows = read_rows(TEST, _file(folder, "test"), column)
    shots: Shots = {}
    if chosen.shots:
        shots = _by_subject(read_rows(DEV, _file(folder, "dev"), column).rows)
    items = tuple(_item(row, number) for number, row in enumerate(rows.rows))
    for subject in sorted({item.group for item in items}):
        if len(shots.get(subject, ())) < chosen.shots:
            raise MidspanError(
                f"mmlu: dev has {len(shots.get(subject, ()))} examples of {subject}, and preset "
                f"{preset} needs {chosen.shots}"
            )
    return Task(
        name=name,
        preset=chosen,
        items=items,
        prompt=_prompter(preset, shots, likelihood),
        score=_SCORES["likelihood" if likelihood else preset],
        measures=(Measure("accuracy", by_group=True),),
        options=(lambda _: _options(preset)) if likelihood else None,
        source=str(rows),
    )


def _file(folder: Path | None, split: str) -> Path | None:
    if folder is None:
        return None
    candidates = [folder / f"{split}{ending}" for ending in (".jsonl", ".jsonl.gz", ".parquet")]
    files = [file for file in candidates if file.is_file()]
    if not files:
        raise MidspanError(f"mmlu: {folder} has no {split}.jsonl or {split}.parquet")
    return files[0]


def _by_subject(rows: Sequence[Row]) -> Shots:
    by_subject: dict[str, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows):
        _item(row, number)  # refuses what is no question
        by_subject[row["subject"]].append(row)
    return by_subject


def _item(row: Row, number: int) -> Item:
    choices, answer = row["choices"], row["answer"]
    if not isinstance(choices, Sequence) or isinstance(choices, str) or len(choices) != 4:
        raise MidspanError(f"mmlu: item {number}: choices must be a list of 4 texts")
    if not isinstance(answer, int) or not 0 <= answer < 4:
        raise MidspanError(f"mmlu: item {number}: answer must be 0 to 3, not {answer!r}")
    return Item(f"{row['subject']}/{number}", row, row["subject"])


def _prompter(preset: str, shots: Shots, likelihood: bool) -> Any:
    """The prompt function of a preset."""

    def chat_with_shots(item: Item, count: int) -> Prompt:
        subject = item.group.replace("_", " ")
        hint = (
            f"There is a single choice question about {subject}. "
            "Answer the question by replying A, B, C or D."
        )
        turns: list[Message] = []
        for row in shots[item.group][:count]:
            turns.append(user(f"{hint}\nQuestion: {row['question']}\n{_lines(row)}\nAnswer: "))
            turns.append(assistant(f"{LETTERS[row['answer']]}\n"))
        last = f"{hint}\nQ: {item.fields['question']}\n{_lines(item.fields)}\nA: "
        return Prompt((*turns, user(last)))

    def plain_with_shots(item: Item, count: int) -> Prompt:
        examples = "".join(
            f"{_question(row)} {LETTERS[row['answer']]}\n\n" for row in shots[item.group][:count]
        )
        return Prompt((user(_topic(item) + examples + _question(item.fields)),), chat=False)

    def chat(item: Item, count: int) -> Prompt:
        return Prompt((system(_topic(item)), user(_question(item.fields))))

    if preset == "lm-eval":
        return chat
    return plain_with_shots if likelihood else chat_with_shots


def _topic(item: Item) -> str:
    subject = item.group.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n"


def _lines(row: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{letter}. {text}" for letter, text in zip(LETTERS, row["choices"], strict=True)
    )


def _question(row: Mapping[str, Any]) -> str:
    return f"{row['question'].strip()}\n{_lines(row)}\nAnswer:"


def _options(preset: str) -> tuple[str, ...]:
    """In a chat the answer opens the response; in plain text a space stands before it."""
    return tuple(LETTERS) if preset == "lm-eval" else tuple(f" {letter}" for letter in LETTERS)


def _llada_score(item: Item, response: str) -> Verdict:
    answer = first_option(response)
    return {"success": answer == LETTERS[item.fields["answer"]], "answer": answer}


def first_option(response: str) -> str:
    """The answer in a response by OpenCompass's first_option_postprocess; empty without one."""
    text = response.strip()
    for match in filter(None, (pattern.search(text) for pattern in _FIRST_OPTION)):
        said = match[1] or match[0]
        # Of several letters, such as behind an enumeration's "1.", the alphabet's first.
        if found := next((letter for letter in LETTERS if letter in said), ""):
            return found
    return ""


def _lm_eval_score(item: Item, response: str) -> Verdict:
    line = cut(response, PRESETS["lm-eval"].until).split("\n")[0].strip()
    answer = line.lower().translate(_NO_PUNCTUATION)
    return {"success": answer == LETTERS[item.fields["answer"]].lower(), "answer": line}


def _likelihood_score(item: Item, response: str) -> Verdict:
    return {"success": response == LETTERS[item.fields["answer"]], "answer": response}


_SCORES = {"llada": _llada_score, "lm-eval": _lm_eval_score, "likelihood": _likelihood_score}
