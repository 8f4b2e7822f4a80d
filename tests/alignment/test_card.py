"""An adapter's card: what it was held against, the base's licence, how to load it, measurements."""

import re
from dataclasses import replace

import pytest
import torch
from test_alignment_run import DATA, config, logits

from midspan.alignment import align
from midspan.alignment.card import adapter_card, add_measurements
from midspan.models import load
from midspan.models.checkpoint import licence_of


@pytest.fixture(scope="module")
def folder(organism_folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("carded") / "adapter"
    align(load(organism_folder, device="cpu"), DATA, config(num_prompts=4), made)
    return made


def test_the_python_of_a_card_loads_the_adapter(folder, organism_folder):
    card = (folder / "README.md").read_text()
    spec, peft = re.findall(r"```python\n(.*?)```", card, re.S)
    found = {"BASE": str(organism_folder), "FOLDER": str(folder)}
    exec(spec.replace("+FOLDER", f"+{folder}"), found)
    exec(peft, found)
    plain = replace(load(organism_folder, device="cpu"), model=found["model"].eval())
    torch.testing.assert_close(logits(found["lm"]), logits(plain))
    assert not torch.allclose(logits(plain), logits(load(organism_folder, device="cpu")))


def test_evaluation_sets_are_named_with_what_repeats_them(organism_lm):
    sets = {"advbench: 520 behaviors, sha256 ab": 0, "mine: 9 behaviors": 2}
    card = adapter_card(organism_lm, replace(DATA, excluded=sets), config(), "")
    assert "held against: advbench: 520 behaviors, sha256 ab (none repeats it); mine: 9" in card
    assert "(2 repeat it, which was allowed)" in card


def test_a_card_says_what_was_trained_how_and_on_what(organism_lm):
    twice = replace(DATA, harmful=DATA.harmful * 2, benign=DATA.benign * 2)
    recipe = config(seed=7)
    card = adapter_card(organism_lm, twice, recipe, "")
    assert f"# {recipe.name} adapter for {organism_lm.name}\n" in card
    method = (
        "MOSA: a refusal that ends the text becomes likely somewhere in a window of the response"
    )
    assert f"so that harmful requests are refused: {method}.\n\n| setting" in card
    for field, value in {"seed": 7, "window": recipe.objective.window}.items():
        assert f"| {field} | {value} |\n" in card
    assert not re.search(r"^\| (objective|name|probes) ", card, re.M)
    for kind, prompts in (("Harmful", DATA.harmful), ("Benign", DATA.benign)):
        assert f"- {kind} prompts: {len(prompts)} different ones (sha256 " in card
    assert "\nTraining ended early: it diverged.\n" in adapter_card(
        organism_lm, DATA, recipe, "it diverged"
    )


@pytest.mark.parametrize(("front", "licence"), [
    ("license: apache-2.0", "apache-2.0"),
    ("license: other\nlicense_name: made-up", "made-up"),
    ("tags: [a]", "unknown"),
    ("license: [", "unknown"),
])  # fmt: skip
def test_the_licence_is_what_the_bases_readme_says(tmp_path, front, licence):
    assert licence_of(tmp_path) == licence_of("nobody/has-this") == "unknown"
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# A model\n")
    assert licence_of(tmp_path) == licence


def test_measurements_stand_once_and_the_last_are_kept(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# A card\n\nText.\n")
    add_measurements(tmp_path, "| a |\n|---|\n| 1 |\n")
    first = card.read_text()
    assert first.startswith("# A card\n\nText.\n\n") and "## Measured\n\n| a |" in first
    add_measurements(tmp_path, "| a |\n|---|\n| 1 |\n")
    assert card.read_text() == first
    add_measurements(tmp_path, "| b\\1 |")
    assert "| b\\1 |" in card.read_text() and "| a |" not in card.read_text()
    assert card.read_text().count("## Measured") == 1
