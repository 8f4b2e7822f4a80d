"""The nucleus filter against the whole sort, and the memory of a step at Dream's defaults."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.decoding import decoding_config
from midspan.decoding.draws import hashed_uniform
from midspan.decoding.nucleus import within_nucleus
from midspan.decoding.step import Draws, StepSettings, forbid, step


def whole_sort(logits_NV, top_p):
    """The filter as published: every row sorted whole; ties go to the lower token."""
    sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
    probs_NV = sorted_NV.softmax(-1)
    out_NV = probs_NV.cumsum(-1) - probs_NV > top_p
    out_NV = torch.zeros_like(out_NV).scatter(-1, order_NV, out_NV)
    return logits_NV.masked_fill(out_NV, -torch.inf)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.0, 0.3, 2.0, 6.0, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    top_p=st.sampled_from([1e-6, 0.1, 0.25, 0.5, 0.9, 0.95, 0.999999]),
    banned=st.integers(0, 90),
)
def test_the_nucleus_is_that_of_the_whole_sort(seed, scale, dtype, top_p, banned):
    """With many ties (half precision), flat and sharp rows, and tokens that are ruled out."""
    generator = torch.Generator().manual_seed(seed)
    logits_NV = (torch.randn(6, 100, generator=generator) * scale).to(dtype).float()
    logits_NV[:, torch.randperm(100, generator=generator)[:banned]] = -torch.inf
    expected = whole_sort(logits_NV, top_p)
    for likeliest in (1, 7, 40, 100):
        assert torch.equal(within_nucleus(logits_NV, top_p, likeliest), expected)


def test_a_border_in_the_midst_of_ties_keeps_the_lower_tokens():
    logits_NV = torch.full((2, 64), -torch.inf)
    logits_NV[0, [3, 50, 9, 20, 40]] = 0.0  # a fifth each: three of them reach 0.45
    logits_NV[1, [8, 60, 61]] = torch.tensor([0.5, 0.3, 0.2]).log()
    kept_NV = within_nucleus(logits_NV, 0.45, likeliest=8).isfinite()
    assert kept_NV[0].nonzero()[:, 0].tolist() == [3, 9, 20]
    assert kept_NV[1].nonzero()[:, 0].tolist() == [8]


def test_only_rows_that_the_likeliest_do_not_fill_are_sorted(monkeypatch):
    sharp_NV, flat_NV = torch.randn(3, 512) * 8, torch.zeros(2, 512)
    sorted_rows = []
    sort = torch.Tensor.sort
    monkeypatch.setattr(
        torch.Tensor, "sort", lambda x, *a, **k: sorted_rows.append(len(x)) or sort(x, *a, **k)
    )
    within_nucleus(torch.cat([sharp_NV, flat_NV]), 0.9, likeliest=64)
    assert sorted_rows == [2]


def test_a_row_without_numbers_is_left_as_it_is():
    logits_NV = torch.full((1, 32), torch.nan)
    assert within_nucleus(logits_NV, 0.5, likeliest=4).isnan().all()


class LiveBytes(TorchDispatchMode):
    """Counts the storages that live at once, by watching every operation's results."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        leaves = result if isinstance(result, tuple | list) else (result,)
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.live[storage._cdata] = (storage._weak_ref(), storage.nbytes())
        gone = [key for key, (ref, _) in self.live.items() if torch.UntypedStorage._expired(ref)]
        for key in gone:
            torch.UntypedStorage._free_weak_ref(self.live.pop(key)[0])
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


@pytest.mark.parametrize("spread", [8.0, 0.5], ids=["sharp", "flat"])
@pytest.mark.parametrize("fields", [
    {"temperature": 0.2, "top_p": 0.95, "remasking": "entropy"},
    {"temperature": 0.2, "top_p": 0.95, "top_k": 50, "remasking": "margin", "alg_temp": 0.5},
    {"remasking": "low_confidence"},
], ids=str)  # fmt: skip
def test_a_step_takes_at_most_twice_the_logits(fields, spread, monkeypatch):
    """Logits included, at Dream's defaults; the whole sort of all rows at once takes 8 times."""
    rows, positions, vocabulary = 8, 16, 16_384
    monkeypatch.setattr("midspan.decoding.step._SMALLEST_PART", 1)
    generator = torch.Generator().manual_seed(0)
    tokens = SimpleNamespace(mask=7, eos=1, eot=2)
    config = decoding_config(sampler="dream", length=positions, **fields)
    chosen = StepSettings.of(config, tokens)
    logits_ARV = torch.randn(rows, positions, vocabulary, generator=generator) * spread
    logits_ARV = forbid(logits_ARV, chosen.forbidden)
    open_AR = torch.ones(rows, positions, dtype=torch.bool)
    seed_A, step_A = torch.arange(rows), torch.zeros(rows, dtype=torch.long)
    uniform_AR = hashed_uniform(seed_A, step_A, torch.arange(positions).expand(rows, -1))
    draws = Draws(
        token_AR=uniform_AR if chosen.temperature else None,
        position_AR=uniform_AR if chosen.alg_temp else None,
    )
    with LiveBytes() as counter:
        logits_ARV.view(-1)  # seen, and counted
        step(logits_ARV, open_AR, torch.full((rows,), 4), draws, chosen)
    given_bytes = logits_ARV.untyped_storage().nbytes()
    assert given_bytes < counter.peak <= 2 * given_bytes
