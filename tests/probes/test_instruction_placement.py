import pytest

from midspan.errors import MidspanError
from midspan.probes.instruction_placement import (
    InstructionPlacementConfig,
    instruction_placement,
    instruction_placement_cells,
    starts_of,
)
from midspan.statistics import bounded_mean
from midspan.studies.probes.sections.instruction_placement import instruction_placement_section

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


def row(word, found, request="r"):
    return {
        "model": "m",
        "decoding": "d",
        "id": request,
        "phrase_kind": "neutral",
        "word": word,
        "found": found,
    }


def test_hits_and_both_chances():
    config = InstructionPlacementConfig(words=(1, 5), tolerance=2)
    rows = [row(None, [5]), row(None, [], "s"), row(1, [1, 9]), row(1, [5], "s"), row(5, [7]),
            row(5, [], "s")]  # fmt: skip
    first, fifth = instruction_placement_cells(rows, config)
    counts = [
        (c.present.successes, c.exact.successes, c.near.successes, c.unasked.successes,
         c.unasked_near.successes, c.elsewhere.mean, c.exact.n, c.unasked.n, c.elsewhere.n)
        for c in (first, fifth)
    ]  # fmt: skip
    assert counts == [(2, 1, 1, 0, 0, 0, 2, 2, 2), (1, 0, 1, 1, 1, 0.5, 2, 2, 2)]
    assert (first.distance.mean, fifth.distance.mean, fifth.distance.n) == (2, 2, 1)


def test_a_request_counts_once_however_many_other_words_it_is_asked_for():
    words, requests = (1, 5, 10, 20, 40), [f"r{nth}" for nth in range(20)]
    config = InstructionPlacementConfig(words=words)
    # Half of the requests say the phrase at word 1 whatever is asked, one for every other word.
    found = {name: [1] if nth < 10 else [] for nth, name in enumerate(requests)}
    rows = [row(word, found[name], name) for word in (None, *words) for name in requests]
    rows[-1] = row(40, [1], requests[-1])
    first = instruction_placement_cells(rows, config)[0]
    assert first.elsewhere == bounded_mean([1.0] * 10 + [0.0] * 9 + [0.25])
    assert first.elsewhere.n == first.exact.n == 20


def test_one_word_has_no_others():
    config = InstructionPlacementConfig(words=(1,))
    section = instruction_placement_section([row(None, []), row(1, [1])], config)
    (cells,) = section.tables[0].rows
    assert cells[section.tables[0].columns.index("at the word, asked elsewhere")].text == "n/a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"template": "{request} {phrase}"}, "template: must contain {word}"),
     ({"phrase_kinds": ("sad",)}, "no phrases of kind 'sad'")],
)  # fmt: skip
def test_bad_settings_are_refused(context, data, changes, message):
    with pytest.raises(MidspanError, match=message):
        instruction_placement(context, data, InstructionPlacementConfig(**changes))
