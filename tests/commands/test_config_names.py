"""Names in files of configuration: what every config has passes, what none has is refused."""

import pytest

from midspan.alignment import PRESETS as RECIPES
from midspan.alignment import AlignmentConfig
from midspan.commands import config_names
from midspan.commands.config_names import check_fields, config_fields
from midspan.errors import MidspanError
from midspan.studies.organism.demo.config import DemoConfig
from midspan.studies.organism.objectives.config import ObjectivesConfig
from midspan.studies.paper.config import PaperConfig
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.roles import HELPERS
from midspan.studies.registry import PRESETS, config_class, preset_config
from midspan.studies.tasks.config import TaskConfig

CONFIGS = (
    AlignmentConfig, DemoConfig, ObjectivesConfig, PaperConfig, ProbeSpec, RedteamConfig,
    TaskConfig, *(type(recipe().objective) for recipe in RECIPES.values()),
)  # fmt: skip


@pytest.mark.parametrize("config", dict.fromkeys(CONFIGS), ids=lambda one: one.__name__)
def test_fields_that_are_read_from_the_source_are_those_of_the_config(config):
    assert set(config_fields(config.__name__)) == set(config.model_fields)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_whole_configuration_passes_as_print_config_writes_it(preset):
    config = preset_config(preset)
    assert type(config).__name__ == config_class(preset)
    check_fields(config.model_dump(mode="json"), config_class(preset))


@pytest.mark.parametrize("name", RECIPES)
def test_a_whole_recipe_passes(name):
    check_fields(RECIPES[name]().model_dump(mode="json"), "AlignmentConfig")


def test_changes_of_a_file_pass_as_far_as_they_name_what_is_there():
    check_fields({"attacks": {"harmbench": None}, "probes": {"gcg": {"n": 20}}}, "PaperConfig")
    check_fields({"objective": {"window": [0, 9]}}, "AlignmentConfig")
    # What is no name is left to the config: a number for a group, or a mapping for a name.
    check_fields({"objective": 3, "lr_scheduler": {"a": 1}, "probes": None}, "AlignmentConfig")


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        ("AlignmentConfig", {"lr_scheduler": "cosin"}, "lr_scheduler: must be one of .*cosine[?]"),
        ("AlignmentConfig", {"objective": {"kind": "sft", "window": [0, 9]}}, "objective.window"),
        ("AlignmentConfig", {"probes": {"evry": 3}}, "probes.evry: there is no such .*every[?]"),
        ("PaperConfig", {"probes": {"gcg": {"probe": "gcgg"}}}, "probes.gcg.probe: must be one"),
        ("PaperConfig", {"base": "organsim"}, "base: there is no folder organsim.*organism[?]"),
        ("PaperConfig", {"tasks": {"utility": {"tasks": ["gsm8"]}}}, "gsm8k[?]"),
        ("PaperConfig", {"tasks": {"utility": {"preset": "llda"}}}, "llada[?]"),
        ("PaperConfig", {"tasks": {"utility": {"data": {"gsm": "x"}}}}, "gsm8k[?]"),
        ("RedteamConfig", {"helpers": {"atacker": "organism"}}, "helpers: .*attacker[?]"),
        ("RedteamConfig", {"behaviors": "advbnch"}, "behaviors: .*advbench[?]"),
        ("RedteamConfig", {"decoding": {"cache": "dul"}}, "decoding.cache: .*dual[?]"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(config, fields, message):
    with pytest.raises(MidspanError, match=f"^--config: .*{message}"):
        check_fields(fields, config)


def test_helpers_are_those_of_red_team_studies():
    assert tuple(HELPERS) == config_names._HELPERS
