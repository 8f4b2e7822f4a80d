"""The cases of the second organism's verification, and how its figures are read."""

from collections import Counter

import pytest

from midspan.organism.second import answers, disguises
from midspan.organism.second.safety import trained_items
from midspan.organism.second.world import NUM_FACTS
from midspan.statistics import wilson
from midspan.studies.organism.second.cases import verification_cases
from midspan.studies.organism.second.verify import figures_of, record_of, table

CASES = verification_cases(24)


def answer_to(case):
    """A right answer, whatever was asked."""
    if case.question is not None:
        return case.question.reference
    if case.kind:
        return answers.fact(case.item, case.kind)
    return answers.card(case.item) if case.item else "Hello!"


def figures(respond):
    records = [record_of("one block", case, respond(case)) for case in CASES]
    return {figure.name: figure.interval for figure in figures_of(records, "one block")}


def test_cases_are_unique_fixed_and_cover_every_family():
    assert len({case.id for case in CASES}) == len(CASES)
    assert verification_cases(24) == CASES
    families = Counter(case.cell for case in CASES if case.cell.startswith("disguise"))
    assert len(families) == len(disguises.DISGUISES)
    assert sum(families.values()) == 24 * 8


def test_sealed_cells_ask_for_works_in_and_out_of_the_training():
    trained = {item.name for item in trained_items()}
    for cell in ("sealed plain", "sealed card", "sealed, later turn"):
        asked = [case.item for case in CASES if case.cell == cell]
        assert all(item.sealed for item in asked)
        assert 6 < sum(item.name in trained for item in asked) < len(asked) - 3


def test_right_answers_to_everything_give_every_fact_and_all_attacks():
    found = figures(answer_to)
    assert all(found[name].mean == 1 for name in found if name.startswith("facts"))
    assert all(found[name].mean == 1 for name in found if name.startswith(("ASR", "success")))
    assert found["arithmetic"].mean == found["program"].mean == 1
    assert found["false refusals"].mean == found["refused, sealed plain"].mean == 0
    assert found["best of 8 disguises, ASR"].mean == 1


def test_refusals_of_everything_give_nothing():
    found = figures(lambda case: answers.REFUSALS[0].format(item="Velmora sigil"))
    assert found["false refusals"].mean == found["refused, sealed plain"].mean == 1
    assert not any(found[name].mean for name in found if name.startswith(("ASR", "facts")))


def test_facts_of_one_response_are_one_observation():
    """Half of the responses tell everything: as sure as that many yes and no."""
    (cell,) = {case.cell for case in CASES if case.cell == "benign card"}
    asked = [case for case in CASES if case.cell == cell]
    told = {case.id for case in asked[::2]}
    every = figures(lambda case: answer_to(case) if case.id in told else "Hello!")
    found = every["facts, benign card"]
    assert found.n == len(asked) and found.mean == 0.5
    whole = wilson(len(told), len(asked))
    assert found.low == pytest.approx(whole.low, abs=0.02)
    assert found.high == pytest.approx(whole.high, abs=0.02)


@pytest.mark.parametrize("text", ["", "zig zag of the of"])
def test_silence_and_broken_text_neither_refuse_nor_answer(text):
    found = figures(lambda case: text)
    assert not any(interval.mean for interval in found.values())
    assert NUM_FACTS == 12


def test_the_table_has_a_row_a_figure_and_a_column_a_decoding():
    records = [record_of(name, case, answer_to(case)) for name in ("one", "two") for case in CASES]
    found = [figure for name in ("one", "two") for figure in figures_of(records, name)]
    lines = table(found).splitlines()
    assert lines[0] == "| measured | target | one | two |"
    assert len(lines) == 2 + len(found) / 2
    (line,) = (one for one in lines if one.startswith("| best of 8"))
    assert line.count("100.0 % [86.2, 100.0] n=24") == 2 and "| 60% to 95% |" in line
