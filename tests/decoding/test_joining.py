"""Rows that join a batch while others are in the middle of a block, whatever is cached."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import EOS, BlockLM, TinyLM

from midspan.decoding import Request, decode, decoding_config
from midspan.decoding.cache import SlotCache, Window
from midspan.decoding.stream import Stream
from midspan.decoding.turns import next_rows

FULL = {"length": 12, "block_length": 4, "steps": 12}
BLOCK = {"sampler": "block", "length": 10, "block_length": 4, "steps": 12}
ALONG = [
    FULL | {"cache": "prefix"},
    FULL | {"cache": "prefix", "threshold": 0.3, "refresh_every": 2},
    FULL | {"cache": "dual", "steps": 6},
    FULL | {"cache": "dual", "threshold": 0.3},
    FULL | {"cache": "dual", "factor": 0.8, "remasking": "margin"},
    FULL | {"cache": "dual", "temperature": 1.0, "refresh_every": 3},
    FULL | {"cache": "dual", "remasking": "random", "threshold": None},
    FULL | {"threshold": 0.3},
    {"sampler": "dream", "length": 12, "steps": 8, "temperature": 0.5, "top_p": 0.9},
    BLOCK,
    BLOCK | {"threshold": 0.3, "remasking": "margin"},
    BLOCK | {"cache": "none"},
    BLOCK | {"editing_threshold": 0.25},
    BLOCK | {"temperature": 0.8, "top_k": 9, "sub_block_length": 2},
    BLOCK | {"threshold": 0.2, "sub_block_length": 2},
]
MODELS = {
    (block, shift): (BlockLM if block else TinyLM)(bias={EOS: 1.0})
    for block in (False, True)
    for shift in (False, True)
}
for (_, shifted), model in MODELS.items():
    model.family.logit_shift = shifted
MODELS["canvas"] = BlockLM(bias={EOS: 1.0})
MODELS["canvas"].family.blocks_from = "canvas"

prompts = st.builds(
    lambda begun, size, rest: ((*range(begun, begun + size), *rest)),
    *(st.sampled_from([3, 20]), st.integers(0, 9)),
    st.lists(st.integers(3, 50), min_size=1, max_size=5),
)
anchored = st.dictionaries(st.integers(0, 9), st.integers(3, 50), max_size=6)
requests_ = st.builds(Request, prompts, anchored, st.integers(0, 9))


@torch.inference_mode()
def streamed(lm, config, requests, size, arrivals):
    """Requests that arrive in turns, as at a server."""
    stream, results, waiting = Stream(lm, config, [], size), {}, list(range(len(requests)))
    while waiting or stream.rows:
        count = min(stream.free, arrivals[len(results) % len(arrivals)])
        if not stream.rows:
            count = max(count, 1)
        if waiting[:count]:
            stream.enter(requests, waiting[:count])
            del waiting[:count]
        results |= dict(stream.settle())
        if stream.rows:
            committed = stream.advance()
            assert len(committed.chosen_AR) <= size
            results |= dict(stream.settle())
    return [results[row] for row in range(len(requests))]


@settings(max_examples=16, deadline=None)
@given(
    fields=st.sampled_from(ALONG),
    variant=st.sampled_from([False, True, "canvas"]),
    early_stop=st.booleans(),
    requests=st.lists(requests_, min_size=2, max_size=7),
    size=st.integers(2, 3),
    arrivals=st.lists(st.integers(0, 3), min_size=1, max_size=5),
)
def test_a_row_that_joins_gets_what_it_gets_alone(
    fields, variant, early_stop, requests, size, arrivals
):
    block = fields.get("sampler") == "block"
    shift = variant is True and "editing_threshold" not in fields
    lm = MODELS["canvas"] if block and variant == "canvas" else MODELS[block, shift]
    config = decoding_config(**fields, early_stop=early_stop)
    found = streamed(lm, config, requests, size, arrivals)
    for request, one in zip(requests, found, strict=True):
        (alone,) = decode(lm, [request], config)
        assert one.tokens == alone.tokens
        assert one.forwards == alone.forwards
        assert one.trace.to_dict().keys() == alone.trace.to_dict().keys()
        for name in ("position", "token", "step"):
            assert getattr(one.trace, name).tolist() == getattr(alone.trace, name).tolist()
        assert np.allclose(one.trace.confidence, alone.trace.confidence, atol=1e-4)


RAGGED = [Request((3 + n, *range(3, 4 + n % 7 + n % 3)), seed=n) for n in range(40)]


@pytest.mark.parametrize("fields", [
    {"cache": "dual", "threshold": 0.3}, {"cache": "prefix", "threshold": 0.3},
    BLOCK | {"threshold": 0.3},
], ids=str)  # fmt: skip
def test_batches_are_full_and_hold_rows_of_several_blocks(fields):
    block = fields.get("sampler") == "block"
    lm, rows, several = MODELS[block, False], [], []
    config = decoding_config(**FULL | {"early_stop": True} | fields)
    progress = Progress(several)
    handle = lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = decode(lm, RAGGED, config, batch_size=4, hooks=[progress])
    handle.remove()
    assert sum(rows) == sum(one.forwards for one in found)
    assert np.mean(rows) / 4 >= 0.85
    assert max(several) > 1


class Progress:
    """Counts the blocks of a step's rows."""

    layers = ()

    def __init__(self, several):
        self._several = several

    def after_commit(self, view):
        starts = view.block_AL.int().argmax(1)
        self._several.append(len(set(starts.tolist())))

    def __getattr__(self, name):
        answers = {"choose": lambda view, proposal: proposal.chosen_AR}
        return answers.get(name, lambda *args: None)


@pytest.mark.parametrize("variant", [False, True, "canvas"])
def test_what_prompts_begin_with_goes_through_once(variant):
    lm, fed = MODELS["canvas" if variant == "canvas" else (True, variant)], []
    config = decoding_config(**BLOCK | {"length": 8, "temperature": 1.0, "early_stop": False})
    own = [[3 + n, 40, 41, 42] for n in range(8)]
    requests = [Request((*range(3, 27), *rest), seed=n) for n, rest in enumerate(own * 2)]
    handle = lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: fed.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    found = decode(lm, requests, config, batch_size=3)
    together = sum(fed)
    alone = [decode(lm, [request], config)[0] for request in requests]
    handle.remove()
    assert [one.tokens for one in found] == [one.tokens for one in alone]
    # Of 16 prompts of 28 tokens, 24 are computed once, and 4 once for each of 8 endings; rows that
    # come along with longer ones compute a little more than alone.
    most = 16 * 28 - 24 - 8 * 4
    assert 0.8 * most <= sum(fed) - 2 * together <= most


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_requests_that_differ_in_their_draws_share_their_first_forward(cache):
    lm, rows = MODELS[False, False], []
    config = decoding_config(**FULL | {"cache": cache, "temperature": 1.0, "early_stop": False})
    requests = [Request((5, 6, 7 + n % 2), {2: 9} if n > 5 else {}, seed=n) for n in range(8)]
    handle = lm.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = decode(lm, requests, config, batch_size=8)
    handle.remove()
    assert rows[0] == 4
    assert len({one.tokens for one in found}) == 8
    for request, one in zip(requests, found, strict=True):
        (alone,) = decode(lm, [request], config)
        assert (one.tokens, one.forwards) == (alone.tokens, alone.forwards)


sizes = st.lists(st.sampled_from([4, 8, 12, 30, 31, 33]), min_size=1, max_size=12)


@given(sizes=sizes, limit=st.integers(1, 5), data=st.data())
def test_a_company_is_the_largest_that_wastes_little_and_the_best_of_those(sizes, limit, data):
    kinds = data.draw(st.lists(st.integers(0, 1), min_size=len(sizes), max_size=len(sizes)))
    rows = next_rows(np.array(sizes), np.array(kinds), np.zeros(len(sizes), dtype=int), limit)
    waste_of = lambda part: len(part) * max(part) / sum(part)  # noqa: E731
    assert len({kinds[row] for row in rows}) == 1
    own = [sizes[row] for row in rows]
    assert len(own) <= limit and waste_of(own) <= 1.5
    for kind in set(kinds):
        ordered = sorted(size for size, other in zip(sizes, kinds, strict=True) if other == kind)
        for count in range(len(own) + (kind != kinds[rows[0]]), min(limit, len(ordered)) + 1):
            best = min(waste_of(ordered[at : at + count]) for at in range(len(ordered) - count + 1))
            is_better = count > len(own) or best < waste_of(own) - 1e-9
            assert best > 1.5 or not is_better


def test_a_row_that_waits_for_long_goes():
    sizes, kinds = np.array([4, 4, 4, 30, 4]), np.zeros(5, dtype=int)
    assert 3 not in next_rows(sizes, kinds, np.array([0, 0, 0, 200, 0]), 2)
    assert next_rows(sizes, kinds, np.array([0, 0, 0, 300, 0]), 2).tolist() == [3]


@given(st.data())
def test_rows_that_trade_slots_keep_what_they_hold(data):
    cache, rows = SlotCache(1), data.draw(st.integers(2, 6))
    cache.fit(rows, 3)
    kept = {}
    for turn in range(4):
        count = data.draw(st.integers(1, rows))
        group = np.array(data.draw(st.permutations(range(rows)))[:count])
        valid = np.array([row in kept for row in range(rows)])
        order = cache.side_by_side(np.sort(group), valid)
        assert sorted(order) == sorted(group)
        first = cache.slot_B[order[0]]
        assert cache.slot_B[order].tolist() == list(range(first, first + count))
        states = torch.rand(count, 1, 3, 2)
        slots = slice(int(first), int(first) + count)
        cache.window = Window(slots, slice(0, 3), None, slice(0, 3), is_fresh=turn % 2 == 0)
        keys, _ = cache.layers[0].update(states, states)
        assert torch.equal(keys, states)
        kept |= dict(zip(order.tolist(), states, strict=True))
        for row, held in kept.items():
            assert torch.equal(cache.layers[0].keys[cache.slot_B[row]], held)
