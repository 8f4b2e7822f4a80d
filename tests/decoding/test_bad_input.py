import pytest
import torch
from tiny_lm import MASK, BlockLM, TinyLM

from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError

MODES = [
    {}, {"cache": "prefix"}, {"cache": "dual"}, {"cache": "dual", "threshold": 0.3},
    {"threshold": 0.3}, {"factor": 1.0}, {"sampler": "block"},
]  # fmt: skip
SIZE = {"length": 8, "block_length": 4, "steps": 8}


def lm_for(mode, **kwargs):
    return (BlockLM if mode.get("sampler") == "block" else TinyLM)(**kwargs)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_masks_in_the_prompt_are_read_and_never_filled(mode):
    config = decoding_config(**SIZE, **mode, early_stop=False)
    found = decode(lm_for(mode), [Request((5, MASK, MASK, 6, MASK)), Request((7, 8))], config)
    assert all(MASK not in one.tokens and len(one.trace) == 8 for one in found)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_model_that_predicts_its_mask_token_is_not_followed(mode):
    lm = lm_for(mode, bias={MASK: 50.0})
    config = decoding_config(**SIZE, **mode, early_stop=False)
    found = decode(lm, [Request((5, 6)), Request((7, 8, 9))], config)
    assert all(MASK not in one.tokens and one.forwards <= 8 + 4 for one in found)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("prompt", "message"),
    [((), r"requests\[1\].prompt_ids is empty"), ((5,) * 89, "exceeds the model's 96")],
)
def test_empty_and_overlong_prompts_are_refused_before_work(mode, prompt, message):
    lm = lm_for(mode)
    with pytest.raises(MidspanError, match=message):
        decode(lm, [Request((5,)), Request(prompt)], decoding_config(**SIZE, **mode))
    assert lm.calls == 0


def test_block_diffusion_counts_whole_blocks_against_the_context():
    lm = BlockLM()
    lm.max_length = 14
    config = decoding_config(sampler="block", length=9, block_length=4, steps=3)
    decode(lm, [Request((5, 6, 7))], config)
    with pytest.raises(MidspanError, match="exceeds the model's 14"):
        decode(lm, [Request((5, 6, 7, 8))], config)


class Scarce(TinyLM):
    """Runs out of memory above a number of rows."""

    def __init__(self, most_rows):
        super().__init__()
        self.most_rows, self.batches = most_rows, []
        self.model.model.register_forward_pre_hook(self._check, with_kwargs=True)

    def _check(self, module, args, kwargs):
        rows = len(kwargs["input_ids"])
        if rows > self.most_rows:
            raise torch.OutOfMemoryError("no more")
        self.batches.append(rows)


@pytest.mark.parametrize("mode", MODES[:4], ids=str)
def test_out_of_memory_is_answered_by_smaller_batches(mode):
    config = decoding_config(**SIZE, **mode, temperature=0.5)
    requests = [Request((5 + seed, 6), seed=seed) for seed in range(7)]
    expected = [one.tokens for one in decode(TinyLM(), requests, config)]
    lm = Scarce(most_rows=2)
    with pytest.warns(UserWarning, match="out of memory: going on with batch_size=2"):
        found = decode(lm, requests, config, batch_size=7)
    assert [one.tokens for one in found] == expected
    assert max(lm.batches) == 2
    with pytest.raises(torch.OutOfMemoryError):
        decode(Scarce(most_rows=0), requests[:1], config)
