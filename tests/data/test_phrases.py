"""Phrase sets: the default ones, files of one's own, and what is wrong with them."""

import json
from dataclasses import asdict

import pytest

from midspan.data import PhraseSets, english_phrases, read_phrases
from midspan.errors import MidspanError

SETS = {"safe": ["no ."], "procedural": ["then", "next"], "affirmative": ["sure"]}


def test_the_english_sets_hold_the_papers_examples():
    sets = english_phrases()
    assert "therefore, I cannot answer this question." in sets.safe
    assert "the next step is" in sets.procedural
    assert all(len(phrases) >= 3 for phrases in asdict(sets).values())


def test_a_file_is_read_in_full(tmp_path):
    path = tmp_path / "phrases.json"
    path.write_text(json.dumps(SETS))
    assert read_phrases(path) == PhraseSets(("no .",), ("then", "next"), ("sure",))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold exactly the keys affirmative, procedural, safe"),
        (json.dumps({"safe": ["no"]}), "must hold exactly the keys"),
        (json.dumps({**SETS, "other": []}), "must hold exactly the keys"),
        (json.dumps({**SETS, "safe": []}), "phrases.safe is empty; give at least one"),
        (json.dumps({**SETS, "safe": ["a", " "]}), "phrases.safe holds an empty phrase; remove"),
        (json.dumps({**SETS, "safe": "no"}), "phrases.safe in .* must be a list of texts"),
        (json.dumps({**SETS, "safe": 1}), "phrases.safe in .* must be a list of texts"),
        (json.dumps({**SETS, "safe": [1]}), "phrases.safe in .* must be a list of texts"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, text, match):
    path = tmp_path / "phrases.json"
    path.write_text(text)
    with pytest.raises(MidspanError, match=match) as caught:
        read_phrases(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MidspanError, match="phrases: no file at .*nowhere.json"):
        read_phrases(tmp_path / "nowhere.json")
