import torch

from midspan.decoding.choice import filter_logits, gumbel, sample, select


def test_sampling_follows_the_probabilities():
    probs = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    uniform = torch.rand(1, 40_000, generator=torch.Generator().manual_seed(0))
    tokens = sample(probs.expand(1, 40_000, 6), uniform)
    found = torch.bincount(tokens[0], minlength=6) / 40_000
    assert torch.allclose(found, probs, atol=0.01)


def test_sampling_never_takes_an_impossible_token():
    probs = torch.tensor([[[0.0, 0.4, 0.6, 0.0]] * 3])
    edges = torch.tensor([[0.0, 0.5, 1 - 2**-24]])
    assert sample(probs, edges).tolist() == [[1, 2, 2]]


def test_gumbel_scores_draw_without_replacement():
    weights = torch.tensor([0.6, 0.3, 0.1])
    uniform = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    chosen = select(weights.log() + gumbel(uniform), torch.full((40_000,), 2))
    expected = torch.multinomial(
        weights.expand(40_000, 3), 2, generator=torch.Generator().manual_seed(1)
    )
    counts = torch.bincount(expected.flatten(), minlength=3) / 40_000
    assert torch.allclose(chosen.float().mean(0), counts, atol=0.01)


def test_selection_breaks_ties_to_the_left_and_takes_none_of_zero():
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]])
    chosen = select(scores, torch.tensor([3, 0]))
    assert chosen.tolist() == [[True, True, True, False], [False] * 4]


def test_filters_keep_the_nucleus_and_the_top_k():
    logits = torch.tensor([[[0.1, 0.5, 0.15, 0.25]]]).log()
    assert filter_logits(logits, 0.6, None).isfinite().tolist() == [[[False, True, False, True]]]
    assert filter_logits(logits, 0.01, None).isfinite().sum() == 1
    assert filter_logits(logits, None, 3).isfinite().tolist() == [[[False, True, True, True]]]
    assert torch.equal(filter_logits(logits, 1.0, 9), logits)
