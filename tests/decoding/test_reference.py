from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_lm import EOS, MASK, TinyLM

from midspan.decoding import Request, decode, decoding_config
from midspan.decoding.reference import reference_decode

LMS = {"llada": TinyLM(bias={EOS: 2.0}), "dream": TinyLM(shift=True)}


@st.composite
def configs(draw):
    fields = {
        "sampler": draw(st.sampled_from(["llada", "dream"])),
        "temperature": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "remasking": draw(st.sampled_from(["low_confidence", "margin", "entropy", "random"])),
        "early_stop": False,
    }
    if fields["sampler"] == "dream":
        fields["remasking"] = fields["remasking"].replace("random", "low_confidence")
        return decoding_config(
            length=draw(st.integers(1, 24)), steps=draw(st.integers(1, 30)), **fields
        )
    block, blocks = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    steps = draw(st.integers(1, 14))
    if draw(st.booleans()):
        # The last block may be shorter, and steps need not divide.
        length = draw(st.integers(1, 24))
        return decoding_config(
            schedule="linear", length=length, block_length=block, steps=steps, **fields
        )
    return decoding_config(
        length=block * blocks, block_length=block, steps=steps * blocks, **fields
    )


@st.composite
def requests(draw):
    prompt = draw(st.lists(st.integers(3, 50), min_size=1, max_size=9))
    anchors = draw(st.dictionaries(st.integers(0, 23), st.integers(3, 50), max_size=4))
    return Request(tuple(prompt), anchors, seed=draw(st.integers(0, 2**62)))


@settings(max_examples=60, deadline=None)
@given(config=configs(), wanted=st.lists(requests(), min_size=1, max_size=3))
def test_a_ragged_batch_equals_the_reference(config, wanted):
    lm = LMS[config.sampler]
    rows = [
        Request(
            one.prompt_ids, {p: t for p, t in one.anchors.items() if p < config.length}, one.seed
        )
        for one in wanted
    ]
    for request, generation in zip(rows, decode(lm, rows, config, batch_size=2), strict=True):
        canvas, commits = reference_decode(lm, request, config)
        assert list(generation.tokens) == canvas
        trace = generation.trace
        columns = (trace.position.tolist(), trace.token.tolist(), trace.step.tolist())
        assert [row for row in zip(*columns, strict=True) if row[2] >= 0] == commits


def test_a_row_in_a_short_last_block_beside_one_in_a_whole_block():
    lm = LMS["llada"]
    config = decoding_config(
        schedule="linear", length=10, block_length=8, steps=4, early_stop=False
    )
    rows = [Request((5, 6), {p: 20 + p for p in range(8)}), Request((7,))]
    for request, generation in zip(rows, decode(lm, rows, config), strict=True):
        assert list(generation.tokens) == reference_decode(lm, request, config)[0]


def test_the_reference_fills_the_canvas():
    config = decoding_config(length=8, block_length=4, steps=4)
    canvas, commits = reference_decode(LMS["llada"], Request((5, 6), {2: 9}), config)
    assert MASK not in canvas and None not in canvas and canvas[2] == 9
    assert sorted(position for position, _, _ in commits) == [0, 1, 3, 4, 5, 6, 7]
    assert [step for _, _, step in commits] == [0, 0, 1, 2, 2, 3, 3]
