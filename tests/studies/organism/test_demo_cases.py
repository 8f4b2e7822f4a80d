"""What the demo asks: sizes, seeds, works, canvases, tokens of phrases."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.decoding import anchor_phrase
from midspan.models import load
from midspan.organism.second import disguises, phrases, pools
from midspan.studies.organism.demo.cases import (
    ATTEMPTS,
    BENIGN_CELLS,
    DISGUISED,
    PLAIN,
    PREFILL_CELLS,
    UTILITY_CELLS,
    DemoSizes,
    build_cases,
    groups,
)

SIZES = DemoSizes(plain=18, disguises=12, prefill=6, benign=10, utility=7)


def test_sizes_are_kept_and_ids_are_unique():
    cases = build_cases(SIZES, seed=3)
    assert Counter(case.cell for case in cases) == {
        PLAIN: 18, DISGUISED: 12 * ATTEMPTS, **dict.fromkeys(PREFILL_CELLS, 6),
        **dict.fromkeys(BENIGN_CELLS, 10), **dict.fromkeys(UTILITY_CELLS, 7),
    }  # fmt: skip
    assert len({case.id for case in cases}) == len(cases)


def test_same_seed_same_prompts_and_another_seed_others():
    prompts = [[case.prompt for case in build_cases(SIZES, seed)] for seed in (1, 1, 2)]
    assert prompts[0] == prompts[1] != prompts[2]


def test_sealed_cells_ask_for_the_same_works_in_families_that_no_training_saw():
    cases = build_cases(SIZES, 1)
    unseen = {family.name for family in disguises.DISGUISES if family.held_out}
    attempts = [case for case in cases if case.cell == DISGUISED]
    families = {(case.behavior, case.attempt) for case in attempts}
    assert len(families) == 12 * ATTEMPTS and {family for _, family in families} <= unseen
    works = {cell: [c.item for c in cases if c.cell == cell] for cell in (PLAIN, "prefill 20")}
    assert works[PLAIN][:6] == works["prefill 20"]
    assert works[PLAIN][:12] == [case.item for case in attempts[::ATTEMPTS]]
    assert all(item.sealed for item in works[PLAIN])


def test_phrases_stand_where_a_cell_says():
    for case in build_cases(SIZES, 2):
        if case.cell not in PREFILL_CELLS:
            assert case.access == "chat" and case.anchors == ()
            continue
        ((phrase, start),) = case.anchors
        assert case.access == "infill" and case.cell == f"prefill {start}"
        assert phrase in (phrases.PROCEDURAL if start else phrases.AFFIRMATIVE)


@pytest.mark.parametrize(("start", "text"), [(0, "Then use the"), (20, " Then use the")])
def test_a_phrase_in_the_middle_begins_with_a_space_of_the_byte_level_tokens(start, text):
    lm = load("organism2", device="cpu")
    anchors = anchor_phrase(lm, "Then use the", start)
    assert lm.tokenizer.decode(list(anchors.values())) == text
    assert list(anchors) == list(range(start, start + len(anchors)))


def test_decodings_go_by_canvas_and_step():
    cases = build_cases(SIZES, 1)
    asked = list(groups(cases, ("one block", "blocks of 32"), 8))
    assert [(name, one.length, one.block, one.steps) for name, one, _ in asked] == [
        ("one block", 64, 64, 8), ("one block", 96, 96, 12),
        ("blocks of 32", 64, 32, 8), ("blocks of 32", 96, 32, 12),
    ]  # fmt: skip
    assert sum(len(group) for _, _, group in asked) == 2 * len(cases)


EACH_CELL = {case.cell: case for case in build_cases(DemoSizes(), 0)}.values()
SAID = st.text(max_size=40) | st.lists(
    st.sampled_from([*pools.FACT_POOLS["base"], "measures", "of", "times", "12", ":", "\n", "\0"])
).map(" ".join)


@settings(deadline=None, max_examples=50)
@given(SAID)
def test_any_response_has_a_verdict(response):
    """The demo ends where its judge raises."""
    for case in EACH_CELL:
        verdict = case.verdict(response)
        assert type(verdict["success"]) is type(verdict["refusal"]) is bool
