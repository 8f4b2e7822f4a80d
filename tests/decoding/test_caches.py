import pytest
import reference_caches
import reference_trimmed
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import EOS, MASK, TinyLM

from midspan.decoding import Request, decode, decoding_config

PROMPTS = [(5, 6, 7, 8, 9), (11, 12), (21, 22, 23), (31, 32, 33, 34, 35, 36, 37)]
CACHES = ["none", "prefix", "dual"]
RULES = [
    {}, {"threshold": 0.5}, {"threshold": 0.3}, {"threshold": 0.9, "ties": "together"},
    {"factor": 1.0}, {"factor": 0.6}, {"doubt": 0.9}, {"doubt": 2.5},
]  # fmt: skip


def config_of(**fields):
    return decoding_config(
        **{"length": 16, "block_length": 8, "steps": 8, "early_stop": False} | fields
    )


def commits(generation):
    trace = generation.trace
    rows = zip(trace.position.tolist(), trace.token.tolist(), trace.step.tolist(), strict=True)
    return [row for row in rows if row[2] >= 0]


def assert_equals_reference(lm, config, requests):
    for request, found in zip(requests, decode(lm, requests, config), strict=True):
        canvas, trace, forwards = reference_caches.cached_llada(
            lm, request.prompt_ids, request.anchors, config
        )
        assert found.tokens == tuple(canvas)
        assert commits(found) == trace
        assert found.forwards == forwards


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("cache", CACHES)
def test_a_ragged_batch_equals_the_definition(cache, rule, shift):
    lm = TinyLM(shift=shift)
    requests = [Request(prompt) for prompt in PROMPTS]
    assert_equals_reference(lm, config_of(cache=cache, **rule), requests)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_a_short_last_block_equals_the_definition(cache, shift):
    config = config_of(length=13, schedule="linear", threshold=0.4, cache=cache)
    # Rows of a full block go beside those of the short one.
    requests = [
        Request(prompt, anchors=dict.fromkeys(range(3 * index), 9))
        for index, prompt in enumerate(PROMPTS)
    ]
    assert_equals_reference(TinyLM(shift=shift), config, requests)


@settings(max_examples=10, deadline=None)
@given(
    cache=st.sampled_from(CACHES),
    rule=st.sampled_from(RULES),
    refresh_every=st.sampled_from([None, 1, 2, 3]),
    block=st.sampled_from([2, 4, 8]),
    anchors=st.dictionaries(st.integers(0, 15), st.integers(3, 50), max_size=10),
)
def test_anchors_blocks_and_refreshes_equal_the_definition(
    cache, rule, refresh_every, block, anchors
):
    fields = {"cache": cache, "block_length": block, **rule}
    if cache != "none":
        fields["refresh_every"] = refresh_every
    requests = [Request(PROMPTS[0], anchors=anchors), Request(PROMPTS[1])]
    assert_equals_reference(TinyLM(), config_of(**fields), requests)


TRIMMED = {"cache": "dual", "trim": True, "block_length": 4}


@pytest.mark.parametrize(("rule", "shift", "refresh_blocks"), [
    ({"threshold": 0.3}, False, 1), ({"threshold": 0.3}, True, 2), ({"factor": 1.0}, False, 4),
    ({"threshold": 0.5}, True, 4), ({"doubt": 1.5, "revise": 0.3}, False, 4),
    ({"threshold": 0.2, "revise": 0.4}, True, 2),
])  # fmt: skip
def test_trimmed_windows_equal_the_definition(rule, shift, refresh_blocks):
    lm = TinyLM(shift=shift)
    config = config_of(**TRIMMED, **rule, refresh_blocks=refresh_blocks)
    found = decode(lm, [Request(prompt) for prompt in PROMPTS], config)
    for prompt, row in zip(PROMPTS, found, strict=True):
        canvas, forwards, _ = reference_trimmed.trimmed_llada(lm, prompt, config)
        assert (row.tokens, row.forwards) == (tuple(canvas), forwards)


def test_a_second_look_costs_forwards_and_spares_anchors():
    lm = TinyLM()
    anchors = {2: 9, 3: 9, 9: EOS, 10: 9, 11: 9}
    requests = [Request(prompt, anchors=anchors) for prompt in PROMPTS]
    for cache in CACHES:
        fields = {"cache": cache, "doubt": 1.5, "early_stop": True}
        once, again = (
            decode(lm, requests, config_of(**fields, **more)) for more in ({}, {"revise": 1.0})
        )
        alone = [decode(lm, [one], config_of(**fields, revise=1.0))[0] for one in requests]
        for first, second, same in zip(once, again, alone, strict=True):
            assert (second.tokens, second.forwards) == (same.tokens, same.forwards)
            assert second.forwards > first.forwards
            assert all(second.tokens[place] == token for place, token in anchors.items())


def test_trimming_feeds_what_the_definition_feeds():
    lm, seen = TinyLM(), []
    config = config_of(**TRIMMED, threshold=0.3, refresh_blocks=4)
    lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    decode(lm, [Request(PROMPTS[0])], config)
    _, forwards, computed = reference_trimmed.trimmed_llada(lm, PROMPTS[0], config)
    assert (len(seen), sum(seen)) == (forwards, computed)
    # Without trimming, a block's first forward is over all 21 and the others are over its 4.
    assert computed < 4 * 21 + (forwards - 4) * 4


def test_a_stale_cache_changes_the_result_and_a_fresh_one_does_not():
    lm = TinyLM()
    requests = [Request(prompt) for prompt in PROMPTS]
    exact = [found.tokens for found in decode(lm, requests, config_of())]
    for cache in ("prefix", "dual"):
        stale = config_of(cache=cache)
        fresh = config_of(cache=cache, refresh_every=1)
        assert [found.tokens for found in decode(lm, requests, stale)] != exact
        assert [found.tokens for found in decode(lm, requests, fresh)] == exact
        assert (stale.exact, fresh.exact) == (False, True)


@pytest.mark.parametrize("fields", [
    {"cache": "dual", "threshold": 0.3}, {"cache": "prefix", "factor": 1.0},
    {"cache": "dual", "temperature": 1.0}, {"cache": "dual", "remasking": "random"},
    {"cache": "dual", "threshold": 0.3, "early_stop": True}, {"threshold": 0.3, "temperature": 0.7},
    {"cache": "prefix", "refresh_every": 2, "eos_policy": "suppress_confidence"},
    {**TRIMMED, "threshold": 0.3, "refresh_blocks": 2}, {**TRIMMED, "refresh_every": 3},
])  # fmt: skip
def test_a_row_in_a_batch_equals_the_row_alone(fields):
    lm = TinyLM(bias={EOS: 2.0})
    config = config_of(**fields)
    requests = [
        Request(prompt, anchors={index: 40} if index else {}, seed=index)
        for index, prompt in enumerate(PROMPTS)
    ]
    together = decode(lm, requests, config)
    for request, found in zip(requests, together, strict=True):
        alone = decode(lm, [request], config)[0]
        assert found.tokens == alone.tokens
        assert found.forwards == alone.forwards
        assert commits(found) == commits(alone)
        if not config.early_stop:
            assert MASK not in found.tokens


def test_positions_counted_from_the_first_real_token_change_nothing():
    lm = TinyLM()
    requests = [Request(prompt) for prompt in PROMPTS]
    expected = decode(lm, requests, config_of(cache="dual"))
    lm.family.cumulative_positions = True
    found = decode(lm, requests, config_of(cache="dual"))
    assert [one.tokens for one in found] == [one.tokens for one in expected]


@pytest.mark.parametrize(("cache", "fed"), [("prefix", [21, 16, 21, 8]), ("dual", [21, 8, 21, 8])])
def test_only_the_window_goes_through_the_model(cache, fed):
    lm = TinyLM()
    seen = []
    lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    decode(lm, [Request(PROMPTS[0])], config_of(cache=cache, steps=4))
    assert seen == fed
    assert lm.head_rows == [8, 4, 8, 4]


def test_finished_rows_leave_the_forward():
    lm = TinyLM()
    rows = []
    lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = decode(lm, [Request(p) for p in PROMPTS], config_of(cache="dual", threshold=0.4))
    assert sum(rows) == sum(generation.forwards for generation in found)
    assert len(set(rows)) > 1


def test_bfloat16_models_decode_with_a_cache():
    lm = TinyLM()
    lm.model = lm.model.to(torch.bfloat16)
    found = decode(lm, [Request(p) for p in PROMPTS], config_of(cache="dual"))
    assert all(MASK not in generation.tokens for generation in found)
