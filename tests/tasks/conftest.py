"""Data and models that the tests of tasks share."""

import json
from pathlib import Path

import pytest


def mmlu_rows(count, subjects=("anatomy", "world_religions")):
    return [
        {
            "question": f"  question {number} of {subject}? ",
            "subject": subject,
            "choices": [f"choice {letter} {number}" for letter in "abcd"],
            "answer": number % 4,
        }
        for subject in subjects
        for number in range(count)
    ]


@pytest.fixture
def mmlu_folder(tmp_path) -> Path:
    folder = tmp_path / "mmlu"
    folder.mkdir()
    for split, count in (("test", 4), ("dev", 5)):
        lines = map(json.dumps, mmlu_rows(count))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder
