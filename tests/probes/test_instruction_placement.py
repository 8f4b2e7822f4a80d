import pytest

from midspan.errors import MidspanError
from midspan.probes.instruction_placement import (
    InstructionPlacementConfig,
    instruction_placement,
    instruction_placement_cells,
    starts_of,
)

TEMPLATE = "{request} word {word} : {phrase}"


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("My sister likes the sea. Yes!", [1]),
        ("so - my sister likes the sea and MY SISTER LIKES THE SEA", [2, 8]),
        ("my sister likes the", []),
        ("", []),
    ],
)
def test_words_are_counted_without_punctuation(text, starts):
    assert starts_of(text, "my sister likes the sea .") == starts


def test_benign_requests_are_asked_with_and_without_the_instruction(context, data):
    config = InstructionPlacementConfig(words=(1, 5), phrase_kinds=("neutral",), template=TEMPLATE)
    rows = instruction_placement(context, data, config)
    assert len(rows) == 2 * 4 * 3 and {row["request_kind"] for row in rows} == {"benign"}
    for row in rows:
        asked = row["word"] is not None
        assert row["prompt"].endswith(f"word {row['word']} : {row['phrase']}") == asked


def row(word, found, decoding="d"):
    return {
        "model": "m",
        "decoding": decoding,
        "phrase_kind": "neutral",
        "word": word,
        "found": found,
    }


def test_hits_and_both_chances():
    config = InstructionPlacementConfig(words=(1, 5), tolerance=2)
    rows = [row(None, [5]), row(None, []), row(1, [1, 9]), row(1, [5]), row(5, [7]), row(5, [])]
    first, fifth = instruction_placement_cells(rows, config)
    counts = [
        (c.present.successes, c.exact.successes, c.near.successes, c.unasked.successes,
         c.unasked_near.successes, c.elsewhere.successes, c.exact.n, c.unasked.n, c.elsewhere.n)
        for c in (first, fifth)
    ]  # fmt: skip
    assert counts == [(2, 1, 1, 0, 0, 0, 2, 2, 2), (1, 0, 1, 1, 1, 1, 2, 2, 2)]
    assert (first.distance.mean, fifth.distance.mean, fifth.distance.n) == (2, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"template": "{request} {phrase}"}, "template: must contain {word}"),
     ({"phrase_kinds": ("sad",)}, "no phrases of kind 'sad'")],
)  # fmt: skip
def test_bad_settings_are_refused(context, data, changes, message):
    with pytest.raises(MidspanError, match=message):
        instruction_placement(context, data, InstructionPlacementConfig(**changes))
