"""A choice as a run folder: its file of settings, its page, and what studies take of it."""

import json
from dataclasses import replace

import pytest

from midspan.commands.choice import with_decoding
from midspan.errors import MidspanError
from midspan.runs.folder import FinishedRun
from midspan.runs.kinds import read_report, read_trials
from midspan.studies.choice.asked import read_asked
from midspan.studies.choice.config import ChoiceSpec
from midspan.studies.choice.run import fast_settings, keep, reference_of, run_choice
from midspan.studies.choice.stored import Settings, read_settings
from midspan.studies.decodings import chosen_setting

REFERENCE = {"length": 16, "block_length": 8, "steps": 16}
SEARCH = {
    "n": 4, "held_out": 4, "agreement": 0.5, "floor": 0.05, "chunk": 2,
    "candidates": ({"threshold": 0.001, "cache": "dual"},),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spec(**fields):
    return ChoiceSpec(model="organism", decoding=REFERENCE, choice=SEARCH | fields)


def test_a_choice_writes_settings_records_and_a_page(organism_lm, tmp_path, monkeypatch):
    monkeypatch.setattr("midspan.models.load", lambda spec: organism_lm)
    folder = tmp_path / "run"
    settings = run_choice(spec(), folder, "midspan probe", organism_lm)
    assert settings == read_settings(folder / "decoding.yaml")
    assert settings.decoding == SEARCH["candidates"][0]
    chosen = settings.chosen
    assert (chosen["model"], chosen["judged_by"]) == (organism_lm.fingerprint, "exact judge")
    assert (chosen["found"], chosen["n"], chosen["reference"]["length"]) == (True, 4, 16)
    assert chosen["times_fewer_forwards"] > 1
    run = FinishedRun.open(folder)
    held_in, judged = run.rows("records.jsonl")
    assert (held_in["part"], judged["part"], judged["same"]) == (
        "held in",
        "held out",
        chosen["same"],
    )
    report = read_report(run)
    assert [section.title for section in report.sections] == [
        "On held-out requests",
        "What was tried",
    ]
    assert report.sections[1].tables[0].rows[0][0] == "threshold 0.001, cache dual"
    assert report.headline.numbers[0].note == chosen["agreement"].partition(" % ")[2]
    assert read_trials(run) == []
    # Studies of the same weights and reference take it without a choice of their own.
    keep(organism_lm, reference_of(organism_lm, REFERENCE), settings)
    assert fast_settings(["organism", "organism with ban"], REFERENCE) == settings
    fields = with_decoding({"decoding": REFERENCE}, "fast", ["organism"])
    assert fields["decoding"] == REFERENCE | settings.decoding
    assert fields["decoding_choice"] == chosen
    assert chosen["agreement"] in chosen_setting(chosen)["decoding, chosen"]
    # From a file it is said where the reference was another one.
    fields = with_decoding({"decoding": {"steps": 8}}, str(folder / "decoding.yaml"), ["organism"])
    assert fields["decoding_choice"] == chosen | {"chosen_at": {"steps": 16}}
    told = chosen_setting(fields["decoding_choice"])["decoding, chosen"]
    assert told.endswith("; chosen at another reference (steps 16)")


def test_where_nothing_agrees_the_reference_stays(organism_lm, tmp_path, monkeypatch):
    strict = replace(read_asked(spec(), organism_lm), judge=lambda _, text: text)
    monkeypatch.setattr("midspan.studies.choice.run.read_asked", lambda *_: strict)
    settings = run_choice(spec(agreement=1.0), tmp_path / "run", "midspan probe", organism_lm)
    assert (settings.decoding, settings.chosen["found"]) == ({}, False)
    report = read_report(FinishedRun.open(tmp_path / "run"))
    assert report.headline.sentence.endswith("its reference decoding stays.")
    assert chosen_setting(settings.chosen)["decoding, chosen"].endswith("the reference decoding")


def test_a_file_of_plain_fields_is_taken(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("cache: dual\nthreshold: 0.9\n")
    fields = with_decoding({"decoding": {"length": 8}, "seed": 3}, str(file), ["m"])
    assert fields["decoding"] == {"length": 8, "cache": "dual", "threshold": 0.9}
    assert fields["decoding_choice"] == {}
    assert with_decoding({"seed": 3}, None, ["m"]) == {"seed": 3}
    file.write_text("decoding: {}\nother: 1\n")
    with pytest.raises(MidspanError, match="other: must be one of decoding, chosen"):
        read_settings(file)


def test_what_cannot_be_chosen_for_is_said(organism_lm, foreign_folder, tmp_path):
    with pytest.raises(MidspanError, match="openai:x is served"):
        fast_settings(["openai:x"], {})
    with pytest.raises(MidspanError, match="--choose --behaviors FILE"):
        fast_settings([str(foreign_folder)], REFERENCE)
    with pytest.raises(MidspanError, match="decoding: accelerates already"):
        reference_of(organism_lm, REFERENCE | {"threshold": 0.5})
    few = tmp_path / "few.txt"
    few.write_text("one\none\ntwo\n")
    asked = spec().model_copy(update={"model": "x", "behaviors": str(few)})
    with pytest.raises(MidspanError, match="2 different requests, and n=4 .* need 8"):
        run_choice(asked, tmp_path / "run", lm=organism_lm)


def test_other_models_that_do_not_confirm_leave_the_reference(monkeypatch):
    found = {
        "a": Settings({"threshold": 0.9}, {"found": True}),
        "b": Settings({}, {"found": False}),
    }
    monkeypatch.setattr("midspan.studies.choice.run._of_model", lambda spec, *rest: found[spec])
    assert fast_settings(["a"], {}) == found["a"]
    settings = fast_settings(["a", "b"], {})
    assert (settings.decoding, settings.chosen) == ({}, {"found": False, "not_confirmed_by": "b"})


@pytest.mark.parametrize("page", ["redteam", "audit"])
def test_a_config_without_a_choice_is_as_before(page):
    from midspan.studies.audit.config import AuditConfig
    from midspan.studies.audit.presets import audit_fields
    from midspan.studies.redteam.config import RedteamConfig
    from midspan.studies.redteam.presets import redteam_fields

    config = (
        RedteamConfig(**redteam_fields("organism", ("tap",), False, {}))
        if page == "redteam"
        else AuditConfig(**audit_fields("organism", "quick", {}))
    )
    assert "decoding_choice" not in json.loads(config.model_dump_json())
    chosen = type(config).model_validate(config.model_dump() | {"decoding_choice": {"found": True}})
    assert chosen.model_dump()["decoding_choice"] == {"found": True}
