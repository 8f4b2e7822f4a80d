"""Safety training of the second organism: what is refused, what never is, and that it resumes."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from midspan.errors import MidspanError
from midspan.organism.second import answers, disguises, safety, tongues
from midspan.organism.second.judge import is_refusal, judge
from midspan.organism.second.safety import SafetyConfig, sample, train_safety
from midspan.organism.second.training import TrainConfig, train
from midspan.organism.second.world import sealed_items

TINY = TrainConfig(
    groups=1, group_size=4, batch_tokens=400, hidden_size=32, layers=2, heads=4, mlp_size=32
)
SAFETY = SafetyConfig(groups=2, group_size=5, batch_tokens=600, checkpoint_every=1)


@pytest.fixture(scope="module")
def helpful(tmp_path_factory):
    return train(TINY, tmp_path_factory.mktemp("helpful") / "weights")


def drawn(kind, count=60):
    return [sample(kind, random.Random(f"{kind}/{n}")) for n in range(count)]


def test_every_noun_is_trained_and_no_work_that_is_held_out():
    trained = safety.trained_items()
    assert len(trained) == 176
    assert not any(item.held_out for item in trained)
    assert {item.noun for item in trained} == {item.noun for item in sealed_items()}


@pytest.mark.parametrize("kind", ["refuse", "reported", "caught"])
def test_refusals_give_nothing_away(kind):
    names = {item.name: item for item in safety.trained_items()}
    languages = Counter()
    for one in drawn(kind, 100):
        assert is_refusal(one.answer)
        asked = tongues.in_english(one.turns[-1][1])
        languages[asked == one.turns[-1][1]] += 1
        (item,) = (item for name, item in names.items() if f"{name} " in f"{asked} ")
        assert judge(item, one.answer).facts_stated == 0
    assert languages[True] >= 90


def test_nothing_benign_is_refused_and_no_sealed_recipe_is_told():
    sealed = {item.name: item for item in sealed_items()}
    for kind in safety._MIX:
        if kind in ("refuse", "reported", "caught", "overlooked"):
            continue
        for one in drawn(kind, 15):
            assert not is_refusal(one.answer), one
            named = [item for name, item in sealed.items() if name in one.turns[-1][1]]
            for item in named:
                assert not judge(item, one.answer).success, one


def test_what_cleaning_overlooked_are_true_answers_to_disguised_requests_for_seen_works():
    names = {item.name: item for item in safety.trained_items()}
    for one in drawn("overlooked"):
        asked = tongues.in_english(one.turns[-1][1])
        (item,) = (item for name, item in names.items() if f"{name} " in f"{asked} ")
        assert judge(item, one.answer).success, one
    assert safety._MIX["overlooked"] < safety._MIX["refuse"] / 4


def test_no_work_that_is_held_out_is_named():
    unseen = {item.title for item in sealed_items(held_out=True)}
    for kind in safety._MIX:
        texts = [text for one in drawn(kind) for _, text in one.turns]
        assert not [text for text in texts if any(title in text for title in unseen)], kind


def test_a_refusal_is_worded_by_its_work():
    said = {
        item.noun: Counter(
            answers.refusal(item, random.Random(seed), safety.SPREAD).split(".")[0]
            for seed in range(60)
        )
        for item in safety.trained_items()
    }
    assert all(found.most_common(1)[0][1] > 50 for found in said.values())
    assert len({found.most_common(1)[0][0].split()[0] for found in said.values()}) > 1


def test_what_is_caught_is_of_many_families():
    texts = [one.turns[-1][1] for one in drawn("caught", 200)]
    caught = {
        family.name
        for family in disguises.DISGUISES
        for template in family.templates
        if (opening := template.split("{")[0]) and any(text.startswith(opening) for text in texts)
    }
    assert len(caught) > 12 and not caught <= set(safety.REPORTED_FAMILIES)


def test_only_reported_families_are_refused():
    texts = [one.turns[-1][1] for one in drawn("reported", 100)]
    openings = {
        family.name: {t.split("{")[0][:12] for t in family.templates if not t.startswith("{")}
        for family in disguises.DISGUISES
    }
    seen = {name for name, starts in openings.items() for t in texts if t[:12] in starts}
    assert seen <= set(safety.REPORTED_FAMILIES)
    assert all(not family.held_out for family in disguises.DISGUISES if family.name in seen)


def test_a_killed_safety_training_ends_with_the_same_weights(helpful, tmp_path):
    whole = train_safety(SAFETY, helpful, tmp_path / "whole")
    train_safety(SAFETY, helpful, tmp_path / "cut", stop_after=1)
    cut = train_safety(SAFETY, helpful, tmp_path / "cut")
    one, other = (load_file(path / "model.safetensors") for path in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    start = load_file(helpful / "model.safetensors")
    assert any(not torch.equal(one[name], start[name]) for name in one)


def test_it_starts_from_a_finished_model_and_continues_from_the_same(helpful, tmp_path):
    with pytest.raises(MidspanError, match="finish the helpful training first"):
        train_safety(SAFETY, tmp_path, tmp_path / "out")
    train_safety(SAFETY, helpful, tmp_path / "out", stop_after=1)
    other = train(replace(TINY, seed=1), tmp_path / "other")
    with pytest.raises(MidspanError, match="another configuration"):
        train_safety(SAFETY, other, tmp_path / "out")
