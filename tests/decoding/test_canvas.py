import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_lm import EOS, MASK, TinyLM

from midspan.decoding import Request, Trace, anchor_phrase, decode, decoding_config, merge_anchors
from midspan.decoding.canvas import Canvas
from midspan.errors import MidspanError


@pytest.fixture(scope="module")
def lm():
    return TinyLM()


def test_prompts_are_padded_on_the_left_and_anchors_placed(lm):
    canvas = Canvas.create(lm, [Request((5, 6, 7)), Request((8,), anchors={1: 9})], [0, 1], 2)
    assert canvas.ids_BT.tolist() == [[5, 6, 7, MASK, MASK], [EOS, EOS, 8, MASK, 9]]
    assert canvas.attention_BT.tolist() == [[1] * 5, [0, 0, 1, 1, 1]]
    assert canvas.open_BL.tolist() == [[True, True], [True, False]]
    assert Canvas.create(lm, [Request((5,))], [0], 2).attention_BT is None


@given(st.lists(st.sampled_from([EOS, 9, MASK]), min_size=1, max_size=12))
def test_a_row_has_ended_when_nothing_is_open_before_its_first_end_token(tokens):
    lm = TinyLM.__new__(TinyLM)
    open_BL = torch.tensor([tokens]) == MASK
    size = np.array([len(tokens) + 1])
    known = (open_BL, open_BL, open_BL, torch.zeros(1))
    canvas = Canvas(torch.tensor([[5, *tokens]]), None, *known, np.arange(1), size)
    end = tokens.index(EOS) if EOS in tokens else len(tokens)
    expected = len(tokens) if MASK in tokens[:end] else end
    assert canvas.ends({EOS}, *canvas.on_host()).tolist() == [expected], lm


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 9)), st.integers(0, 30))
def test_merging_refuses_overlap_only(anchors, position):
    if position in anchors:
        with pytest.raises(MidspanError, match=f"overlap at canvas position {position}"):
            merge_anchors(anchors, {position: 1})
    else:
        assert merge_anchors(anchors, {position: 1}) == {**anchors, position: 1}


def test_a_phrase_becomes_anchors(lm):
    assert anchor_phrase(lm, "t4 t5", 7) == {7: 4, 8: 5}
    with pytest.raises(MidspanError, match="has no tokens"):
        anchor_phrase(lm, "", 0)
    with pytest.raises(MidspanError, match="before the canvas"):
        anchor_phrase(lm, "t4", -1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(()), r"requests\[1\].prompt_ids is empty"),
        (Request((5,) * 90), r"requests\[1\].prompt_ids has 90 tokens.*lower decoding.length"),
        (Request((5, 64)), "prompt_ids has an id outside"),
        (Request((5,), anchors={8: 9}), r"position 8 is outside the canvas 0\.\.7"),
        (Request((5,), anchors={-1: 9}), "position -1 is outside"),
        (Request((5,), anchors={2: MASK}), "position 2 holds the mask token"),
        (Request((5,), anchors={2: 64}), "token 64 is outside"),
    ],
)
def test_bad_requests_are_refused_before_work(lm, request_, message):
    lm.calls = 0
    with pytest.raises(MidspanError, match=message) as caught:
        decode(lm, [Request((5,)), request_], decoding_config(length=8, steps=8))
    assert "\n" not in str(caught.value)
    assert lm.calls == 0


def test_a_model_without_a_mask_token_is_refused():
    lm = TinyLM()
    lm.tokens.mask = None
    with pytest.raises(MidspanError, match="family tiny has no mask token"):
        decode(lm, [Request((5,))], decoding_config(length=8, steps=8))


def test_the_batch_size_must_be_positive(lm):
    with pytest.raises(MidspanError, match="batch_size=0"):
        decode(lm, [Request((5,))], decoding_config(length=8, steps=8), batch_size=0)


def test_a_trace_survives_json(lm):
    request = Request((5, 6), anchors={3: 9})
    trace = decode(lm, [request], decoding_config(length=8, steps=4))[0].trace
    again = Trace.from_dict(json.loads(json.dumps(trace.to_dict())))
    for name in ("position", "token", "step"):
        assert np.array_equal(getattr(trace, name), getattr(again, name))
    assert np.allclose(trace.confidence, again.confidence, atol=1e-6)
    assert (trace.position[0], trace.token[0], trace.step[0]) == (3, 9, -1)
    assert len(again) == len(trace)
