"""Every attack runs on a model of the second world, and other worlds are refused by name."""

import json

import pytest

from midspan.attacks import list_attacks
from midspan.engine.budget import Budget
from midspan.errors import MidspanError
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.training import TrainConfig, build_model
from midspan.organism.worlds import SECOND
from midspan.studies.audit.config import AuditConfig
from midspan.studies.audit.prepare import prepare as prepare_audit
from midspan.studies.audit.presets import audit_fields
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import prepare
from midspan.studies.redteam.presets import organism_attack, redteam_fields
from midspan.studies.redteam.roles import HELPERS
from midspan.studies.redteam.run import run_redteam
from midspan.studies.registry import preset_config

SMALL = {
    "best_of_n": {"n": 2},
    "pair": {"streams": 1, "depth": 2},
    "tap": {"branching": 1, "width": 1, "depth": 2},
    "avatar": {"tries": 1},
    "aos": {"rounds": 1, "batch": 2},
    "pal": {"steps": 1, "candidates": 4, "ranked": 2, "check_every": 1},
    "ept": {"rounds": 1, "samples": 1},
    "advprefix": {"draws": (1, 1), "kept": 1, "completions": 1, "completion_tokens": 16,
                  "min_chars": 1, "window": (8, 20)},
    "bon": {"n": 2, "batch": 2},
    "crescendo": {"rounds": 1, "backtracks": 1},
    "renellm": {"rounds": 1},
    "first_step_gcg": {"steps": 1, "width": 4, "check_every": 1},
    "post_context": {"masks": 16},
    "finetune": {"count": 2, "steps": 1, "length": 32},
    "speakeasy": {"questions": 1},
    "anchoring": {"steps": 2},
    "multiple_choice": {"questions": 1},
    "readout": {"others": 1},
}  # fmt: skip
# They need a finished run, or an adapter.
OTHERS = {"replay", "scale_adapter"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model of the second world's tokenizer."""
    from midspan.organism.second import tokenizer

    path = tmp_path_factory.mktemp("tiny")
    config = TrainConfig(hidden_size=32, layers=1, heads=4, mlp_size=32)
    model = build_model(config, Encoder())
    model.save_pretrained(path)
    tokenizer.wrapped(tokenizer.load_backend()).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    rows = tuple(
        organism_attack(name, world=SECOND, **SMALL.get(name, {}))
        for name in list_attacks()
        if name not in OTHERS
    )
    config = RedteamConfig(
        models=(folder,),
        attacks=rows,
        behaviors="organism2:1",
        helpers=dict.fromkeys(HELPERS, SECOND),
        judges=("exact", "exact-strongreject"),
        proxies=(f"{folder}/.",),
        budget=Budget(target=3),
        decoding={"length": 64, "block_length": 32, "steps": 2},
    )
    path = tmp_path_factory.mktemp("run")
    run_redteam(config, path)
    return [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]


def test_every_attack_of_the_project_comes_to_its_end(study):
    asked = {record["attack_label"]: record for record in study}
    assert set(asked) == set(list_attacks()) - OTHERS
    for name, record in asked.items():
        assert record["stop"] != "error", (name, record)
        assert record["attempts"] or record["stop"] == "failed", name


@pytest.mark.parametrize(
    ("models", "behaviors", "helper", "said"),
    [
        (("organism2", "organism:psa"), "organism2:2", SECOND, "models: organism:psa knows"),
        (("organism",), "organism2:2", SECOND, "models: organism knows"),
        (("organism2",), "organism:2", "organism", "models: organism2 knows"),
        (("organism2",), "organism2:2", "organism", "attacker: organism knows"),
        (("organism2",), "advbench.csv", SECOND, "attacker: the scripted one knows"),
    ],
)
def test_other_worlds_are_refused_by_name(models, behaviors, helper, said):
    config = RedteamConfig(
        models=models,
        attacks=(organism_attack("tap", world=SECOND),),
        behaviors=behaviors,
        helpers=dict.fromkeys(HELPERS, helper),
        judges=("refusal-keywords",),
    )
    with pytest.raises(MidspanError, match=said):
        prepare(config)


def test_the_preset_can_start():
    prepared = prepare(preset_config("organism2-redteam"))
    assert len(prepared.behaviors) == 96 and len(prepared.attacks) > 25


def test_an_audit_of_every_tier_can_start_and_says_what_it_leaves_out():
    for tier in ("quick", "standard", "full"):
        config = AuditConfig.model_validate(audit_fields("organism2", tier, {}))
        prepared = prepare_audit(config)
        assert len(prepared.rows) >= 15 and {"over-refusal", "utility"} <= set(prepared.parts)
        reasons = {one.reason for one in prepared.not_run if not one.tier}
        assert all("adapter" in reason or "gradients" in reason for reason in reasons)
    assert "monitors" in prepared.parts


def test_commands_have_the_worlds_own_defaults():
    proxies = (SECOND, f"{SECOND}:mosa-stable")
    fields = redteam_fields("organism2+mine", ("tap", "dia"), False, {})
    assert fields["behaviors"] == "organism2:18" and fields["proxies"] == proxies
    assert set(fields["helpers"].values()) == {SECOND}
    assert fields["attacks"][0].config["phrases"][0].startswith("Then")
    of_folder = redteam_fields("runs/mine", ("tap",), False, {"behaviors": "organism2:4"})
    assert set(of_folder["helpers"].values()) == {SECOND}
    audit = audit_fields("organism2", "quick", {})
    assert audit["behaviors"] == "organism2:18" and audit["proxies"] == proxies
    assert set(audit["helpers"].values()) == {SECOND}
