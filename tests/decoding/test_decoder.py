from itertools import product

import numpy as np
import pytest
import reference_loops
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import EOS, EOT, MASK, VOCAB, ScriptedLM, TinyLM

from midspan.decoding import Request, decode, decoding_config

PROMPTS = [(5, 6, 7, 8, 9), (11, 12), (21, 22, 23), (31, 32, 33, 34, 35, 36, 37)]
SAMPLED = [
    {"temperature": 1.0, "block_length": 8},
    {"temperature": 0.7, "remasking": "random", "guidance": 0.5},
    {"sampler": "dream", "temperature": 0.6, "top_p": 0.9, "remasking": "entropy"},
    {"sampler": "dream", "temperature": 1.0, "top_k": 5, "alg_temp": 0.3, "remasking": "margin"},
    {"sampler": "dream", "temperature": 1.0, "remasking": "origin"},
]


@pytest.fixture(scope="module")
def lm():
    return TinyLM()


@pytest.fixture(scope="module")
def shifted():
    return TinyLM(shift=True)


def commits(generation):
    trace = generation.trace
    rows = zip(trace.position.tolist(), trace.token.tolist(), trace.step.tolist(), strict=True)
    return [row for row in rows if row[2] >= 0]


def assert_equals_reference(lm, loop, config, anchors):
    requests = [Request(prompt, anchors=anchors) for prompt in PROMPTS]
    for request, found in zip(requests, decode(lm, requests, config), strict=True):
        canvas, trace = loop(lm, request.prompt_ids, anchors, config)
        assert found.tokens == tuple(canvas)
        assert commits(found) == trace


@pytest.mark.parametrize(
    ("remasking", "eos_policy", "guidance"),
    product(
        ["low_confidence", "margin", "entropy"],
        ["model", "suppress_logits", "suppress_confidence"],
        [0.0, 1.5],
    ),
)
def test_llada_equals_the_naive_loop(remasking, eos_policy, guidance):
    lm = TinyLM(bias={EOS: 4.0, EOT: 2.0})
    config = decoding_config(
        length=16, block_length=8, steps=8, remasking=remasking, eos_policy=eos_policy,
        guidance=guidance, early_stop=False,
    )  # fmt: skip
    assert_equals_reference(lm, reference_loops.llada, config, {})


@settings(max_examples=12, deadline=None)
@given(
    blocks=st.sampled_from([(16, 1), (16, 2), (24, 3), (12, 12)]),
    steps_per_block=st.integers(1, 12),
    rule=st.sampled_from(["low_confidence", "margin", "entropy"]),
    anchors=st.dictionaries(st.integers(0, 11), st.integers(3, 50), max_size=12),
)
def test_llada_equals_the_naive_loop_with_anchors(lm, blocks, steps_per_block, rule, anchors):
    length, num_blocks = blocks
    config = decoding_config(
        length=length, block_length=length // num_blocks, steps=steps_per_block * num_blocks,
        remasking=rule, early_stop=False,
    )  # fmt: skip
    assert_equals_reference(lm, reference_loops.llada, config, anchors)


@settings(max_examples=12, deadline=None)
@given(
    steps=st.integers(1, 24),
    rule=st.sampled_from(["maskgit_plus", "topk_margin", "entropy"]),
    filters=st.sampled_from([(None, None), (0.8, None), (None, 3), (0.95, 4)]),
    anchors=st.dictionaries(st.integers(0, 15), st.integers(3, 50), max_size=6),
)
def test_dream_equals_the_naive_loop(shifted, steps, rule, filters, anchors):
    config = decoding_config(
        sampler="dream", length=16, steps=steps, remasking=rule, top_p=filters[0],
        top_k=filters[1], early_stop=False,
    )  # fmt: skip
    assert_equals_reference(shifted, reference_loops.dream, config, anchors)


@pytest.mark.parametrize("settings_", SAMPLED)
def test_rows_do_not_depend_on_their_neighbours(settings_):
    config = decoding_config(length=16, steps=8, **settings_)
    lm = TinyLM(shift=config.sampler == "dream", bias={EOS: 3.0})
    requests = [
        Request(prompt, anchors={index: 40} if index else {}, seed=index)
        for index, prompt in enumerate(PROMPTS)
    ]
    alone = [decode(lm, [request], config)[0] for request in requests]
    together = decode(lm, requests, config)
    reversed_pairs = decode(lm, requests[::-1], config, batch_size=2)[::-1]
    for one, two, three in zip(alone, together, reversed_pairs, strict=True):
        assert one.tokens == two.tokens == three.tokens
        assert one.forwards == two.forwards == three.forwards
        assert commits(one) == commits(two) == commits(three)


@pytest.mark.parametrize("settings_", [
    {"temperature": 1.0}, {"temperature": 0.7, "remasking": "random", "guidance": 0.5},
    {"sampler": "dream", "temperature": 1.0, "remasking": "origin"},
    {"block_length": 8, "threshold": 0.3},
], ids=str)  # fmt: skip
def test_waiting_requests_take_the_places_of_finished_rows(settings_):
    config = decoding_config(length=32, steps=32, **settings_)
    lm = TinyLM(shift=config.sampler == "dream", bias={EOS: 4.0})
    requests = [
        Request(tuple(range(3, 5 + 3 * (seed % 5))), anchors={seed: 40}, seed=seed)
        for seed in range(12)
    ]
    alone = [decode(lm, [request], config)[0] for request in requests]
    batches = []
    lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: batches.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    together = decode(lm, requests, config, batch_size=4)
    for one, two in zip(alone, together, strict=True):
        assert one.tokens == two.tokens
        assert one.forwards == two.forwards
        assert commits(one) == commits(two)
    by_length = sorted(range(12), key=lambda row: -len(requests[row].prompt_ids))
    unfilled = sum(
        max(alone[row].forwards for row in by_length[first : first + 4]) for first in (0, 4, 8)
    )
    assert max(batches) == 4 * config.forwards_per_step
    assert len(batches) * config.forwards_per_step < unfilled


@pytest.mark.parametrize("settings_", SAMPLED)
def test_seeds_decide_and_global_state_is_left_alone(settings_):
    config = decoding_config(length=16, steps=8, **settings_)
    lm = TinyLM(shift=config.sampler == "dream")
    before = torch.get_rng_state()
    runs = [decode(lm, [Request(PROMPTS[0], seed=seed)], config)[0].tokens for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("settings_", [{}, {"block_length": 8}, {"remasking": "random"}, *SAMPLED])
@pytest.mark.parametrize("eos_bias", [2.0, 5.0])
def test_early_stop_leaves_the_text_as_it_is(settings_, eos_bias):
    lm = TinyLM(bias={EOS: eos_bias, EOT: 2.0})
    requests = [Request(prompt, seed=seed) for seed, prompt in enumerate(PROMPTS * 2)]
    full = decode(lm, requests, decoding_config(length=24, steps=24, early_stop=False, **settings_))
    short = decode(lm, requests, decoding_config(length=24, steps=24, **settings_))
    for whole, part in zip(full, short, strict=True):
        assert part.text == whole.text
        assert commits(part) == commits(whole)[: len(commits(part))]
        assert part.stopped_early == (MASK in part.tokens) == (part.forwards < whole.forwards)
        assert not whole.stopped_early
        assert MASK not in whole.tokens
    assert any(part.stopped_early for part in short)


def test_early_stop_waits_for_the_positions_before_the_end_token():
    script = [(10, 3.0), (11, 5.0), (12, 4.0), (EOS, 9.0), (13, 8.0), (14, 1.0)]
    lm = ScriptedLM(2, script)
    found = decode(lm, [Request((5, 6))], decoding_config(length=6, steps=6))[0]
    # Order of confidence: 3 (EOS), 4, 1, 2, 0; position 5 is never asked for.
    assert found.trace.position.tolist() == [3, 4, 1, 2, 0]
    assert found.tokens == (10, 11, 12, EOS, 13, MASK)
    assert (found.text, found.forwards, found.stopped_early) == ("t10 t11 t12", 5, True)
    assert lm.calls == 5


def test_a_row_whose_anchors_end_it_costs_nothing(lm):
    ended = Request((5, 6), anchors={0: 9, 1: EOS})
    full = Request((5, 6), anchors=dict.fromkeys(range(8), 9))
    lm.calls = 0
    first, second = decode(lm, [ended, full], decoding_config(length=8, steps=8))
    assert (first.text, first.forwards, first.stopped_early) == ("t9", 0, True)
    assert (second.forwards, second.stopped_early) == (0, False)
    assert lm.calls == 0


def test_the_mask_token_is_never_committed():
    lm = TinyLM(bias={MASK: 50.0})
    for sampler in ("llada", "dream"):
        config = decoding_config(sampler=sampler, length=8, steps=8)
        assert MASK not in decode(lm, [Request((5, 6))], config)[0].tokens
        published = decoding_config(sampler=sampler, length=8, steps=8, compatibility=True)
        assert MASK in decode(lm, [Request((5, 6))], published)[0].tokens


@pytest.mark.parametrize("sampler", ["llada", "dream"])
def test_masks_in_the_prompt_are_not_filled_and_cost_no_budget(lm, sampler):
    prompt = (5, MASK, MASK, 6, MASK, MASK)
    config = decoding_config(sampler=sampler, length=8, steps=8, early_stop=False)
    assert MASK not in decode(lm, [Request(prompt)], config)[0].tokens


def test_published_llada_lets_masks_in_the_prompt_eat_the_budget(lm):
    config = decoding_config(length=8, steps=8, compatibility=True)
    found = decode(lm, [Request((5, MASK, MASK, 6, MASK, MASK))], config)[0]
    assert found.tokens.count(MASK) == 4
    assert len(found.trace) == 4


def test_published_dream_commits_the_average_count_of_the_batch(shifted):
    requests = [Request((5, 6)), Request((7, 8), anchors=dict.fromkeys(range(6), 9))]
    faulty = decode(
        shifted, requests, decoding_config(sampler="dream", length=8, steps=4, compatibility=True)
    )
    assert any(MASK in found.tokens for found in faulty)
    assert all(len(found.trace) == 8 - found.tokens.count(MASK) for found in faulty)
    right = decode(
        shifted, requests, decoding_config(sampler="dream", length=8, steps=4, early_stop=False)
    )
    assert all(MASK not in found.tokens for found in right)


@pytest.mark.parametrize(
    ("settings_", "forwards"),
    [
        ({"steps": 8}, 8),
        ({"steps": 2}, 2),
        ({"steps": 64}, 8),
        ({"steps": 64, "block_length": 4}, 8),
        ({"steps": 8, "guidance": 1.0}, 16),
        ({"steps": 64, "sampler": "dream"}, None),
        ({"steps": 64, "sampler": "dream", "remasking": "origin"}, None),
    ],
)
def test_forwards_are_counted_and_none_is_wasted(lm, settings_, forwards):
    config = decoding_config(length=8, early_stop=False, **settings_)
    lm.calls = 0
    found = decode(lm, [Request((5, 6))], config)[0]
    assert found.forwards == lm.calls
    assert found.forwards <= 8 * config.forwards_per_step
    assert forwards in (None, found.forwards)


@settings(max_examples=25, deadline=None)
@given(
    anchors=st.dictionaries(
        st.integers(0, 15), st.integers(0, VOCAB - 1).filter(lambda t: t != MASK), max_size=16
    ),
    sampled=st.sampled_from(SAMPLED),
)
def test_anchors_stay_and_every_position_is_committed_once(lm, anchors, sampled):
    config = decoding_config(length=16, steps=8, early_stop=False, **sampled)
    found = decode(lm, [Request((5, 6, 7), anchors=anchors)], config)[0]
    trace = found.trace
    assert {p: found.tokens[p] for p in anchors} == anchors
    assert sorted(trace.position.tolist()) == list(range(16))
    assert set(trace.position[trace.step == -1].tolist()) == set(anchors)
    assert [found.tokens[p] for p in trace.position] == trace.token.tolist()
    assert (np.diff(trace.step) >= 0).all()
    assert ((trace.confidence >= 0) & (trace.confidence <= 1)).all()


def test_a_step_view_shows_what_the_trace_records(lm):
    requests = [Request(prompt) for prompt in PROMPTS[:3]]
    seen: dict[int, list] = {0: [], 1: [], 2: []}

    def watch(view):
        assert view.total_steps == 8
        for index, row in enumerate(view.rows):
            for position in view.committed_BL[index].nonzero()[:, 0].tolist():
                seen[row].append((position, int(view.tokens_BL[index, position]), view.step))

    config = decoding_config(length=8, steps=8)
    found = decode(lm, requests, config, batch_size=2, on_step=watch)
    assert [commits(generation) for generation in found] == [seen[row] for row in range(3)]


def test_no_requests_is_no_work(lm):
    assert decode(lm, [], decoding_config()) == []
