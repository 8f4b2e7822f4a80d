import pytest
import reference_caches
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import EOS, MASK, BlockLM, TinyLM

from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError

# Shorter than a block, a whole number of blocks, and neither.
PROMPTS = [(5, 6, 7, 8, 9), (11, 12), (21, 22, 23, 24), (31, 32, 33, 34, 35, 36, 37, 38, 39, 41)]
BLOCK = {"sampler": "block", "length": 14, "block_length": 4, "steps": 16, "early_stop": False}
RULES = [{}, {"steps": 8}, {"threshold": 0.3}, {"threshold": 0.2, "steps": 8}]


def assert_equals_reference(lm, requests, config):
    for request, found in zip(requests, decode(lm, requests, config), strict=True):
        canvas, forwards = reference_caches.block_diffusion(
            lm, request.prompt_ids, request.anchors, config
        )
        assert found.tokens == tuple(canvas)
        assert found.forwards == forwards


@pytest.mark.parametrize("editing", [None, 0.25])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_a_ragged_batch_equals_the_published_loop(cache, rule, editing):
    config = decoding_config(**BLOCK | rule, cache=cache, editing_threshold=editing)
    assert_equals_reference(BlockLM(), [Request(prompt) for prompt in PROMPTS], config)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_positions_counted_from_the_first_real_token_change_nothing(implementation):
    lm = BlockLM()
    requests = [Request(prompt) for prompt in PROMPTS]
    expected = decode(lm, requests, decoding_config(**BLOCK))
    lm.family.cumulative_positions = True
    lm.model.set_attn_implementation(implementation)
    found = decode(lm, requests, decoding_config(**BLOCK))
    assert [one.tokens for one in found] == [one.tokens for one in expected]


def test_editing_changes_committed_tokens():
    requests = [Request(prompt) for prompt in PROMPTS]
    plain = decode(BlockLM(), requests, decoding_config(**BLOCK))
    edited = decode(BlockLM(), requests, decoding_config(**BLOCK, editing_threshold=0.25))
    assert any(one.tokens != two.tokens for one, two in zip(plain, edited, strict=True))
    assert all(one.forwards < two.forwards for one, two in zip(plain, edited, strict=True))


@settings(max_examples=10, deadline=None)
@given(
    anchors=st.dictionaries(st.integers(0, 13), st.integers(3, 50), max_size=14),
    editing=st.sampled_from([None, 0.25]),
    rule=st.sampled_from(RULES),
)
def test_anchors_equal_the_published_loop(anchors, editing, rule):
    config = decoding_config(**BLOCK | rule, editing_threshold=editing)
    requests = [Request(PROMPTS[0], anchors=anchors), Request(PROMPTS[2])]
    assert_equals_reference(BlockLM(), requests, config)


@pytest.mark.parametrize("fields", [
    {}, {"threshold": 0.3}, {"temperature": 1.0, "top_k": 5}, {"editing_threshold": 0.25},
    {"temperature": 0.8, "remasking": "random"},
])  # fmt: skip
def test_the_cache_is_exact_and_rows_do_not_depend_on_each_other(fields):
    lm = BlockLM()
    requests = [Request(prompt, seed=seed) for seed, prompt in enumerate(PROMPTS)]
    cached = decoding_config(**BLOCK, **fields)
    assert cached.cache == "prefix"
    assert cached.exact
    whole = decode(lm, requests, decoding_config(**BLOCK, **fields, cache="none"))
    for request, one, two in zip(requests, decode(lm, requests, cached), whole, strict=True):
        alone = decode(lm, [request], cached)[0]
        assert one.tokens == two.tokens == alone.tokens
        assert one.forwards == two.forwards == alone.forwards
        assert one.trace.to_dict().keys() == two.trace.to_dict().keys()
        assert one.trace.position.tolist() == two.trace.position.tolist()
        assert sorted(one.trace.position.tolist()) == list(range(14))


def test_the_prompt_goes_through_once():
    lm = BlockLM()
    found = decode(
        lm, [Request(tuple(range(3, 43)))], decoding_config(**BLOCK | {"length": 8, "steps": 8})
    )
    # Two blocks: the first forward takes the prompt, the second block's takes the first again.
    assert found[0].forwards == 8
    assert lm.fed == (40 + 4) + 3 * 4 + (4 + 4) + 3 * 4


def test_decoding_stops_at_the_block_with_the_end_token():
    lm = BlockLM(bias={EOS: 4.0})
    requests = [Request(prompt) for prompt in PROMPTS]
    full = decode(lm, requests, decoding_config(**BLOCK))
    short = decode(lm, requests, decoding_config(**BLOCK | {"early_stop": True}))
    assert any(part.stopped_early for part in short)
    for whole, part in zip(full, short, strict=True):
        assert part.text == whole.text
        assert part.forwards <= whole.forwards
    editing = decoding_config(**BLOCK | {"early_stop": True}, editing_threshold=0.25)
    assert_equals_reference_up_to_the_stop(lm, requests, editing)


def assert_equals_reference_up_to_the_stop(lm, requests, config):
    for request, found in zip(requests, decode(lm, requests, config), strict=True):
        canvas, forwards = reference_caches.block_diffusion(lm, request.prompt_ids, {}, config)
        assert found.tokens == tuple(canvas)
        assert found.forwards == forwards


def test_end_tokens_in_the_prompts_tail_end_nothing():
    found = decode(
        BlockLM(),
        [Request((5, 6, 7, 8, EOS, EOS))],
        decoding_config(**BLOCK | {"early_stop": True}),
    )
    assert found[0].forwards > 0


def test_masks_in_the_prompts_tail_are_not_filled():
    config = decoding_config(**BLOCK)
    found = decode(BlockLM(), [Request((5, 6, 7, 8, MASK, 9))], config)[0]
    assert MASK not in found.tokens
    assert sorted(found.trace.position.tolist()) == list(range(14))


def test_what_block_diffusion_cannot_do_is_refused():
    config = decoding_config(**BLOCK)
    with pytest.raises(MidspanError, match="'block' is for block-causal attention.*tiny is full"):
        decode(TinyLM(), [Request((5,))], config)
    with pytest.raises(MidspanError, match="cache: 'dual'.*tiny is block-causal; use sampler"):
        decode(BlockLM(), [Request((5,))], decoding_config(length=8, steps=8, cache="dual"))
    with pytest.raises(MidspanError, match="block_length=7 must be 4, the blocks of the model's"):
        decode(BlockLM(), [Request((5,))], decoding_config(**BLOCK | {"block_length": 7}))
    with pytest.raises(MidspanError, match="exceeds the model's 96"):
        decode(BlockLM(), [Request(tuple(range(3, 50)) * 2)], config)
