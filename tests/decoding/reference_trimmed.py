"""Trimmed windows of the dual cache once more: batch 1, one table of keys and values a layer.

Written without midspan's code. Every forward says outright which positions it computes.
"""

import math

import torch
from reference_caches import heads, how_many, rotate


class KeptStates:
    """Keys and values of all positions as they were last computed."""

    def __init__(self, lm):
        self.lm, self.kept = lm, None

    def logits(self, ids, fresh):
        """Logits at the positions `fresh`, whose keys and values take the place of older ones."""
        model, count = self.lm.model.model, self.lm.model.config.num_attention_heads
        position = torch.tensor(list(fresh))
        hidden = model.embed_tokens(torch.tensor(ids)[position])
        if self.kept is None:
            self.kept = [{} for _ in model.layers]
        for layer, kept in zip(model.layers, self.kept, strict=True):
            attention, normed = layer.self_attn, layer.input_layernorm(hidden)
            query = rotate(heads(attention.q_proj, normed, count), position)
            key = rotate(heads(attention.k_proj, normed, count), position)
            value = heads(attention.v_proj, normed, count)
            for index, spot in enumerate(fresh):
                kept[spot] = key[:, index], value[:, index]
            keys, values = (
                torch.stack([kept[spot][part] for spot in range(len(ids))], 1) for part in (0, 1)
            )
            weight = (query @ keys.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)
            mixed = (weight @ values).transpose(0, 1).reshape(len(position), -1)
            hidden = hidden + attention.o_proj(mixed)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        rows = self.lm.model.lm_head(model.norm(hidden)) + self.lm.bias_V
        return dict(zip(fresh, rows, strict=True))


def in_doubt(lm, canvas, spot, sure, least):
    """Whether a token is looked at again; of neighbors with one token both are, unless it ends."""
    token, beside = canvas[spot], [*canvas[max(spot - 1, 0) : spot], *canvas[spot + 1 : spot + 2]]
    return sure[spot] < least or (token in beside and token not in lm.tokens.stop)


@torch.no_grad()
def trimmed_llada(lm, prompt, config):
    """Greedy: final canvas, number of forwards, positions that went through the model."""
    mask, shift, width = lm.tokens.mask, int(lm.family.logit_shift), len(prompt)
    canvas, states = [mask] * config.length, KeptStates(lm)
    forwards = computed = 0
    before, renewed, looked, sure = [], None, set(), {}
    while mask in canvas:
        left = [p for p, token in enumerate(canvas) if token == mask]
        first = left[0] // config.block_length * config.block_length
        now = [p for p in left if p < first + config.block_length]
        group = first // (config.block_length * config.refresh_blocks)
        if group != renewed:
            fresh, renewed = range(width + config.length), group
        else:
            needed = now + before
            fresh = range(max(width + min(needed) - shift, 0), width + max(needed) + 1)
        logits = states.logits([*prompt, *canvas], fresh)
        forwards, computed, before = forwards + 1, computed + len(fresh), now
        scored = []
        for spot in now:
            row = logits[max(width + spot - shift, 0)].clone()
            row[mask] = -math.inf
            scored.append((float(row.softmax(-1).max()), spot, int(row.argmax())))
        scored.sort(key=lambda entry: (-entry[0], entry[1]))
        for _, spot, token in scored[: how_many([entry[0] for entry in scored], config, 1)]:
            canvas[spot] = token
        sure |= {spot: value for value, spot, _ in scored}
        block = range(first, first + config.block_length)
        is_full = all(canvas[spot] != mask for spot in block)
        if config.revise is not None and is_full and first not in looked:
            looked.add(first)
            for spot in [p for p in block if in_doubt(lm, canvas, p, sure, config.revise)]:
                canvas[spot] = mask
    return canvas, forwards, computed
