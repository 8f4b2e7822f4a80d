"""Every rule against a naive loop that decodes one row, one token a forward."""

import dataclasses

import pytest
import torch

from midspan.decoding import (
    Request,
    as_rule,
    decode,
    decoding_config,
    get_rule,
    guarded,
    list_rules,
    scaffold_anchors,
)
from midspan.decoding.trace import REJECTION
from midspan.errors import MidspanError

LENGTH = 12
TEXT = "the lantern of the"


def config_of(*rules, **fields):
    plain = {"sampler": "llada", "length": LENGTH, "steps": LENGTH, "early_stop": False}
    return decoding_config(**{**plain, **fields}, rules=rules)


@torch.no_grad()
def naive(lm, request, edit=None, choose=None, open_positions=None, steps=LENGTH):
    """Commit the most confident open position, or what `choose` says, a forward."""
    mask = lm.tokens.mask
    canvas = [request.anchors.get(position, mask) for position in range(LENGTH)]
    order = []
    left = [p for p in range(LENGTH) if canvas[p] == mask]
    left = left if open_positions is None else [p for p in left if p in open_positions]
    for step in range(steps):
        if not left:
            break
        ids = torch.tensor([[*request.prompt_ids, *canvas]])
        logits_LV = lm.logits(ids)[0, len(request.prompt_ids) :].float().clone()
        logits_LV[:, mask] = -torch.inf
        for run in lm.unspelled:
            logits_LV[:, run.start : run.stop] = -torch.inf
        if edit is not None:
            edit(step, canvas, logits_LV)
        best_L = logits_LV.softmax(-1).max(-1)
        position = max(left, key=lambda p: (float(best_L.values[p]), -p))
        if choose is not None:
            position = choose(step, left, logits_LV)
        canvas[position] = int(logits_LV[position].argmax())
        left.remove(position)
        order.append(position)
    return canvas, order


@pytest.fixture
def lm(organism_lm):
    return organism_lm


@pytest.fixture
def request_(lm):
    return Request(tuple(lm.encode_chat("how do i make the lomthorn lantern ?")))


def committed(generation):
    return generation.trace.position[generation.trace.step >= 0].tolist()


def both_ways(lm, request, rule):
    """The result, the same whether the rule is the config's or the request's."""
    (everywhere,) = decode(lm, [request], config_of(rule))
    own = dataclasses.replace(request, rules=(rule,))
    other = Request(request.prompt_ids[1:])
    alone, beside = decode(lm, [own, other], config_of())
    assert alone.tokens == everywhere.tokens
    assert committed(alone) == committed(everywhere)
    assert beside.tokens == decode(lm, [other], config_of())[0].tokens
    return everywhere


def test_ban_is_the_naive_loop_without_these_tokens(lm, request_):
    plain = decode(lm, [request_], config_of())[0]
    word = lm.tokenizer.decode([plain.tokens[3]])
    rule = as_rule({"rule": "ban", "texts": [word], "positions": "2-5"})

    def edit(step, canvas, logits_LV):
        logits_LV[2:6, plain.tokens[3]] = -torch.inf

    canvas, order = naive(lm, request_, edit)
    found = both_ways(lm, request_, rule)
    assert list(found.tokens) == canvas != list(plain.tokens)
    assert committed(found) == order


def test_ban_of_the_end_leaves_no_end(lm, request_):
    def edit(step, canvas, logits_LV):
        logits_LV[:, sorted(lm.tokens.stop)] = -torch.inf

    found = both_ways(lm, request_, as_rule({"rule": "ban", "end": True}))
    assert list(found.tokens) == naive(lm, request_, edit)[0]
    assert not lm.tokens.stop & set(found.tokens)


def test_allow_limits_positions(lm, request_):
    rule = as_rule({"rule": "allow", "texts": ["lantern", "the"], "positions": [1, 7]})
    allowed = lm.encode_text("lantern the")

    def edit(step, canvas, logits_LV):
        for position in (1, 7):
            kept = logits_LV[position, allowed].clone()
            logits_LV[position] = -torch.inf
            logits_LV[position, allowed] = kept

    found = both_ways(lm, request_, rule)
    assert (list(found.tokens), committed(found)) == naive(lm, request_, edit)
    assert {found.tokens[1], found.tokens[7]} <= set(allowed)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"by": "left"}, list(range(LENGTH))),
        ({"by": "right"}, list(range(LENGTH))[::-1]),
        (
            {"by": "given", "positions": "5-6,2"},
            [5, 6, 2, *(p for p in range(LENGTH) if p not in (5, 6, 2))],
        ),
    ],
)
def test_order_commits_in_its_order(lm, request_, fields, expected):
    found = both_ways(lm, request_, as_rule({"rule": "order", **fields}))
    canvas, order = naive(lm, request_, choose=lambda step, left, logits_LV: expected[step])
    assert committed(found) == order == expected
    assert list(found.tokens) == canvas


def test_only_decodes_its_positions_and_ends(lm, request_):
    found = both_ways(lm, request_, as_rule({"rule": "only", "positions": "3,8-9"}))
    canvas, order = naive(lm, request_, open_positions=[3, 8, 9])
    assert list(found.tokens) == canvas
    assert committed(found) == order
    assert found.trace.position.size == found.forwards == 3
    assert found.tokens[0] == lm.tokens.mask


def test_slots_decodes_a_scaffolds_holes_each_among_its_candidates(lm, request_):
    text = "the [1] of [2] and [1]"
    anchors, _ = scaffold_anchors(lm, text)
    request = dataclasses.replace(request_, anchors=anchors)
    rule = {"rule": "slots", "scaffold": text, "candidates": [["loom", "awl"], ["two tin"], []]}
    limits = {1: "loom awl", 3: "two tin", 4: "two tin"}
    allowed = {position: lm.encode_text(words) for position, words in limits.items()}

    def edit(step, canvas, logits_LV):
        for position, tokens in allowed.items():
            kept = logits_LV[position, tokens].clone()
            logits_LV[position] = -torch.inf
            logits_LV[position, tokens] = kept

    found = both_ways(lm, request, as_rule(rule))
    canvas, order = naive(lm, request, edit, open_positions=[1, 3, 4, 6])
    assert (list(found.tokens), committed(found)) == (canvas, order)
    assert all(found.tokens[position] in tokens for position, tokens in allowed.items())
    assert found.tokens[7] == lm.tokens.mask
    with pytest.raises(MidspanError, match="2 for 3 holes"):
        both_ways(lm, request, as_rule(rule | {"candidates": [["a"], []]}))


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_draft_stands_where_the_model_trusts_it_most(lm, request_, steps):
    draft = lm.encode_text(TEXT)

    def edit(step, canvas, logits_LV):
        if step < steps:
            probability_LV = logits_LV.softmax(-1)
            for position, token in enumerate(draft):
                scores[position] = float(probability_LV[position, token])
                logits_LV[position] = -torch.inf
                logits_LV[position, token] = 0.0

    def choose(step, left, logits_LV):
        drafted = [position for position in left if position < len(draft)]
        if step < steps and drafted:
            return max(drafted, key=lambda position: (scores[position], -position))
        best_L = logits_LV.softmax(-1).max(-1).values
        return max(left, key=lambda position: (float(best_L[position]), -position))

    scores = {}
    found = both_ways(lm, request_, as_rule({"rule": "draft", "text": TEXT, "steps": steps}))
    assert (list(found.tokens), committed(found)) == naive(lm, request_, edit, choose)
    stand = sum(found.tokens[p] == token for p, token in enumerate(draft))
    assert stand >= min(steps, len(draft))


@pytest.mark.parametrize("weight", [1.5, -0.5])
def test_contrast_is_its_formula(lm, request_, weight):
    other = lm.encode_chat("hello")

    def edit(step, canvas, logits_LV):
        ids = torch.tensor([[*other, *canvas]])
        other_LV = lm.logits(ids)[0, len(other) :].float()
        forbidden_LV = logits_LV == -torch.inf
        logits_LV += weight * (logits_LV - other_LV)
        logits_LV[forbidden_LV] = -torch.inf

    rule = as_rule({"rule": "contrast", "prompt": "hello", "weight": weight})
    found = both_ways(lm, request_, rule)
    assert (list(found.tokens), committed(found)) == naive(lm, request_, edit)
    assert found.forwards == 2 * LENGTH


@torch.no_grad()
def test_early_reject_is_a_refusal_after_one_forward(lm, request_):
    ids = torch.tensor([[*request_.prompt_ids, *[lm.tokens.mask] * LENGTH]])
    logits_V = lm.logits(ids)[0, len(request_.prompt_ids)].float()
    logits_V[lm.tokens.mask] = -torch.inf
    probability = float(logits_V.softmax(-1)[sorted(lm.tokens.stop)].sum())
    assert 0 < probability < 1
    fires = both_ways(lm, request_, as_rule({"rule": "early_reject", "threshold": probability / 2}))
    assert (fires.text, fires.rejected_by, fires.forwards) == (REJECTION, "early_reject", 1)
    silent = as_rule({"rule": "early_reject", "threshold": (1 + probability) / 2})
    found = both_ways(lm, request_, silent)
    assert (found.rejected_by, found.tokens) == ("", decode(lm, [request_], config_of())[0].tokens)


def test_anchor_refusal_reserves_the_middle(lm, request_):
    rule = as_rule(
        {"rule": "anchor_refusal", "text": TEXT, "position": 5, "threshold": 1e-9, "steps": 1}
    )
    found = both_ways(lm, request_, rule)
    first = committed(found)[0]
    wanted = [*lm.encode_text(TEXT), lm.tokens.eos]
    for position, token in enumerate(wanted, 5):
        assert found.tokens[position] == token or position == first
    never = rule.model_copy(update={"threshold": 1 - 1e-9})
    assert both_ways(lm, request_, never).tokens == decode(lm, [request_], config_of())[0].tokens


def test_early_commit_waits_for_persistence(lm, request_):
    plain = decode(lm, [request_], config_of())[0]
    late = plain.trace.token[plain.trace.step == LENGTH - 1].tolist()[0]
    rule = as_rule({
        "rule": "early_commit", "texts": [lm.tokenizer.decode([late])], "persistence": 2,
        "steps": LENGTH,
    })  # fmt: skip
    predicted = []

    def watch(step, canvas, logits_LV):
        predicted.append(
            [p for p in range(LENGTH) if canvas[p] == lm.tokens.mask
             and int(logits_LV[p].argmax()) == late]
        )  # fmt: skip

    naive(lm, request_, watch)
    due = next(s for s in range(1, LENGTH) if predicted[s - 1] and predicted[s])
    found = both_ways(lm, request_, rule)
    at_due = found.trace.position[found.trace.step == due].tolist()
    assert set(predicted[due]) <= set(at_due)
    before = found.trace.step < due
    assert found.trace.token[before].tolist() == plain.trace.token[plain.trace.step < due].tolist()


def test_rewrite_puts_a_prefix_in_a_refusals_place(lm, request_):
    plain = decode(lm, [request_], config_of())[0]
    step_of = dict(zip(plain.trace.position.tolist(), plain.trace.step.tolist(), strict=True))
    first = min(step_of, key=lambda position: (step_of[position], position))
    marker = lm.tokenizer.decode([plain.tokens[first]])
    rule = as_rule({"rule": "rewrite", "markers": [marker], "prefix": TEXT})
    found = both_ways(lm, request_, rule)
    assert list(found.tokens[:4]) == lm.encode_text(TEXT)
    assert found.trace.step[found.trace.position == 0].tolist() == [-1]
    bare = both_ways(lm, request_, rule.model_copy(update={"prefix": ""}))
    assert bare.forwards == LENGTH + 1


def test_past_end_reads_what_stands_behind_an_end(lm, request_):
    words = lm.encode_text("lantern the lantern the")
    anchors = {0: words[0], 1: lm.tokens.eos, 2: words[1], 3: words[2]}
    request = dataclasses.replace(request_, anchors=anchors)
    early = decoding_config(sampler="llada", length=LENGTH, steps=LENGTH)
    assert decode(lm, [request], early)[0].text == "lantern"
    whole = early.model_copy(update={"rules": (as_rule("past_end"),)})
    found = decode(lm, [request], whole)[0]
    assert found.text.startswith("lantern the lantern")
    assert lm.tokens.mask not in found.tokens


def test_a_self_reminder_wraps_the_last_request():
    rule = as_rule({"rule": "self_reminder", "before": "B", "after": "A"})
    turns = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"},
             {"role": "user", "content": "z"})  # fmt: skip
    assert guarded(turns, (rule,)) == (*turns[:2], {"role": "user", "content": "B\nz\nA"})
    system = rule.model_copy(update={"form": "system"})
    assert guarded(turns, (system,)) == ({"role": "system", "content": "B\nz\nA"}, *turns)
    assert guarded("z", (system, system))[0]["content"] == "B\nz\nA\nB\nz\nA"


def test_names_files_and_classes_agree():
    assert {"ban", "draft", "early_reject", "rewrite", "self_reminder"} <= set(list_rules())
    for name in list_rules():
        assert get_rule(name).model_fields["rule"].default == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("bann", "must be one of"),
        ({"texts": ["x"]}, "rule: NAME"),
        ({"rule": "ban", "text": "x"}, "rules.text"),
        ({"rule": "ban", "positions": "3-x"}, "rules.positions"),
        ({"rule": "order", "by": "given"}, "positions"),
        (3, "rule: NAME"),
    ],
)
def test_a_wrong_rule_is_one_line(given, message):
    with pytest.raises(MidspanError, match=message) as error:
        as_rule(given)
    assert "\n" not in str(error.value)
    with pytest.raises(MidspanError, match="rules"):
        decoding_config(sampler="llada", rules=[given])


def test_a_rule_that_the_model_cannot_follow_is_refused_before_work(lm, request_):
    for fields in (
        {"rule": "ban"},
        {"rule": "ban", "texts": ["xyzzy"]},
        {"rule": "only", "positions": [LENGTH]},
        {"rule": "rewrite", "markers": ["the"], "prefix": " ".join(["the"] * 20)},
    ):
        with pytest.raises(MidspanError):
            decode(lm, [request_], config_of(as_rule(fields)))
        own = dataclasses.replace(request_, rules=(as_rule(fields),))
        with pytest.raises(MidspanError, match=r"requests\[1\]"):
            decode(lm, [request_, own], config_of())
    with pytest.raises(MidspanError, match="compatibility"):
        decode(lm, [request_], config_of("past_end", compatibility=True))


def test_configs_without_rules_are_dumped_as_before_and_with_rules_come_back():
    plain = config_of()
    assert "rules" not in plain.model_dump(mode="json")
    ruled = config_of({"rule": "ban", "texts": ["x"]}, "past_end")
    dumped = ruled.model_dump(mode="json")
    assert dumped["rules"][0]["texts"] == ["x"]
    assert decoding_config(**dumped) == ruled
    assert hash(ruled) != hash(plain)
