"""The metrics of tasks and probes from records by hand."""

import json
from statistics import fmean

import pytest

from midspan.runs.folder import FinishedRun
from midspan.studies.hypotheses import Measurement, judged
from midspan.studies.paper.config import ORIGINAL
from midspan.studies.paper.metrics import metrics
from midspan.studies.paper.power import effects
from midspan.studies.paper.presets import MOSA, MOSA_STABLE, organism, paper
from midspan.studies.paper.seeds import records_of
from midspan.studies.power import Pairs

SOLVED = f"utility.share_solved[{MOSA} - {ORIGINAL}]"


def measure(config, name, records):
    return metrics(config)[name].metric.measure(records)


def answers(task, model, outcomes, sample=0):
    """Records of a task, an item each."""
    return [
        {"task": task, "id": str(i), "sample": sample, "model": model, "group": "", "verdict": one}
        for i, one in enumerate({"success": won} for won in outcomes)
    ]


def test_tasks_count_alike_however_many_items_they_have():
    """On the large one nothing changes; on the small ones half of all is lost."""
    sizes = {"mmlu": (200, 200), "gsm8k": (10, 5), "humaneval": (8, 4)}
    records = [
        one
        for task, (n, kept) in sizes.items()
        for model, solved in ((ORIGINAL, n), (MOSA, kept))
        for one in answers(task, model, [True] * solved + [False] * (n - solved))
    ]
    found = measure(paper(), SOLVED, records)["as configured"]
    assert found.value == pytest.approx(-1 / 3) and found.n == 8
    assert found.low < -1 / 3 < found.high < 0
    assert "mean of 3 tasks, n=8 or more in each" in found.text
    # A whole task that is missing is no smaller claim.
    left = [one for one in records if one["task"] != "gsm8k"]
    assert measure(paper(), SOLVED, left)["as configured"].n == 0


def test_several_samples_of_an_item_are_one_case():
    records = [
        *answers("choice", ORIGINAL, [True] * 6),
        *answers("choice", MOSA_STABLE, [True] * 6),
        *answers("choice", MOSA_STABLE, [False] * 6, sample=1),
    ]
    config = organism()
    task = config.tasks["utility"].model_copy(update={"tasks": ("choice",)})
    config = config.model_copy(update={"tasks": {**config.tasks, "utility": task}})
    name = f"utility.share_solved[{MOSA_STABLE} - {ORIGINAL}]"
    found = measure(config, name, records)["as configured"]
    assert found.value == pytest.approx(-0.5) and found.n == 6


def test_a_part_of_refusals_alone_has_no_share_solved():
    assert f"over-refusal.share_solved[{MOSA} - {ORIGINAL}]" not in metrics(paper())


def test_the_power_of_usefulness_is_of_the_same_mean():
    """Table 3's rates task by task, and their mean where tasks are others."""
    own = effects(paper())[SOLVED].pairs
    assert [(one.first, one.second) for one in own] == [
        pytest.approx(rates) for rates in ((0.683, 0.698), (0.659, 0.664), (0.304, 0.328))
    ]
    (first, *others) = effects(organism())[
        f"utility.share_solved[{MOSA_STABLE} - {ORIGINAL}]"
    ].pairs
    assert others == [first] * 2
    assert first.first == pytest.approx(fmean(one.first for one in own))
    assert isinstance(first, Pairs) and str(first) == "55% against 56%, 52% on both sides"


def test_what_is_asked_of_one_request_is_one_case():
    """Two requests of four prompts each; the answer without an instruction serves all four."""
    records = [
        {"model": ORIGINAL, "decoding": "one block", "id": i, "phrase_kind": kind, "word": word}
        | {"found": found}
        for i in range(2)
        for kind in ("neutral", "procedural")
        for word, found in ((None, [1]), (1, [1]), (5, [5] if i else []))
    ]
    name = f"instruction-placement.at_word_minus_unasked[{ORIGINAL}]"
    found = measure(organism(), name, records)["one block"]
    assert found.n == 2 and found.value == pytest.approx(0.25)
    assert found.text.startswith("75.0 % against 50.0 %")
    alone = Measurement.of_pairs([0.5, 1.0], [0.5, 0.5])
    assert (found.low, found.high) == (alone.low, alone.high)


@pytest.mark.parametrize("missing", [{"error": "boom"}, {"failure": "failed", "reason": "r"}])
def test_items_without_a_verdict_bound_the_difference(missing):
    """Ten questions that both models solve, but for three verdicts of one that are missing."""
    config = organism().changed({"tasks": {"utility": {"tasks": ["choice"]}}})
    records = [
        *answers("choice", ORIGINAL, [True] * 10),
        *answers("choice", MOSA_STABLE, [True] * 10),
    ]
    for record in records[-3:]:
        record["verdict"] = missing
    name = f"utility.share_solved[{MOSA_STABLE} - {ORIGINAL}]"
    found = measure(config, name, records)["as configured"]
    assert found.n == 10 and [end.value for end in found.ends] == [-0.3, 0.0]
    name = f"over-refusal.false_refusals[{MOSA_STABLE} - {ORIGINAL}]"
    for record in records:
        refused = {"refused": True} if "success" in record["verdict"] else record["verdict"]
        record |= {"task": "overrefusal", "group": "safe", "verdict": refused}
    assert measure(config, name, records)["as configured"].ends


def row(label, phrase, start, outcome, decoding="one block"):
    """A probe's record; None is a response that was not judged."""
    said = {"error": "boom", "traceback": ""} if outcome is None else {"success": outcome}
    place = {"phrase_kind": phrase, "position": start, "start": start}
    return (
        {"model": ORIGINAL, "decoding": decoding, "request_kind": "plain", "id": label}
        | place
        | said
    )


@pytest.mark.parametrize("name", ["prefill.middle_minus_first", "gcg.first_minus_middle"])
def test_responses_without_an_outcome_bound_what_probes_measure(name):
    outcomes = ((True, True), (True, None), (None, False))
    records = [
        row(i, kind, start, outcome)
        for i, pair in enumerate(outcomes)
        for kind, start, outcome in zip(("affirmative", "procedural"), (0, 40), pair, strict=True)
    ]
    found = measure(organism(), f"{name}[{ORIGINAL}]", records)["one block"]
    sign = 1 if name.startswith("gcg") else -1
    ends = sorted(sign * end.value for end in found.ends)
    assert found.n == 3 and ends == pytest.approx([0.0, 2 / 3])


def test_searches_and_placements_without_an_outcome_bound_their_rates():
    config = organism()
    records = [row(i, "procedural", 30, one) for i, one in enumerate((True, False, None))]
    searched = {**config.probes, "gcg": config.probes["gcg"]}
    searched["gcg"] = searched["gcg"].model_copy(update={"models": (ORIGINAL,)})
    config = config.model_copy(update={"probes": searched})
    found = measure(config, f"gcg.middle_success[{ORIGINAL}]", records)["one block"]
    assert found.n == 3 and [end.value for end in found.ends] == pytest.approx([1 / 3, 2 / 3])
    placed = [
        {"model": ORIGINAL, "decoding": "d", "id": 0, "phrase_kind": "neutral", "word": word} | said
        for word, said in ((None, {"found": []}), (1, {"found": [1]}), (5, {"error": "boom"}))
    ]
    name = f"instruction-placement.at_word_minus_unasked[{ORIGINAL}]"
    found = measure(config, name, placed)["d"]
    assert found.n == 1 and [end.value for end in found.ends] == [0.5, 1.0]


def test_claims_read_the_responses_that_a_probe_could_not_judge(tmp_path):
    whole = [row(0, "procedural", 30, True)]
    lost = [row(1, "procedural", 30, None)]
    for file, rows in (("records.jsonl", whole), ("errors.jsonl", lost)):
        (tmp_path / file).write_text("".join(json.dumps(one) + "\n" for one in rows))
    parts = {"gcg": FinishedRun(tmp_path, {})}
    assert records_of(organism(), parts, "gcg") == whole + lost


@pytest.mark.parametrize("preset", [organism, paper])
def test_a_response_without_an_order_costs_no_claim(preset):
    config = preset()
    (claim,) = (one for one in config.hypotheses if one.metric == f"order.tau[{ORIGINAL}]")
    asked = config.probes["order"].n
    records = [
        {"model": ORIGINAL, "decoding": "one block", "request_kind": "benign", "tau": tau}
        for tau in (None, *(0.9 + 0.001 * i for i in range(asked - 1)))
    ]
    found = judged(claim, metrics(config)[claim.metric].metric, records)
    assert found.outcome == "supported" and found.cases == str(asked - 1)


def test_an_attack_of_several_rows_counts_once():
    """DIA wins by one of its two forms, TAP wins: three quarters of the two attacks."""
    config = paper()
    judge = config.attacks["advbench"].judges[0]
    records = [
        {"model": MOSA, "behavior": "a", "attack": attack, "outcome": {judge: one}, "lost": []}
        for attack, one in (("dia", "won"), ("dia", "lost"), ("tap", "won"))
    ]
    name = f"advbench.attacks_won[{MOSA}]"
    assert measure(config, name, records)["as configured"].value == pytest.approx(0.75)
    assert "share of 8 attacks" in metrics(config)[name].metric.description
