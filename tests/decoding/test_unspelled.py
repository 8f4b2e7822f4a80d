"""Rows of a model for which its tokenizer has no token are never committed."""

import pytest
import real_tokenizers as real
import torch

from midspan.decoding import Hook, Request, decode, decoding_config

LENGTH = 16
SAMPLERS = {
    "llada": ("llada", {"block_length": 8, "steps": 8}),
    "dual cache": ("llada", {"block_length": 8, "steps": 8, "cache": "dual"}),
    "sampled": ("llada", {"block_length": 8, "steps": 8, "temperature": 1.5}),
    "random": ("llada", {"block_length": 8, "steps": 8, "remasking": "random"}),
    "guided": ("llada", {"block_length": 8, "steps": 8, "guidance": 1.0}),
    "no end": ("llada", {"block_length": 8, "steps": 8, "eos_policy": "suppress_logits"}),
    "dream": ("Dream", {"steps": 8, "temperature": 1.0, "top_p": 0.9}),
    "block": ("sdar", {"steps": 16, "threshold": 0.9}),
}


def eager(kind: str):
    """A model that prefers rows without a token; and these rows."""
    lm = real.lm(kind)
    rows = [row for run in lm.unspelled for row in run]
    forward = lm.base.lm_head.forward

    def biased(hidden):
        logits = forward(hidden)
        logits[..., rows] += 30.0
        return logits

    lm.base.lm_head.forward = biased
    return lm, set(rows)


def filled(lm, hooks=(), **fields):
    requests = [Request(tuple(lm.encode_chat(text)), seed=n) for n, text in enumerate("ab")]
    config = decoding_config(lm, length=LENGTH, **fields)
    return decode(lm, requests, config, hooks=hooks)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_token_committed_has_a_text(name: str) -> None:
    kind, fields = SAMPLERS[name]
    lm, rows = eager(kind)
    for made in filled(lm, **fields):
        assert not rows & set(made.tokens) and not rows & set(made.trace.token.tolist())


def test_a_hook_cannot_bring_them_back() -> None:
    lm, rows = eager("llada")

    class Eager(Hook):
        def edit_logits(self, view, positions, logits):
            logits[..., sorted(rows)] = 99.0
            logits[..., lm.tokens.mask] = 99.0

    for made in filled(lm, hooks=[Eager()], block_length=8, steps=8):
        assert not (rows | {lm.tokens.mask}) & set(made.tokens)


@pytest.mark.parametrize(("kind", "steps"), [("llada", {"block_length": 16}), ("Dream", {})])
def test_the_published_samplers_commit_them(kind: str, steps: dict) -> None:
    lm, rows = eager(kind)
    for made in filled(lm, compatibility=True, steps=16, temperature=0.0, **steps):
        assert set(made.tokens) <= rows


def test_a_model_without_a_tokenizer_has_no_such_rows() -> None:
    lm, rows = eager("llada")
    ids = torch.tensor([lm.encode_chat("a")])
    out = lm.model.generate(ids, max_new_tokens=16, steps=8, block_length=8)
    assert set(out[0, ids.shape[1] :].tolist()) <= rows
