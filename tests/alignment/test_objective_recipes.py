"""The recipes as a user finds them: midspan.objectives."""

import doctest

import pytest

from midspan import objectives
from midspan.alignment import LABELS, PRESETS, AlignmentConfig, presets


@pytest.mark.parametrize("name", objectives.__all__)
def test_every_recipe_is_a_preset_with_a_label(name):
    recipe = getattr(objectives, name)
    assert recipe is PRESETS[name.replace("_", "-")]
    assert isinstance(recipe(), AlignmentConfig) and recipe().name in LABELS


def test_nothing_is_left_out():
    assert {recipe.replace("_", "-") for recipe in objectives.__all__} == {*PRESETS} == {*LABELS}


@pytest.mark.parametrize("module", [objectives, presets])
def test_the_examples_are_true(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
    for name in objectives.__all__:
        assert ">>> " in getattr(module, name).__doc__
