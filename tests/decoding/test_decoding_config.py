from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from midspan.decoding import DecodingConfig, decoding_config
from midspan.errors import MidspanError
from midspan.models import families, family_for

LLADA = SimpleNamespace(
    decoding_defaults={"sampler": "llada", "length": 128, "steps": 128, "block_length": 32}
)
DREAM = SimpleNamespace(
    decoding_defaults={
        "sampler": "dream", "length": 512, "steps": 256, "top_p": 0.95, "remasking": "entropy"
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 0}, "decoding.length: must be at least 1"),
        (
            {"lenght": 8},
            "decoding.lenght: not a field; those of sampler 'llada' are sampler, length",
        ),
        ({"length": 10, "block_length": 4}, "block_length=4 must divide length=10"),
        ({"length": 8, "block_length": 4, "steps": 3}, "steps=3 must be a multiple of the 2"),
        ({"temperature": -1}, "decoding.temperature"),
        ({"temperature": float("nan")}, "decoding.temperature"),
        (
            {"top_p": 0.9},
            "decoding.top_p: not a field of sampler 'llada'; use sampler 'dream' or 'block'$",
        ),
        ({"alg_temp": 0.9}, "decoding.alg_temp: not a field of sampler 'llada'"),
        (
            {"sampler": "dream", "length": 8, "block_length": 4},
            "block_length: .* use sampler 'llada' or 'block'",
        ),
        ({"sampler": "dream", "remasking": "origin", "alg_temp": 1}, "alg_temp has no effect"),
        (
            {"sampler": "block", "threshold": 0.9, "alg_temp": 0.2},
            "decoding: alg_temp needs threshold=None",
        ),
        ({"compatibility": True, "early_stop": True}, "early_stop must be false"),
        ({"compatibility": True, "remasking": "margin"}, "not in LLaDA's published sampler"),
        ({"compatibility": True, "sampler": "dream", "guidance": 1}, "not in Dream's"),
        ({"remasking": "best"}, "decoding.remasking"),
        ({"threshold": 0.9, "factor": 1.0}, "threshold or factor, not both"),
        ({"threshold": 1.5}, "decoding.threshold"),
        ({"threshold": 0.9, "remasking": "entropy"}, "threshold needs remasking"),
        (
            {"factor": 1.0, "sampler": "block"},
            "decoding.factor: not a field of sampler 'block'; use sampler 'llada'$",
        ),
        (
            {"threshold": 0.9, "sampler": "dream"},
            "decoding.threshold: not a field of sampler 'dream'",
        ),
        ({"threshold": 0.9, "doubt": 0.1}, "threshold or doubt, not both"),
        ({"doubt": 0.1, "remasking": "entropy"}, "doubt needs remasking"),
        ({"revise": 0.9}, "revise needs threshold or factor or doubt"),
        ({"revise": 0.9, "doubt": 0.1, "shapes": "fixed"}, "needs revise=None"),
        ({"ties": "together"}, "ties needs threshold"),
        ({"cache": "dual", "sampler": "dream"}, "decoding.cache: not a field of sampler 'dream'"),
        (
            {"cache": "dual", "sampler": "block"},
            "decoding.cache: must be one of none, prefix; got",
        ),
        ({"cache": "dual", "guidance": 1.0}, "guidance needs"),
        ({"refresh_every": 2}, "refresh_every needs"),
        ({"trim": True, "cache": "prefix"}, "trim needs cache='dual'"),
        ({"refresh_blocks": 2, "cache": "dual"}, "refresh_blocks needs trim=True"),
        ({"editing_threshold": 0.9}, "decoding.editing_threshold: .*; use sampler 'block'$"),
        ({"compatibility": True, "cache": "dual"}, "compatibility is for"),
        ({"sampler": "block", "guidance": 1.0}, "guidance needs cache='none'"),
        ({"sampler": "block", "compatibility": True}, "compatibility needs schedule"),
        ({"sampler": "lada"}, "decoding.sampler: must be one of llada, dream, block; got"),
    ],
)
def test_a_wrong_field_is_one_line(fields, message):
    with pytest.raises(MidspanError, match=message) as caught:
        decoding_config(**fields)
    assert "\n" not in str(caught.value)


def test_published_names_are_understood():
    names = {"origin": "random", "maskgit_plus": "low_confidence", "topk_margin": "margin"}
    for published, ours in names.items():
        assert decoding_config(sampler="dream", remasking=published).remasking == ours
    assert decoding_config(sampler="dream", alg_temp=None).alg_temp == 0


def test_a_config_survives_json_and_is_frozen():
    config = decoding_config(sampler="dream", top_p=0.9, compatibility=True)
    assert not config.early_stop
    assert TypeAdapter(DecodingConfig).validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.length = 3


@pytest.mark.parametrize(
    ("family", "overrides", "expected"),
    [
        (LLADA, {}, (128, 128, 32)),
        (LLADA, {"length": 64}, (64, 64, 32)),
        (LLADA, {"length": 16}, (16, 16, 16)),
        (LLADA, {"length": 64, "steps": 4}, (64, 4, 32)),
        (LLADA, {"length": 60, "block_length": 12}, (60, 60, 12)),
        (LLADA, {"block_length": None, "steps": 7}, (128, 7, None)),
        (DREAM, {"length": 64}, (64, 32, None)),
        (family_for("llada2_moe"), {"length": 8}, (8, 32, 32)),
        (family_for("llada2_moe"), {"length": 40}, (40, 64, 32)),
        (family_for("sdar"), {"length": 64, "steps": 32}, (64, 32, 4)),
    ],
)
def test_family_settings_follow_the_length(family, overrides, expected):
    config = decoding_config(family, **overrides)
    assert (config.length, config.steps, config.block_length) == expected


def test_a_length_that_the_family_block_does_not_divide_is_refused():
    with pytest.raises(MidspanError, match="block_length=32 must divide length=100"):
        decoding_config(LLADA, length=100)


def test_another_sampler_leaves_the_family_settings():
    config = decoding_config(DREAM, sampler="llada")
    assert (config.length, config.top_p, config.remasking) == (512, None, "low_confidence")


def test_a_models_own_block_goes_before_its_familys():
    lm = SimpleNamespace(family=family_for("sdar"), block_length=32)
    config = decoding_config(lm, length=64)
    assert (config.block, config.steps_per_block, config.threshold) == (32, 32, 0.85)
    assert decoding_config(lm, length=64, block_length=8).block == 8


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_every_family_has_valid_settings(family):
    for length in (None, 1, 16, 64):
        decoding_config(family, **({"length": length} if length else {}))


@pytest.mark.parametrize(
    ("fields", "approximations"),
    [
        ({}, 0), ({"sampler": "dream"}, 0), ({"cache": "dual"}, 1), ({"threshold": 0.9}, 1),
        ({"cache": "prefix", "factor": 1.0}, 2), ({"cache": "dual", "refresh_every": 1}, 0),
        ({"cache": "dual", "trim": True}, 1),
        ({"sampler": "block", "threshold": 0.95, "editing_threshold": 0.9}, 0),
    ],
)  # fmt: skip
def test_a_config_says_whether_it_is_exact(fields, approximations):
    config = decoding_config(**fields)
    assert (config.exact, len(config.approximations)) == (approximations == 0, approximations)


def test_records_name_a_later_field_only_where_it_is_set():
    assert "schedule" not in decoding_config(length=8, steps=8).model_dump()
    linear = decoding_config(length=10, block_length=4, steps=5, schedule="linear")
    assert linear.model_dump(mode="json")["schedule"] == "linear"
    assert type(linear)(**linear.model_dump()) == linear
    assert (linear.num_blocks, linear.steps_per_block) == (3, 2)
    assert decoding_config(length=10, block_length=64, steps=5, schedule="linear").block == 10


def test_block_diffusion_needs_no_length_that_the_block_divides():
    config = decoding_config(sampler="block", length=10, block_length=4, steps=12)
    assert (config.num_blocks, config.steps_per_block, config.cache) == (3, 4, "prefix")
    assert decoding_config(length=10, block_length=5, steps=1, threshold=0.9).steps == 1
