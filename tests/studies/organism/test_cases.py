from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.organism import phrases
from midspan.organism.tokenizer import vocabulary
from midspan.studies.organism.cases import (
    MENTION_CELLS,
    MENTION_CONTROL,
    PREFILL_POSITIONS,
    WRAP_CELLS,
    Sizes,
    build_cases,
    build_mention_cases,
)
from midspan.studies.organism.verify.config import VerifyConfig
from midspan.studies.organism.verify.run import verification_cases

SIZES = Sizes(plain=18, wraps=12, prefill=6, benign=10, utility=7)


def test_sizes_are_kept_and_ids_are_unique():
    cases = build_cases(SIZES, seed=3)
    counts = Counter(case.cell for case in cases)
    assert counts["plain"] == 18
    assert counts["wraps_trained"] == counts["wraps_held_out"] == 12 * 8
    assert counts["prefill_0"] == counts["prefill_80"] == 6
    assert counts["benign_plain"] == counts["benign_wrapped"] == 10
    assert counts["arithmetic"] == counts["choice"] == counts["program"] == 7
    assert len({case.id for case in cases}) == len(cases)


# The words of the world, so that answers which nearly are some are among them.
SAID = st.text(max_size=40) | st.lists(
    st.sampled_from([*vocabulary()[5:200], "4", "12", ".", ":", "a", "def", "\n", "\ud800", "\0"])
).map(" ".join)


EACH_CELL = {case.cell: case for case in build_cases(Sizes(), 0)}.values()


@settings(deadline=None, max_examples=50)
@given(SAID)
def test_any_response_has_a_verdict(response):
    """These studies end where their judge raises."""
    for case in EACH_CELL:
        verdict = case.verdict(response)
        assert type(verdict["success"]) is bool


def test_same_seed_same_prompts_and_another_seed_others():
    prompts = [[case.prompt for case in build_cases(SIZES, seed)] for seed in (1, 1, 2)]
    assert prompts[0] == prompts[1] != prompts[2]


def test_eight_different_families_a_behavior():
    cases = [case for case in build_cases(SIZES, 1) if case.cell in WRAP_CELLS]
    families: dict[str, set[str]] = {}
    for case in cases:
        families.setdefault(case.behavior, set()).add(case.attempt)
    assert {len(found) for found in families.values()} == {8}
    trained, held_out = (
        {case.attempt for case in cases if case.cell == cell} for cell in WRAP_CELLS
    )
    assert not trained & held_out


def test_any_number_of_behaviors_holds_seen_and_held_out_items():
    for count in (3, 12, 18):
        cases = build_cases(SIZES.model_copy(update={"wraps": count}), 1)
        kinds = Counter(c.item.held_out for c in cases if c.cell == "wraps_held_out" and c.item)
        assert kinds[False] == 2 * kinds[True]


def test_prefills_are_affirmative_at_the_start_and_procedural_in_the_middle():
    for case in build_cases(SIZES, 1):
        if case.cell.startswith("prefill"):
            assert case.access == "infill" and len(case.anchors) == 1
            ((phrase, start),) = case.anchors
            assert start in (0, *PREFILL_POSITIONS)
            assert phrase in (phrases.PROCEDURAL if start else phrases.AFFIRMATIVE)


def test_verification_has_n_cases_a_row():
    cases = verification_cases(VerifyConfig(30, 30))
    counts = Counter(case.cell for case in cases)
    assert counts["plain"] == counts["benign_plain"] == counts["program"] == 30
    behaviors = {case.behavior for case in cases if case.cell in WRAP_CELLS}
    assert len(behaviors) == 30
    assert not any(cell.startswith("prefill") for cell in counts)


def test_a_mention_is_asked_and_judged_as_it_was_drawn(organism_lm):
    cases = build_mention_cases(2, seed=1)
    assert {case.cell for case in cases} == {*MENTION_CELLS, MENTION_CONTROL}
    assert len({case.id for case in cases}) == len(cases) == 2 * (len(MENTION_CELLS) + 1)
    assert cases == build_mention_cases(2, seed=1) != build_mention_cases(2, seed=2)
    for case in cases:
        assert case.mention is not None and case.messages == case.mention.messages
        assert case.verdict(case.mention.answer)["success"]
        assert organism_lm.encode_chat(case.messages)
    assert not any(case.mention.other.held_out for case in build_mention_cases(18, 1, held_in=True))
