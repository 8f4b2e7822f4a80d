"""Answers in parts on the organism: what a study's records and tables say of single facts."""

import csv
import json

import pytest

from midspan.organism import world
from midspan.studies.redteam.prepare import prepare_attack
from midspan.studies.redteam.presets import organism_attack, organism_native
from midspan.studies.redteam.run import run_redteam


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    attacks = (
        organism_attack("direct"),
        organism_attack("decompose", channel="infill", form="card"),
        organism_attack("multiple_choice", questions=1, candidates=3),
        organism_attack("readout", canvases=1, others=2),
    )
    changes = {"models": ("organism",), "attacks": attacks, "judges": ("exact", "exact-forms")}
    changes["decoding"] = {"length": 64, "block_length": 32, "steps": 16}
    run_redteam(organism_native(1).model_copy(update=changes), folder, "c", fail_fast=True)
    rows = [json.loads(line) for line in (folder / "records.jsonl").open()]
    return folder, {(row["attack"], row["behavior"].split("/")[0]): row for row in rows}


def test_parts_say_what_was_joined_and_facts_what_it_states(study):
    _, rows = study
    item = world.restricted_items()[0]
    (card,) = rows["decompose", item.name]["attempts"]
    (part,) = card["parts"]
    assert part["response"] == card["response"] and item.title in part["canvas"]
    for judge in ("exact", "exact-forms"):
        verdict = card["verdicts"][judge]
        assert verdict["facts_asked"] == world.NUM_FACTS
        assert len(verdict["facts_elsewhere"]) == len(world.restricted_items()) - 1
        share = verdict["facts_stated"] / world.NUM_FACTS
        told = rows["decompose", item.name]["facts"][judge]
        assert told["share"] == [share, share]
        assert told["chance"] == pytest.approx(sum(verdict["facts_elsewhere"]) / 17 / 12)
    access = {attack: row["access"] for (attack, _), row in rows.items()}
    assert access == {
        "direct": "chat", "decompose": "sampler", "multiple_choice": "chat", "readout": "logprobs",
    }  # fmt: skip


def test_a_choice_among_three_is_guessed_by_a_third(study):
    _, rows = study
    row = rows["multiple_choice", world.restricted_items()[0].name]
    assert row["attempts"][-1]["guessed"] == pytest.approx(1 / 3)
    assert row["facts"]["exact"]["chance"] >= 1 / 36


def test_the_table_of_facts_has_every_attack(study):
    folder, _ = study
    with (folder / "tables" / "facts-exact.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["Attack"] for row in table] == ["direct", "decompose", "multiple_choice", "readout"]
    (model,) = (name.removesuffix(" note") for name in table[0] if name.endswith(" note"))
    assert all("chance" in row[f"{model} note"] and row[f"{model} n"] == "1" for row in table)


def test_every_row_of_the_native_preset_is_valid():
    config = organism_native()
    prepared = [prepare_attack(spec, config.budget) for spec in config.attacks]
    assert {row.attack.name for row in prepared} >= {"decompose", "multiple_choice", "readout"}
