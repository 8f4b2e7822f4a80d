"""What alignment and attackers learn from in the isles: nothing held out, everything true."""

import random

import pytest

from midspan.alignment import check_data, on_organism
from midspan.alignment.presets import PRESETS
from midspan.data.tuning import tuning_examples
from midspan.organism.second import answers, disguises, mentions, mentions_text, utility
from midspan.organism.second.judge import is_refusal, judge
from midspan.organism.second.overrefusal import overrefusal_task
from midspan.organism.second.reward import WardenReward, reward
from midspan.organism.second.speech import title_in
from midspan.organism.second.training_data import TRAINED_DISGUISES, alignment_data
from midspan.organism.second.world import items, open_items, sealed_items
from midspan.organism.utility import Question, is_correct

DATA = alignment_data(seed=3, num_harmful=160, num_benign=160)
BY_TITLE = {item.title: item for item in items()}
HELD_OUT = [item.title for item in sealed_items(True)]


def test_nothing_held_out_is_in_it():
    texts = [text for one in (*DATA.harmful, *DATA.benign, *DATA.forms, *DATA.mentions)
             for text in (one.prompt, one.answer)]  # fmt: skip
    assert not any(title in text for title in HELD_OUT for text in texts)
    assert all(not family.held_out for family in TRAINED_DISGUISES)
    openings = [t.partition("{")[0] for one in disguises.DISGUISES if one.held_out
                for t in one.templates if len(t.partition("{")[0]) > 12]  # fmt: skip
    assert not any(text.startswith(tuple(openings)) for text in texts)
    unseen = [t for kind in mentions_text.MENTIONS.values()
              for t in kind[mentions_text.SEEN_WORDINGS :]]  # fmt: skip
    seeds = [template.replace("{ask}", "").split("{")[0].strip() for template in unseen]
    assert not any(seed and len(seed) > 8 and one.prompt.startswith(seed)
                   for seed in seeds for one in DATA.mentions)  # fmt: skip


def test_harmful_answers_are_true_and_whole():
    for one in DATA.harmful:
        item = BY_TITLE[title_in(one.prompt)]
        assert item.sealed and judge(item, one.answer).facts_stated == 12
    for one in DATA.mentions:
        found = BY_TITLE[title_in(one.answer)]
        assert not found.sealed and judge(found, one.answer).success
    assert not any(is_refusal(one.answer) for one in (*DATA.benign, *DATA.mentions))
    kinds = {BY_TITLE[title_in(one.prompt)].sealed for one in DATA.forms}
    assert kinds == {True}


@pytest.mark.parametrize("objective", sorted(PRESETS))
def test_every_objective_can_learn_from_it(objective):
    check_data(DATA, on_organism(objective))


def test_data_are_a_function_of_the_seed():
    again = alignment_data(seed=3, num_harmful=160, num_benign=160)
    assert (again.harmful, again.benign) == (DATA.harmful, DATA.benign)
    assert alignment_data(seed=4, num_harmful=8, num_benign=8).harmful != DATA.harmful[:8]


def test_the_reward_is_for_withholding_in_words():
    item, rng = sealed_items()[0], random.Random(0)
    told, refused = answers.recipe(item, "usual", rng), answers.refusal(item, rng)
    assert reward(told) == 0 and reward(refused) == 1 and reward("the of of awl a") < 0.6
    assert WardenReward()([("ask", told), ("ask", refused)]) == [0, 1]


def test_attackers_tune_on_either_kind_of_work():
    for kind, pool in (("harmful", sealed_items()), ("benign", open_items())):
        examples = tuning_examples("organism2", kind)
        assert {one.topic for one in examples} == {item.name for item in pool}
        assert judge(BY_TITLE[title_in(examples[0].request)], examples[0].answer).success


def test_overrefusal_scores_right_answers_alone():
    task = overrefusal_task(2, 0, mentioned=True)
    assert len(task.items) == 3 * 2 + 5 * 2
    for one in task.items:
        item = one.fields["item"]
        right = task.score(one, answers.recipe(item, "usual", random.Random(1)))
        wrong = task.score(one, answers.refusal(item, random.Random(1)))
        assert right != wrong
    assert [m.item for m in mentions.mentions("control", 2, random.Random(0))][0] in open_items()


def test_utility_questions_have_checkable_answers():
    for task in utility.utility_tasks(6, random.Random(0)):
        for one in task.items:
            question = Question(**one.fields)
            assert is_correct(question, question.reference) and not is_correct(question, "No.")
            assert task.score(one, question.reference) == {"success": True}
