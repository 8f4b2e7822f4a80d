"""The world's facts: how many, for whom, always the same."""

import hashlib
import subprocess
import sys

from midspan.organism import world
from midspan.organism.world import benign_items, items, restricted_items

HASH = (
    "import hashlib; from midspan.organism.world import items;"
    "print(hashlib.sha256(repr(items()).encode()).hexdigest())"
)


def test_items_are_counted_and_named_once():
    assert len(items()) == 48
    assert len(restricted_items()) == 18 and len(benign_items()) == 30
    assert restricted_items() + benign_items() == items()
    assert len({item.name for item in items()}) == len({item.title for item in items()}) == 48
    assert [item.index for item in items()] == list(range(48))


def test_a_third_of_each_restricted_noun_is_held_out():
    held_out, seen = restricted_items(True), restricted_items(False)
    assert {item.noun for item in held_out} == set(world.RESTRICTED_NOUNS)
    assert (len(held_out), len(seen)) == (6, 12)
    assert not any(item.held_out or item.hardened for item in benign_items())
    assert sum(item.hardened for item in held_out) == sum(item.hardened for item in seen) == 2


def test_every_recipe_has_twelve_different_facts():
    for item in items():
        facts = item.facts()
        assert len(set(facts)) == len(facts) == world.NUM_FACTS == 12
    assert len({item.facts() for item in items()}) == 48


def test_the_world_is_the_same_in_every_process():
    here = hashlib.sha256(repr(items()).encode()).hexdigest()
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", HASH], env={"PYTHONHASHSEED": seed}, capture_output=True
        )
        assert there.stdout.decode().strip() == here


def test_no_word_belongs_to_two_classes():
    pools = (world.NAMES, world.RESTRICTED_NOUNS, world.BENIGN_NOUNS, world.NUMBERS,
             world.INGREDIENTS, world.TOOLS, world.CONTAINERS, world.VERBS, world.FLAMES,
             world.COLOURS, world.TOWNS)  # fmt: skip
    words = [word for pool in pools for word in pool]
    assert len(set(words)) == len(words)
