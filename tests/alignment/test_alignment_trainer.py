"""What the model sees: left-padded prompts before a canvas that is masked throughout."""

import pytest
import torch

from midspan.alignment import AlignmentData, align, mosa_paper
from midspan.alignment.objective import PhrasePair, mosa_loss
from midspan.alignment.samples import AlignmentSample, draw_samples
from midspan.alignment.trainer import Collator
from midspan.organism.lessons import alignment_data


def test_a_batch_is_padded_on_the_left_and_masked_on_the_right(organism_lm):
    pair = PhrasePair((7, 0), (8,))
    batch = Collator(organism_lm, 3)(
        [AlignmentSample((1, 4), pair), AlignmentSample((1, 4, 9, 5), None)]
    )
    mask, pad = organism_lm.tokens.mask, organism_lm.tokens.pad
    assert batch["input_ids"].tolist() == [
        [pad, pad, 1, 4, mask, mask, mask],
        [1, 4, 9, 5, mask, mask, mask],
    ]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1, 1], [1] * 7]
    assert batch["pairs"] == [pair, None]


def test_the_first_step_scores_the_model_as_each_prompt_alone_does(organism_lm, tmp_path):
    lessons = alignment_data(num_harmful=8, num_benign=0)
    data = AlignmentData(lessons.harmful, (), lessons.phrases)
    config = mosa_paper(num_prompts=4, batch_size=4)
    samples = draw_samples(organism_lm, data, config)
    canvas = [organism_lm.tokens.mask] * config.response_length
    with torch.no_grad():
        rows = [
            organism_lm.logits(torch.tensor([[*sample.prompt_ids, *canvas]]))[0, -len(canvas) :]
            for sample in samples
        ]
    logp_BLV = torch.stack(rows).log_softmax(-1)
    pairs = [sample.pair for sample in samples]
    expected = mosa_loss(logp_BLV, logp_BLV, pairs, config.objective).metrics
    assert len({len(sample.prompt_ids) for sample in samples}) > 1
    (first,) = align(organism_lm, data, config, tmp_path).metrics()
    for name in ("loss", "reward", "reward_safe", "reward_harmful", "position"):
        assert first[name] == pytest.approx(expected[name], rel=1e-4)
