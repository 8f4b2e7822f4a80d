"""Which attacks a tier has, and which of them a target and its helpers allow."""

from pathlib import Path

import pytest
from fixture_folders import BENCHMARKS

from midspan.attacks import list_attacks
from midspan.decoding import decoding_config
from midspan.engine.budget import Budget
from midspan.engine.forecast import forecast
from midspan.errors import MidspanError
from midspan.models import family_for
from midspan.studies.audit.config import AuditConfig, TaskPart
from midspan.studies.audit.prepare import prepare
from midspan.studies.audit.presets import BATTERY, TIERS, audit_fields, left_to_later, smoke
from midspan.studies.redteam.prepare import prepare_attack
from midspan.studies.redteam.roles import HELPERS
from midspan.tasks.overrefusal import PRESET

SERVED = "http://127.0.0.1:9/v1#model"


def audit(model="organism", tier="full", **fields):
    return AuditConfig.model_validate(audit_fields(model, tier, fields))


def real(**fields):
    """A model of the hub's, with everything that must be named."""
    own = {"behaviors": str(fields.pop("file")), "judges": ("refusal-keywords",)}
    return audit("org/model", **own, over_refusal=None, utility=None, **fields)


@pytest.fixture
def requests(tmp_path):
    file = tmp_path / "requests.csv"
    file.write_text("goal\nhow do i bake bread ?\n")
    return file


def test_every_tier_has_all_of_the_one_before():
    names = [{row.name for row in audit(tier=tier).rows} for tier in TIERS]
    assert names[0] < names[1] < names[2] and len(names[2]) == len(BATTERY)
    # A replay needs a run to replay.
    assert {row.attack for row in BATTERY} == set(list_attacks()) - {"replay"}


def test_the_sweep_has_all_its_parts_whatever_the_budget():
    """Its ways are reported one by one: a budget that cut it would leave some without outcome."""
    config = audit(tier="quick")
    (row,) = [row for row in config.rows if row.on_all]
    ready = prepare_attack(row, config.budget)
    cost = ready.attack.cost(ready.config, ready.budget.target)
    assert cost.generations > config.budget.target and ready.budget.target is None


def test_the_tier_full_cuts_no_attack_on_a_model_of_ones_own():
    fields = {"behaviors": "harmbench:2", "judges": ("refusal-keywords",)}
    for tier, is_cut in (("standard", True), ("full", False)):
        config = AuditConfig(**audit_fields("some/model", tier, fields))
        limits = {(row.budget or config.budget) for row in config.rows if not row.on_all}
        assert (limits == {Budget()}) is not is_cut
        (suffix,) = [row for row in config.rows if row.attack == "first_step_gcg"]
        ready = prepare_attack(suffix, config.budget)
        whole, most = (
            sum(forecast(ready.attack, ready.config, budget).forward_rows.values())
            for budget in (Budget(), ready.budget)
        )
        assert (most < whole) is is_cut


def test_no_suffix_is_searched_for_at_a_published_size_on_the_organism():
    """The published search of 128,000 tries a behavior would be 90 hours of the tier `full`."""
    for row in audit("organism:psa").rows:
        ready = prepare_attack(row, Budget(target=12))
        cost = ready.attack.cost(ready.config, 12)
        assert sum(cost.forward_rows.values(), 0) <= 2_000, row.name


def test_rows_go_from_the_least_access_to_the_most():
    rows = [*reversed(smoke().attacks)]
    accesses = [row.access for row in smoke().model_copy(update={"attacks": tuple(rows)}).rows]
    assert accesses == ["chat", "chat", "infill", "sampler"]


def test_on_the_organism_everything_can_run():
    assert prepare(audit("organism:psa")).not_run == ()
    ((missing, access, reason, _),) = prepare(audit()).not_run
    assert (missing, access) == ("scale_adapter", "weights") and "the target has none" in reason
    later = prepare(audit("organism:psa", tier="quick")).not_run
    assert {one.what: one.reason for one in later}["pal"] == "comes with --tier standard"
    assert {one.what for one in later} == (
        {row.name for row in audit().rows} - {row.name for row in audit(tier="quick").rows}
        | {"monitors"}
    )


def test_the_page_says_what_a_behavior_takes_at_most(requests, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
    examples = tmp_path / "examples.csv"
    examples.write_text("prompt,response\nhow do i bake bread ?,with flour and an oven .\n")
    helped = {"helpers": dict.fromkeys(HELPERS, "org/helper"), "examples": str(examples)}
    for tier in ("quick", "standard"):
        config = real(file=requests, tier=tier, **helped)
        ready = [prepare_attack(row, config.budget) for row in config.rows]
        costs = [forecast(one.attack, one.config, one.budget) for one in ready]
        alone = [cost for cost in costs if not any(c.maximum for c in cost.helpers.values())]
        cells = (
            f"`{tier}`",
            f"{len(costs)}",
            f"{sum(cost.generations for cost in costs):,}",
            f"{sum(c.expected for cost in costs for c in cost.helpers.values()):,}",
            f"{sum(n for cost in costs for n in cost.forward_rows.values()):,}",
            f"{len(alone)}",
            f"{sum(cost.generations for cost in alone):,}",
        )
        assert f"| {' | '.join(cells)} |" in page, cells


def test_without_helpers_those_that_ask_none_are_run(requests):
    prepared = prepare(real(file=requests))
    ran = {row.name for row, _ in prepared.rows}
    assert {"direct", "prefill", "dija user", "pad recovery", "anchoring own"} <= ran
    assert not ran & {"tap", "anchoring t = 16", "pal"}
    reasons = {one.what: one.reason for one in prepared.not_run}
    assert "name a model with --attacker" in reasons["tap"]
    assert "--proxy" in reasons["pal"] and "--examples" in reasons["finetune"]
    examples = str(requests.with_name("examples.csv"))
    (row,) = (row for row in real(file=requests, examples=examples).rows if row.name == "finetune")
    assert row.config == {"examples": examples}


# What is not asked of a model behind each engine, of the rows that need no helper or proxy.
LACKING = {
    f"{SERVED}": {"prefill", "pad recovery", "dija user", "readout", "trajhijack", "decode_sweep"},
    "vllm:http://127.0.0.1:9#org/m": {"dija user", "trajhijack", "decode_sweep", "finetune"},
    "sglang:http://127.0.0.1:9#org/m": {"best_of_n", "prefill", "pad recovery", "readout"},
    "midspan:http://127.0.0.1:9#m": {"dija user", "readout", "decode_sweep", "first_step_gcg"},
}
GIVEN = {
    f"{SERVED}": {"direct", "tap", "best_of_n"},
    "vllm:http://127.0.0.1:9#org/m": {"prefill", "pad recovery", "dija response", "readout", "ept"},
    "sglang:http://127.0.0.1:9#org/m": {"direct", "ept", "multiple_choice"},
    "midspan:http://127.0.0.1:9#m": {"prefill", "post_context", "trajhijack", "anchoring own"},
}


@pytest.mark.parametrize("model", LACKING)
def test_a_served_model_is_asked_for_what_its_engine_gives(requests, model):
    helpers = dict.fromkeys(HELPERS, SERVED)
    fields = {"behaviors": str(requests), "judges": ("refusal-keywords",), "helpers": helpers}
    prepared = prepare(audit(model, **fields, utility=None, over_refusal=None))
    ran = {row.name for row, _ in prepared.rows}
    reasons = {one.what: one.reason for one in prepared.not_run}
    assert GIVEN[model] <= ran and not LACKING[model] & ran
    for name in LACKING[model]:
        assert "; the server gives chat" in reasons[name] and reasons[name].startswith("needs ")
    assert "watches the decoder" in reasons["monitors"]


def test_a_capability_that_a_server_lacks_takes_its_rows_out(requests):
    model = "vllm:http://127.0.0.1:9#org/m"
    fields = {"behaviors": str(requests), "judges": ("refusal-keywords",), "helpers": {}}
    servers = {model: {"capabilities": {"anchors": False, "logprobs": False}}}
    fields |= {"utility": None, "over_refusal": None, "servers": servers}
    prepared = prepare(audit(model, **fields))
    assert "pad recovery" not in {row.name for row, _ in prepared.rows}
    reasons = {one.what: one.reason for one in prepared.not_run}
    assert reasons["pad recovery"] == "needs anchors; the server gives chat, prefix"


def test_harmless_requests_of_ones_own_are_the_over_refusal(requests):
    prepared = prepare(audit(over_refusal={"benign": str(requests)}))
    (task,) = prepared.parts["over-refusal"].tasks
    assert [item.fields["prompt"] for item in task.items] == ["how do i bake bread ?"]
    assert [measure.name for measure in task.measures] == [
        "false refusals, safe", "safe requests helped",
    ]  # fmt: skip


def test_a_request_with_several_answers_is_asked_once(tmp_path):
    file = tmp_path / "answers.csv"
    file.write_text("prompt,response,is_safe\n" + "a,r1,false\na,r2,false\nb,r3,true\nb,r4,true\n")
    fields = {"behaviors": str(file), "judges": ("refusal-keywords",), "helpers": {}}
    fields |= {"over_refusal": {"benign": str(file)}, "utility": None, "tier": "quick"}
    prepared = prepare(audit("org/model", **fields))
    behaviors = prepared.redteam.behaviors
    assert [behavior.text for behavior in behaviors] == ["a"]
    assert "1 rows that repeat a request left out" in behaviors.left_out
    (task,) = prepared.parts["over-refusal"].tasks
    assert [item.fields["prompt"] for item in task.items] == ["b"]


def test_benchmarks_without_data_are_listed_and_the_rest_runs(requests, tmp_path):
    gone = {"tasks": ("gsm8k",), "data": {"gsm8k": str(tmp_path / "gone.jsonl")}}
    config = real(file=requests).model_copy(update={"utility": None})
    config = AuditConfig.model_validate(config.model_dump() | {"utility": gone})
    (missing,) = [one for one in prepare(config).not_run if one.what == "utility"]
    assert "has no data" in missing.reason and "gone.jsonl" in missing.reason


def test_defences_stand_in_front_of_attacks_and_tasks():
    rule = {"rule": "early_reject", "threshold": 0.8}
    prepared = prepare(audit(tier="quick", behind=("gate", "past_end"), defences={"gate": (rule,)}))
    (target,) = prepared.redteam.targets
    assert target.spec == "organism with gate with past_end"
    assert prepared.parts["utility"].config.decoding == {"rules": [rule, "past_end"]}
    own = {"length": 128, "block_length": 32, "steps": 32, "rules": [rule, "past_end"]}
    assert prepared.parts["over-refusal"].config.decoding == own


SERVES = {"length": 64, "threshold": 0.9, "temperature": 0.5}


@pytest.mark.parametrize("model", ["org/model", SERVED])
def test_harmless_requests_and_tasks_are_decoded_as_the_model_is_served(requests, model):
    """All of it for requests, all but the canvas for tasks; a server has settings of its own."""
    fields = {"behaviors": str(requests), "judges": ("refusal-keywords",), "helpers": {}}
    tasks = {"tasks": ("gsm8k",), "data": {"gsm8k": str(BENCHMARKS / "gsm8k" / "test.jsonl")}}
    fields |= {"over_refusal": {"benign": str(requests)}, "utility": tasks, "tier": "quick"}
    for named in (SERVES, {}):
        prepared = prepare(audit(model, decoding=named, **fields))
        found = {name: part.config.decoding for name, part in prepared.parts.items()}
        own = named if model != SERVED else {}
        assert found["over-refusal"] == own
        rest = {name: own[name] for name in ("threshold", "temperature") if name in own}
        assert found["utility"] == rest


@pytest.mark.parametrize("model_type", ["llada", "Dream", "sdar"])
def test_over_refusal_is_decoded_as_attacks_are(requests, model_type):
    """Blocks and steps are the family's for the length; without a word it is the preset's."""
    family = family_for(model_type)
    part = TaskPart(tasks=("overrefusal",), benign=str(requests))
    config = real(file=requests).model_copy(update={"over_refusal": part})
    for named, rules in (({"length": 24, "temperature": 0.5}, ()), ({}, ()), ({}, ("past_end",))):
        own = config.model_copy(update={"decoding": named, "behind": rules})
        prepared = prepare(own).parts["over-refusal"]
        found = prepared.tasks[0].preset.decoding(family, prepared.config.decoding)
        if named:
            assert found == decoding_config(family, **named)
        else:
            assert found == PRESET.decoding(family, {"rules": rules} if rules else {})


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        ("organism", {"tier": "deep"}, "--tier: must be one of quick, standard, full; got 'deep'"),
        ("org/model", {}, "--behaviors: an audit of org/model needs one"),
        ("org/model", {"behaviors": "advbench"}, "--judge: an audit of org/model needs one"),
        ("organism", {"behind": ("wall",)}, "rules: must be one of .*; got .wall."),
        ("organism with past_end", {}, "model: name its defences apart, with --defence"),
        ("organism", {"fail_level": "root"}, "fail_level: must be one of chat"),
        ("organism", {"attacks": ()}, "attacks"),
        (
            "organism",
            {"fail_above": 5, "attacks": ({"attack": "readout", "access": "logprobs"},)},
            r"fail_above .*no attack at infill access or below can run.*--fail-level logprobs",
        ),
    ],
)
def test_what_means_nothing_is_refused(model, fields, message):
    tier = fields.pop("tier", "quick")
    with pytest.raises(MidspanError, match=message):
        prepare(AuditConfig.model_validate(audit_fields(model, tier, fields)))


def test_a_battery_of_ones_own_is_no_tier():
    config = audit(tier="quick", attacks=({"attack": "direct", "access": "chat"},))
    assert config.tier == "own" and not left_to_later(config.tier)
    assert config.budget == audit(tier="quick").budget


def test_an_audit_that_can_run_nothing_says_so(requests):
    config = real(file=requests)
    only = tuple(row for row in config.attacks if row.name == "tap")
    with pytest.raises(MidspanError, match=r"attacks: none can run \(tap needs an attacker"):
        prepare(config.model_copy(update={"attacks": only}))
