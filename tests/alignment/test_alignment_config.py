"""Presets against the paper's stated values, and what a wrong field says."""

import pytest

from midspan.alignment import (
    PRESETS,
    AlignmentConfig,
    MosaObjective,
    at_paper_budget,
    initial,
    initial_stable,
    mosa,
    mosa_stable,
    on_organism,
    on_organism2,
)
from midspan.alignment.objectives import RecoveryObjective
from midspan.alignment.presets import ORGANISM2_RATES, ORGANISM2_STEPS
from midspan.errors import MidspanError
from midspan.organism.weights import ADAPTERS


def test_mosa_has_every_value_that_the_paper_states():
    config = mosa()
    assert config.objective.window == (20, 60)
    assert config.objective.overflow == "allow"
    assert config.objective.kl_direction == "forward"
    assert config.objective.beta == 0.05
    assert (config.lora_rank, config.lora_alpha) == (32, 64)
    assert (config.learning_rate, config.max_grad_norm) == (5e-5, 0.01)
    assert config.num_prompts == 3000


def test_mosa_adds_nothing_to_the_papers_objective():
    config = mosa()
    assert config.objective.negative_weight == 1
    assert config.objective.negative_floor is None
    assert config.objective.benign_weight == config.benign_share == 0
    assert config == AlignmentConfig()


@pytest.mark.parametrize("recipe", [mosa, initial])
def test_an_epoch_of_the_paper_has_the_steps_of_its_figure_7(recipe):
    config = recipe()
    assert config.num_prompts == 3000 and config.num_steps >= 500
    assert config.batch_size == 2


def test_the_organism_keeps_what_its_adapters_were_trained_with():
    for name, preset in PRESETS.items():
        batch = 8 if name in ("mosa", "initial", "recovery") else 16
        assert on_organism(name, seed=3) == preset(seed=3, batch_size=batch)
        card = ADAPTERS / name / "README.md"
        if card.is_file():
            assert f"| batch_size | {batch} |" in card.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PRESETS)
def test_the_second_organism_has_one_budget_and_a_rate_for_each_objective(name):
    config, plain = on_organism2(name, seed=3), PRESETS[name]()
    assert (config.batch_size, config.response_length, config.seed) == (8, 96, 3)
    assert config.learning_rate == ORGANISM2_RATES[name]
    assert (config.objective, config.lr_scheduler) == (plain.objective, plain.lr_scheduler)
    is_dear = name in ("vrpo", "recovery")
    assert config.num_steps == (ORGANISM2_STEPS // 4 if is_dear else ORGANISM2_STEPS)
    assert on_organism2(name, num_prompts=8).num_prompts == 8


@pytest.mark.parametrize("suffix", ["", "-stable"])
def test_initial_differs_from_mosa_in_window_and_name_only(suffix):
    fields = PRESETS[f"mosa{suffix}"]().model_dump()
    fields["name"] = f"initial{suffix}"
    fields["objective"]["window"] = (0, 3)
    assert PRESETS[f"initial{suffix}"]().model_dump() == fields


@pytest.mark.parametrize("name", PRESETS)
def test_the_papers_budget_is_its_rate_and_steps(name):
    recipe, paper = at_paper_budget(name), AlignmentConfig()
    assert recipe.learning_rate == paper.learning_rate
    assert recipe.num_harmful == paper.num_harmful
    assert recipe.benign_share == PRESETS[name]().benign_share
    if name == "vrpo":  # Each of its prompts takes four canvases.
        assert (recipe.num_steps, recipe.num_prompts) == (375, 750)
        assert recipe.objective.rejected == "text"
    elif name == "recovery":  # Its own steps and group are for large models, and it takes fewer.
        assert recipe.objective == RecoveryObjective(benign_weight=recipe.objective.benign_weight)
        assert recipe.num_prompts < 3000
    else:
        assert recipe.objective == PRESETS[name]().objective
        assert (recipe.num_steps, recipe.num_prompts) == (1500, 3000)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_named_and_take_changes(name):
    config = PRESETS[name](seed=7, lora_rank=4)
    assert (config.name, config.seed, config.lora_rank) == (name, 7, 4)


def test_steps_cover_all_harmful_prompts():
    assert mosa(num_prompts=17, batch_size=8).num_steps == 3
    config = mosa_stable()
    assert config.num_steps * (config.batch_size - config.num_benign) >= config.num_prompts


def test_settings_at_their_limits_are_taken():
    assert mosa(response_length=61).objective.window[1] == 60
    assert MosaObjective(window=(0, 0)).window == (0, 0)
    assert mosa_stable(batch_size=2).num_benign == mosa_stable(batch_size=2).num_harmful == 1
    assert mosa(batch_size=6, micro_batch_size=3).micro_batch_size == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mosa(batch_size=6, micro_batch_size=4), "micro_batch_size 4 does not divide"),
        (lambda: mosa(response_length=60), "window ends at 60.*60 tokens; raise response_length"),
        (lambda: MosaObjective(window=(5, 4)), "window must satisfy 0 <= first <= last"),
        (lambda: MosaObjective(window=(-1, 4)), "window must satisfy 0 <= first <= last"),
        (lambda: MosaObjective(overflow="maybe"), "overflow: must be one of allow, forbid"),
        (lambda: MosaObjective(negative_floor=0.0), "negative_floor: must be below 0"),
        (lambda: AlignmentConfig(objective={"window": (5, 4)}), "objective.mosa: window must"),
        (lambda: mosa(benign_share=0.5), "benign_share and objective.benign_weight go"),
        (lambda: mosa_stable(benign_share=0), "benign_share and objective.benign_weight go"),
        (lambda: mosa_stable(batch_size=1), "benign_share leaves no benign or no harmful prompt"),
        (lambda: initial_stable(windw=(1, 2)), "windw: there is no such field; there are"),
        (lambda: mosa_stable(lora_rank=0), "lora_rank: must be above 0; got 0"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_in_one_line(make, message):
    with pytest.raises(MidspanError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
