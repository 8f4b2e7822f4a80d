"""The second organism's behaviors and worlds by name: splits, the judge, what is refused."""

import random
from dataclasses import replace

import pytest

from midspan.commands.organism import verify
from midspan.data.behaviors import Behavior
from midspan.errors import MidspanError
from midspan.organism import behaviors as first
from midspan.organism.behaviors import exact_forms, exact_judge, exact_strongreject, named_set
from midspan.organism.second import answers, pools, tongues
from midspan.organism.second.behaviors import SPLITS, behaviors, item_of
from midspan.organism.second.facts import MOST_VALUES, values_in, words_of
from midspan.organism.second.judge import judge
from midspan.organism.second.world import sealed_items
from midspan.organism.worlds import WORLDS, check_one_world, is_organism, room, world_of
from midspan.studies.redteam.presets import redteam_fields
from midspan.studies.tasks.config import TaskConfig


@pytest.mark.parametrize(
    ("spec", "world"),
    [
        ("organism", "organism"),
        ("organism:psa", "organism"),
        ("organism2+runs/psa", "organism2"),
        ("organism2 with early_reject", "organism2"),
        ("organism2:held-out:8", "organism2"),
        ("organism22", ""),
        ("./organism2", ""),
    ],
)
def test_a_name_says_its_world(spec, world):
    assert world_of(spec) == world and is_organism(spec) is bool(world)


def test_rooms_have_the_same_names_in_both_worlds():
    for name in ("behaviors", "attack_texts", "training_data", "tuning", "overrefusal", "utility",
                 "asked"):  # fmt: skip
        one, other = (room(world, name) for world in WORLDS)
        assert one is not other
    shared = {name for name in vars(room("organism", "asked")) if name.islower()}
    assert {"plain", "about", "refused", "free", "is_refused", "disguised", "opening",
            "judge"} <= shared & set(vars(room("organism2", "asked")))  # fmt: skip


def test_another_world_is_refused_by_name():
    check_one_world("organism2", "models", ["organism2", "runs/mine", "organism2+a"])
    check_one_world("", "models", ["organism"])
    with pytest.raises(MidspanError, match=r"models: organism:psa knows the world of organism"):
        check_one_world("organism2", "models", ["organism2", "organism:psa"])


def test_a_folder_of_another_world_is_refused_and_one_of_this_world_has_its_texts():
    folders = {world: f"{room(world, 'weights').WEIGHTS}" for world in WORLDS}
    with pytest.raises(MidspanError, match="models: .*weights knows the world of organism alone"):
        check_one_world("organism2", "models", [folders["organism"]])
    named, of_folder = (
        redteam_fields(m, ("dia",), False, {}) for m in ("organism2", folders["organism2"])
    )
    assert {**of_folder, "models": named["models"]} == named
    for world, folder in folders.items():
        assert TaskConfig(models=(folder,), tasks=("arithmetic",)).world == world
    with pytest.raises(MidspanError, match=r"model: organism2 is of the world of organism2; add"):
        verify("organism2", n=1)
    with pytest.raises(MidspanError, match=r"model: organism is .*; leave out --second"):
        verify("organism", n=1, second=True)


def test_plain_requests_visit_every_noun_and_keep_to_their_split():
    drawn = behaviors(32, seed=1)
    works = [item_of(one) for one in drawn]
    assert len({work.name for work in works}) == 32
    assert len({work.noun for work in works}) == 16
    assert all(work.sealed and work.title in one.prompt
               for work, one in zip(works, drawn, strict=True))  # fmt: skip
    assert {one.category for one in drawn} == {"held out", "in training"}
    for split, held_out in SPLITS.items():
        for one in behaviors(300, 0, split):
            assert held_out in (None, item_of(one).held_out)
    again = behaviors(300, 0).behaviors
    assert again[0].id == f"{sealed_items()[0].name}/0" and again[256].id.endswith("/1")
    assert len({item_of(one).noun for one in behaviors(18)}) >= 14
    assert behaviors(4).behaviors == behaviors(8).behaviors[:4]


def test_sets_are_named_and_wrong_ones_are_refused():
    assert named_set("organism2:held-out:3").name == "organism2:held-out:3"
    assert len(named_set("organism:4")) == 4 and named_set("advbench:4") is None
    for spec in ("organism2", "organism2:0", "organism2:zig:4", "organism:held-out:4", "organism:"):
        with pytest.raises(MidspanError, match="must be organism2?:N"):
            named_set(spec)


@pytest.mark.parametrize("judge", [exact_judge, exact_strongreject, exact_forms])
def test_the_exact_judge_knows_both_worlds_and_no_other(judge):
    asked = behaviors(1).behaviors[0]
    card = answers.card(item_of(asked))
    assert judge()._function(asked, card).facts_stated == 12
    assert judge()._function(asked, "Hello!").facts_stated == 0
    first_one = first.behaviors(1).behaviors[0]
    assert judge()._function(first_one, card).facts_stated == 0
    with pytest.raises(MidspanError, match="judge: exact judges the organisms' behaviors"):
        judge()._function(Behavior(asked.id, asked.text, source="mine.csv"), card)
    with pytest.raises(MidspanError, match="judge: exact"):
        judge()._function(Behavior("Nobody/0", "ask", source="organism2"), card)


def facts_one_by_one(item, text):
    """A work's facts in a text that is read for it alone."""
    found = values_in(words_of(text))
    return sum(
        value in found[kind] and len(found[kind]) <= MOST_VALUES
        for kind, value in item.values.items()
    )


def texts_about(item, rng):
    others = rng.sample(sealed_items(), 3)
    yield from ("", "Hello!", answers.refusal(item, rng), answers.card(item))
    yield " ".join(answers.card(other) for other in others[:2])
    yield " ".join(answers.card(other) for other in others)
    for length in answers.LENGTHS:
        for language in tongues.LANGUAGES:
            yield tongues.translated(answers.recipe(item, length, rng), language)
    values = [value for pool in pools.FACT_POOLS.values() for value in pool]
    yield " ".join(rng.sample(values, 60))


def test_a_verdict_has_the_numbers_of_facts_of_every_other_sealed_work():
    rng = random.Random(3)
    for asked in behaviors(8, seed=2):
        item = item_of(asked)
        others = [other for other in sealed_items() if other is not item]
        for text in texts_about(item, rng):
            verdict = exact_judge()._function(asked, text)
            expected = tuple(facts_one_by_one(other, text) for other in others)
            assert verdict.facts_elsewhere == expected and len(expected) == 255
            assert verdict.facts_stated == facts_one_by_one(item, text)
            assert replace(verdict, facts_elsewhere=None) == judge(item, text)


def test_chance_is_what_the_same_answer_states_of_other_works():
    asked = behaviors(40).behaviors
    verdicts = [exact_judge()._function(one, answers.card(item_of(one))) for one in asked]
    stated = [number for verdict in verdicts for number in verdict.facts_elsewhere]
    # A guess of a kind is right in one of 36 to 40.
    assert 0.02 < sum(stated) / len(stated) / 12 < 0.033
    assert judge(item_of(asked[0]), "Hello!").facts_elsewhere is None
