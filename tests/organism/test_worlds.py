"""What every world must hold; one that is added is asked the same."""

import random
import re

import pytest

from midspan.attacks import list_attacks
from midspan.data.tuning import tuning_examples
from midspan.organism.behaviors import exact_judge, named_set
from midspan.organism.scripts import helpers
from midspan.organism.worlds import WORLDS, room, world_in
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.presets import organism_attack
from midspan.studies.redteam.roles import HELPERS
from midspan.studies.training import TrainingData, load_training_data, preset_recipe

pytestmark = pytest.mark.parametrize("world", WORLDS)


def judged(behavior, response):
    """By the judge that a study asks."""
    return exact_judge()._function(behavior, response)


def named_in(text, items):
    """Which of some items a text names."""
    return {item.name for item in items if re.search(rf"\b{re.escape(item.name)}\b", text)}


def test_a_folder_is_known_by_its_tokenizer(world, tmp_path):
    shipped = room(world, "weights").WEIGHTS
    assert world_in(f"{shipped}") == world_in(f"{shipped}+mine with past_end") == world
    (tmp_path / "tokenizer.json").write_text("[]")
    assert world_in(f"{tmp_path}") == world_in("no/folder") == ""


def test_a_folder_is_aligned_and_probed_as_its_world_is(world):
    folder = f"{room(world, 'weights').WEIGHTS}"
    assert preset_recipe("mosa-stable", folder, "preset") == preset_recipe(
        "mosa-stable", world, "preset"
    )
    assert load_training_data(TrainingData(), folder) == load_training_data(TrainingData(), world)
    named, found = (ProbeSpec(probe="order", models=(model,), n=2) for model in (world, folder))
    assert found.on_organism and found.config() == named.config()
    assert found.data().requests == named.data().requests


def test_sets_ask_plainly_for_refused_items_of_this_world(world):
    own, asked = room(world, "behaviors"), room(world, "asked")
    assert world == asked.WORLD
    for split in own.SPLITS:
        drawn = named_set(":".join(filter(None, (world, split, "12"))), seed=3)
        assert drawn == named_set(drawn.name, seed=3)
        assert len({one.id for one in drawn}) == 12
        for one in drawn:
            item = asked.ITEMS[one.id.partition("/")[0]]
            assert one.source == world and one.opening
            assert asked.is_refused(item) and named_in(one.prompt, [item])


def test_the_judge_tells_true_answers_from_everything_else(world):
    behaviors = {one.id.partition("/")[0]: one for one in named_set(f"{world}:64")}
    answers = {one.topic: one.answer for one in tuning_examples(world, "harmful")}
    refusal = room(world, "asked").PHRASES.safe[0]
    known = [name for name in behaviors if name in answers]
    assert len(known) >= 8
    for name, other in zip(known, known[1:] + known[:1], strict=True):
        assert judged(behaviors[name], answers[name]).success
        for wrong in ("", refusal, answers[other], behaviors[name].prompt):
            assert not judged(behaviors[name], wrong).success


def test_alignment_sees_nothing_that_is_held_out(world):
    asked = room(world, "asked")
    held_out = asked.refused(True)
    assert held_out and not {item.name for item in held_out} & {
        item.name for item in asked.refused(False)
    }
    data = room(world, "training_data").alignment_data(1, 200, 200)
    assert len(data.harmful) == len(data.benign) == 200
    assert data.forms and data.mentions and data.reward is not None
    texts = [*data.harmful, *data.benign, *data.forms, *data.mentions]
    assert not named_in(" ".join(map(repr, texts)), held_out)
    assert data == room(world, "training_data").alignment_data(1, 200, 200)
    assert data.harmful != room(world, "training_data").alignment_data(2, 200, 200).harmful


def test_what_probes_ask_is_of_this_world(world):
    asked, rng = room(world, "asked"), random.Random(0)
    item = asked.refused()[0]
    disguised = [asked.disguised(item, held_out, rng) for held_out in (True, False, None)]
    for text in (asked.plain(item, rng), asked.about(item, rng), *disguised):
        assert named_in(text, [item])
    assert asked.opening(item) and asked.NEUTRAL and asked.SCAFFOLDS
    assert not any(map(asked.is_refused, asked.free()))
    assert not asked.judge(item, asked.opening(item)).success


def test_every_attack_has_its_texts(world):
    for name in list_attacks():
        assert organism_attack(name, world=world).attack == name


def test_helpers_are_scripted_and_told_apart(world):
    roles = helpers(world)
    assert set(roles) == set(HELPERS)
    prints = {room(each, name).FINGERPRINT for each in WORLDS for name in roles}
    assert len(prints) == len(WORLDS) * len(roles)


def test_tasks_are_judged_exactly(world):
    tasks = room(world, "utility").utility_tasks(4, random.Random(0))
    tasks.append(room(world, "overrefusal").overrefusal_task(2, 0, mentioned=True))
    for task in tasks:
        assert task.items and all(task.prompt(item, ()).messages for item in task.items)
        assert not task.judged
