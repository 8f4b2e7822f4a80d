"""What attacks say that they cost at most, against what the engine's ledger then holds."""

import random
from collections import Counter

import pytest
from attack_cast import (
    ADVPREFIX,
    AOS,
    AVATAR,
    DIA,
    EPT,
    GOAL,
    NATIVE,
    PAL,
    SPEAKEASY,
    TAP,
    WORDS,
    Cast,
    likelihood,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_resume import CASES, CHOOSER, PLAYS

from midspan.attacks import get_attack, list_attacks
from midspan.attacks.advprefix import AdvPrefixConfig
from midspan.attacks.aos import AosConfig
from midspan.attacks.avatar import AvatarConfig
from midspan.attacks.bon import BonConfig
from midspan.attacks.crescendo import CrescendoConfig
from midspan.attacks.dia import DiaConfig
from midspan.attacks.ept import EptConfig
from midspan.attacks.pair import PairConfig
from midspan.attacks.pal import PalConfig
from midspan.attacks.pap import PapConfig
from midspan.attacks.renellm import ReNeLLMConfig
from midspan.attacks.speakeasy import SpeakEasyConfig
from midspan.attacks.tap import TapConfig
from midspan.engine.attack import Attack
from midspan.engine.budget import Budget, Calls, Cost, is_generation
from midspan.engine.forecast import forecast


def play(name, answers, config, folder, budget=None, faults=0.0):
    """A result, and responses of the target and rows by role as the engine counted them."""
    cast = Cast(answers, faults)
    result = cast.play(get_attack(name), config, folder / "journal.jsonl", budget or Budget())
    generations = sum(map(is_generation, cast.asked))
    rows = {role: usage.forwards for role, usage in result.usage.items() if usage.forwards}
    helpers = {role: usage.calls for role, usage in result.usage.items() if role != "target"}
    return result, generations, rows, helpers


def grow_late(call, rng):
    """Safe sentences until a node's last round, and then three unsafe ones."""
    asked = grow_late.asked
    if call.extend is None:
        return " whole ."
    path = call.anchors[-1].text
    asked[path] += 1
    return f" step {asked[path]} ." if asked[path] > 3 else f" no{asked[path]} ."


def falling(call, rng):
    """Losses that are lower than all before."""
    return tuple(float(next(falling.left)) for _ in call.suffixes)


ONE_WAY = {"ways": ("shorten",), "rewrites": 1, "rounds": 3}
LATE = {"rounds": 2, "samples": 3, "max_negatives": 99}
WHOLE = {
    "direct": ({"target": "no"}, {}),
    "best_of_n": ({"target": "no"}, {"n": 7}),
    "tap": (TAP, {}),
    "tap late": (TAP, {"narrow_early": False}),
    "tap wide": (TAP, {"branching": 3, "width": None, "depth": 3, "on_topic": False}),
    "tap adaptive": (TAP, {"adaptive": True, "depth": 3, "streams": 2}),
    "pair": (TAP, {}),
    "speakeasy": (SPEAKEASY, {}),
    "speakeasy attacker": (SPEAKEASY, {"decomposer": "attacker", "languages": ("Thai", "Zulu")}),
    "avatar": (AVATAR, {}),
    "bon": (WORDS, {"n": 70}),
    "templates": (TAP, {}),
    "templates few": (TAP, {"templates": ("a {request}", "b {request}")}),
    "encodings": (TAP, {}),
    "pap": (WORDS, {}),
    "crescendo": (WORDS, {"backtracks": 0}),
    "renellm": (WORDS, ONE_WAY),
    "replay": (TAP, {"cases": {GOAL: CASES}, "each": 2}),
    "context_nesting": (TAP, {"channel": "response"}),
    "post_context": (TAP, {}),
    "first_step_gcg": (
        PAL | {"SuffixLosses": falling},
        {"steps": 5, "width": 4, "check_every": 2},
    ),
    "aos": (AOS | {"aos.rate": "[[51]]"}, {"successes": 999}),
    "dia": (DIA, {}),
    "dia II": (DIA, {"variant": "II"}),
    "prefill": (TAP, {"positions": (0, 9)}),
    "pad": (TAP, {}),
    "anchoring": (NATIVE, {}),
    "anchoring own": (NATIVE, {"draft": "own"}),
    "anchoring data": (NATIVE, {"draft": "data"}),
    "trajhijack": (TAP, {}),
    "dija": (NATIVE, {}),
    "dija helper": (NATIVE, {"shapes": (), "tries": 3}),
    "decode_sweep": (TAP, {}),
    "decompose": (NATIVE, {}),
    "decompose infill": (NATIVE, {"channel": "infill", "parts": 4}),
    "readout": (NATIVE, {"canvases": 3, "others": 2}),
    "readout alone": (NATIVE, {"canvases": 3, "baseline": 0.0}),
    "multiple_choice": (NATIVE | CHOOSER, {}),
    "multiple_choice odd": (NATIVE | CHOOSER, {"candidates": 9, "options": 2}),
    "finetune": (TAP, {"examples": "organism", "wraps": ("now {request}",)}),
    "scale_adapter": (TAP, {"wraps": ("now {request}",)}),
    "ept": (EPT | {"target": grow_late}, LATE | {"max_depth": 3}),
    "ept adaptive": (EPT | {"target": grow_late}, LATE | {"max_depth": 2, "adaptive": True}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_never_ends_early_costs_what_the_formula_says(tmp_path, name):
    answers, fields = WHOLE[name]
    attack = get_attack(name.split()[0])
    config = attack.config(**fields)
    grow_late.asked, falling.left = Counter(), iter(range(10_000, 0, -1))
    result, generations, rows, helpers = play(attack.name, answers, config, tmp_path)
    cost = forecast(attack, config, Budget())
    assert (generations, len(result.attempts), rows) == (
        cost.generations,
        cost.attempts,
        cost.forward_rows,
    )
    assert helpers == {
        role: calls.expected for role, calls in cost.helpers.items() if calls.expected
    }


def proposals(lines):
    """Proposals whose second line has so many words."""

    def say(call, rng):
        words = " ".join(str(rng.random()) for _ in range(lines))
        return f"Here is all of it {rng.random()} :\n{words}"

    return say


def sentences(call, rng):
    """Each word is one."""
    return " ".join(f"{rng.random()}." for _ in range(40))


SMALL = {"openings": ("Here", ""), "draws": (2, 1), "kept": 99, "completions": 2, "min_words": 4}
PREFIXES = {
    "instruct": ({"advprefix.answer": proposals(9)}, {}),
    "prefill": ({"advprefix.answer": proposals(9)}, {"delivery": "prefill", "kept": 3}),
    "gcg": (
        {"advprefix.answer": proposals(9)},
        {"delivery": "gcg", "steps": 5, "width": 4, "check_every": 2, "prefixes": 2},
    ),
    "adaptive": ({"advprefix.answer": sentences}, {"adaptive": True, "window": (9, 12)}),
}


@pytest.mark.parametrize("name", PREFIXES)
def test_advprefix_costs_what_the_formula_says(tmp_path, name):
    answers, fields = PREFIXES[name]
    falling = iter(range(10_000, 0, -1))
    answers = ADVPREFIX | answers | {
        "target": "long" * 99,
        "SuffixLosses": lambda call, rng: tuple(float(next(falling)) for _ in call.suffixes),
    }  # fmt: skip
    attack, config = get_attack("advprefix"), AdvPrefixConfig(**SMALL | fields)
    result, generations, rows, helpers = play("advprefix", answers, config, tmp_path)
    cost = forecast(attack, config, Budget())
    assert (generations, len(result.attempts)) == (cost.generations, cost.attempts)
    assert rows == cost.forward_rows
    assert helpers == {role: calls.expected for role, calls in cost.helpers.items()}


def test_advprefix_reads_a_chain_once_a_token():
    once, chain = (
        forecast(get_attack("advprefix"), AdvPrefixConfig(mode=mode), Budget()).forward_rows[
            "target"
        ]
        for mode in ("oneshot", "chain")
    )
    assert (once, chain) == (304 * 5, 304 * 5 * 32)


def test_pal_costs_what_the_formula_says_where_every_candidate_is_new(tmp_path):
    config = PalConfig(steps=9, candidates=6, ranked=2, suffix="! !", check_every=2)
    result, generations, rows, helpers = play("pal", PAL, config, tmp_path)
    cost = forecast(get_attack("pal"), config, Budget())
    assert (rows, helpers) == (cost.forward_rows, {"proxy": cost.helpers["proxy"].expected})
    assert rows == {"target": 1 + 9 * 2, "proxy": 9 + 9 * 6}
    assert 5 <= generations == len(result.attempts) <= 6 <= cost.generations == 11


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.integers(1, 12),
    candidates=st.integers(1, 6),
    ranked=st.integers(1, 6),
    queries=st.integers(1, 30),
    check=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_pal_never_costs_more(tmp_path, steps, candidates, ranked, queries, check, seed):
    """Some candidates were seen before, the opening is met more and less."""
    drawn = random.Random(seed)
    answers = PAL | {
        "GCGCandidates": lambda call, rng: tuple(
            f"a {drawn.randrange(20)}" for _ in range(drawn.randint(0, call.count))
        ),
        "Score": lambda call, rng: likelihood(-1.0, -2.0, -3.0, met=drawn.randint(0, 3)),
    }
    for mode in ("oneshot", "chain"):
        config = PalConfig(
            steps=steps, candidates=candidates, ranked=ranked, max_queries=queries,
            check_every=check, mode=mode, suffix="! !",
        )  # fmt: skip
        folder = tmp_path / f"{random.random()}"
        _, generations, rows, _ = play("pal", answers, config, folder)
        cost = forecast(get_attack("pal"), config, Budget())
        # A scripted likelihood counts as one row however it is read; a chain takes one a token.
        reads = 3 if mode == "chain" else 1
        assert rows.get("target", 0) * reads <= cost.forward_rows["target"]
        assert rows.get("proxy", 0) <= cost.forward_rows["proxy"]
        assert generations <= cost.generations


def at_the_last_try(answers, retries):
    """Empty replies until the last try of each call, by the kind's number of retries."""
    tries, kept = Counter(), []

    def late(kind, answer):
        def say(call, rng):
            tries[id(call)] += 1
            kept.append(call)  # So that no other call gets its id.
            if tries[id(call)] <= retries[kind]:
                return ""
            return answer(call, rng) if callable(answer) else answer

        return say

    return {
        kind: late(kind, answer) if kind in retries else answer for kind, answer in answers.items()
    }


LATEST = {
    "tap": (TAP, TapConfig(depth=3), {"tap.propose": 4, "tap.on_topic": 2, "tap.rate": 2}),
    "pair": (TAP, PairConfig(streams=4), {"tap.propose": 4, "tap.rate": 2}),
    "speakeasy": (
        SPEAKEASY, SpeakEasyConfig(), {"speakeasy.rate": 2, "speakeasy.translate": 2},
    ),
    "bon": (WORDS, BonConfig(n=5), {"bon.judge": 2}),
    "pap": (WORDS, PapConfig(), {"pap.persuade": 4}),
    "crescendo": (
        WORDS, CrescendoConfig(rounds=3, backtracks=0), {"crescendo.ask": 4, "crescendo.rate": 2},
    ),
    "renellm": (
        WORDS,
        ReNeLLMConfig(**ONE_WAY),
        {"renellm.rewrite": 2, "renellm.check": 2, "renellm.judge": 2},
    ),
    "avatar": (
        AVATAR,
        AvatarConfig(proposals=1),
        {kind: 4 for kind in AVATAR if kind != "target"} | {"avatar.rate": 2},
    ),
    "aos": (AOS, AosConfig(rounds=3), {"aos.rate": 2}),
    "dia": (
        DIA | {"dia.keywords": '{"keywords": ["sigil"]}'},
        DiaConfig(variant="II", attacker={"retries": 3}, rewriter={"retries": 3}),
        {kind: 3 for kind in DIA if kind != "target"},
    ),
    "ept": (
        EPT | {"target": grow_late},
        EptConfig(max_depth=1, **LATE),
        {"ept.guard": 2, "ept.rank": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LATEST)
def test_with_every_retry_it_costs_the_most(tmp_path, name):
    answers, config, retries = LATEST[name]
    grow_late.asked = Counter()
    _, _, _, helpers = play(name, at_the_last_try(answers, retries), config, tmp_path)
    cost = forecast(get_attack(name), config, Budget())
    assert helpers == {role: calls.maximum for role, calls in cost.helpers.items() if calls.maximum}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(PLAYS)),
    target=st.none() | st.integers(1, 30),
    helper=st.none() | st.integers(1, 60),
    faults=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_no_budget_and_no_fault_makes_it_cost_more(tmp_path, name, target, helper, faults):
    answers, config = PLAYS[name]
    attack = get_attack(name.partition("-")[0])
    budget = Budget(target=target, helper=helper)
    folder = tmp_path / f"{random.random()}"
    result, generations, rows, helpers = play(attack.name, answers, config, folder, budget, faults)
    cost = forecast(attack, config, budget)
    assert generations <= cost.generations
    assert len(result.attempts) <= cost.attempts
    assert all(rows[role] <= cost.forward_rows[role] for role in rows)
    assert all(helpers[role] <= cost.helpers[role].maximum for role in helpers)
    if helper:
        assert all(calls.maximum <= helper for calls in cost.helpers.values())


def test_a_tree_is_as_dear_as_its_budget(tmp_path):
    cost = forecast(get_attack("ept"), EptConfig(), Budget(target=300))
    assert cost == Cost(300, 300, {"evaluator": Calls(300, 900)})
    assert forecast(get_attack("ept"), EptConfig(), Budget()).generations > 5_000_000


def test_defaults_are_those_of_the_protocol():
    """The numbers that docs/attacks states."""
    costs = {
        name: forecast(get_attack(name), get_attack(name).config(), Budget())
        for name in list_attacks()
    }
    said = {
        name: (cost.generations, *(calls.expected for calls in cost.helpers.values()))
        for name, cost in costs.items()
        if name not in ("ept", "pal")
    }
    assert said == {
        "direct": (1,),
        "best_of_n": (10,),
        "tap": (94, 340, 340 + 94),
        "pair": (90, 90, 90),
        "speakeasy": (19, 0, 30, 36),
        "avatar": (30, 34, 13),
        "aos": (400, 400, 400),
        "dia": (10, 19),
        "advprefix": (2501, 304, 2500),
        "bon": (10_000, 10_000),
        "templates": (5,),
        "encodings": (8,),
        "pap": (5, 5),
        "crescendo": (20, 20, 10),
        "renellm": (20, 600, 120),
        "replay": (1,),
        "context_nesting": (3,),
        "post_context": (3,),
        "first_step_gcg": (10,),
        "prefill": (1,),
        "pad": (1,),
        "anchoring": (1, 1),
        "trajhijack": (1,),
        "dija": (2, 0),
        "decode_sweep": (14,),
        "decompose": (10, 1),
        "multiple_choice": (32, 1),
        "finetune": (1,),
        "scale_adapter": (4,),
        "readout": (0, 1),
    }
    assert costs["advprefix"].forward_rows == {"target": 1520}
    assert costs["readout"].forward_rows == {"target": 24 * 9}
    assert costs["pal"].forward_rows == {"target": 25_031, "proxy": 2000 + 100_124}
    assert costs["pal"].generations == 252
    assert costs["first_step_gcg"].forward_rows == {"target": 500 + 500 * 512}
    gcg = forecast(get_attack("advprefix"), AdvPrefixConfig(delivery="gcg"), Budget())
    assert (gcg.generations, gcg.forward_rows["target"]) == (2505, 1520 + 250 + 128_000)


def test_a_limit_of_forwards_is_put_to_likelihoods_and_gradients():
    costs = [
        forecast(get_attack(name), get_attack(name).config(), Budget(forwards=30_000))
        for name in ("first_step_gcg", "pal", "readout")
    ]
    assert costs[0].forward_rows == {"target": 30_000}
    assert costs[1].forward_rows == {"target": 5906, "proxy": 24_094}  # as 25,031 to 102,124
    assert costs[2].forward_rows == {"target": 24 * 9}


def test_an_attack_without_a_formula_is_unknown_not_free():
    direct = get_attack("direct")
    bare = Attack("bare", direct.run, direct.config, counts="any")
    assert forecast(bare, bare.config(), Budget()) is None
    assert all(get_attack(name).cost for name in list_attacks())
