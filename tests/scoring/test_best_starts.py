"""The best place of a phrase against loops over starts."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from midspan.scoring.window import best_starts


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(4, 9), st.integers(0, 99))
def test_the_best_start_is_that_of_a_loop(sizes, length, seed):
    generator = torch.Generator().manual_seed(seed)
    logp = torch.randn(len(sizes), length, max(sizes), generator=generator, dtype=torch.float64)
    logp.requires_grad_()
    phrases = [tuple(range(size)) for size in sizes]
    fits = torch.tensor([[k + size <= length for k in range(length)] for size in sizes])
    allowed = fits & (torch.rand(fits.shape, generator=generator) < 0.7)
    allowed[:, 0] = True
    best, start = best_starts(logp, phrases, allowed)
    best.sum().backward()
    logp.requires_grad_(False)
    for row, size in enumerate(sizes):
        scores = {
            k: sum(float(logp[row, k + p, p]) for p in range(size))
            for k in range(length)
            if allowed[row, k]
        }
        assert int(start[row]) == max(scores, key=scores.get)
        torch.testing.assert_close(best[row].item(), max(scores.values()))
        # A gradient of one at each of the phrase's tokens, at its best place alone.
        diagonal = [[int(start[row]) + p, p] for p in range(size)]
        assert logp.grad[row].nonzero().tolist() == diagonal
