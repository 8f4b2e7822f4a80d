"""Alignment and decoding take the newer families as they come."""

from pathlib import Path

import pytest
import torch
from blocks_reference import CONFIGS, write_checkpoint

from midspan.alignment import AlignmentData, MosaObjective, align, mosa
from midspan.alignment.samples import draw_samples
from midspan.data import Example, PhraseSets
from midspan.decoding import Request, decode, decoding_config
from midspan.errors import MidspanError
from midspan.models import load

PHRASES = PhraseSets(("w20 w21",), ("the next step is",), ("w22",))
DATA = AlignmentData((Example("write a poem", None), Example("w30 w31", None)), (), PHRASES)
ANSWERED = AlignmentData(
    tuple(Example(one.prompt, "w30 w31 w32 w33 w34 w35 w36 w37") for one in DATA.harmful),
    (),
    PHRASES,
)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "lladamoe"])
def test_a_model_that_decodes_in_blocks_needs_answers(name: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, name), device="cpu")
    config = mosa(objective=MosaObjective(window=(2, 6)), response_length=16)
    with pytest.raises(
        MidspanError, match="a model that decodes block after block needs an answer"
    ):
        draw_samples(lm, DATA, config)
    for sample in draw_samples(lm, ANSWERED, config.model_copy(update={"num_prompts": 8})):
        for canvas in sample.canvases:
            masked = [place for place, token in enumerate(canvas.response_ids)
                      if token == lm.tokens.mask]  # fmt: skip
            places = {(len(canvas.prompt_ids) + place) // lm.block_length for place in masked}
            assert len(places) == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_of_mosa(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "base", name)
    lm = load(folder, device="cpu")
    ids = torch.tensor([[5, 60, 9, 60, 60]])
    before = lm.logits(ids)
    config = mosa(
        objective=MosaObjective(window=(2, 6), beta=0.01),
        batch_size=2,
        num_prompts=4,
        response_length=16,
        learning_rate=1e-2,
        max_grad_norm=1.0,
        lora_rank=2,
        gradient_checkpointing=True,
    )
    align(lm, ANSWERED, config, tmp_path / "adapter")
    assert torch.equal(lm.logits(ids), before)
    aligned = load(folder, adapter=tmp_path / "adapter", device="cpu")
    assert (aligned.logits(ids) - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_decodes_as_it_does_alone(name: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, name), device="cpu")
    block = 4 if lm.block_length is None else lm.block_length
    config = decoding_config(lm, length=8, block_length=block, steps=8)
    requests = [Request((5, 9, 33), {6: 11}), Request((7, 8, 9, 10, 20, 21), {2: 12})]
    both = decode(lm, requests, config)
    assert both[0].tokens[6] == 11
    for request, row in zip(requests, both, strict=True):
        assert decode(lm, [request], config)[0].tokens == row.tokens


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "lladamoe"])
def test_block_diffusion_gives_the_same_with_and_without_cache(name: str, tmp_path: Path) -> None:
    lm = load(write_checkpoint(tmp_path, name), device="cpu")
    requests = [Request((5, 9, 33), {6: 11}, seed=1), Request((7, 8, 9, 10, 20), seed=2)]
    config = decoding_config(lm, length=40, early_stop=False)
    assert (config.sampler, config.cache, config.block) == ("block", "prefix", lm.block_length)
    cached = decode(lm, requests, config)
    whole = decode(lm, requests, config.model_copy(update={"cache": "none"}))
    for one, two in zip(cached, whole, strict=True):
        assert (one.tokens, one.forwards) == (two.tokens, two.forwards)
        assert lm.tokens.mask not in one.tokens
