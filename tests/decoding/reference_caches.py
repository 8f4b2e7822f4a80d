"""Accelerated decoding once more, from the definitions: batch 1, nothing kept but token ids.

What a cache holds is recomputed at every step, layer by layer, from the ids that stood when it was
filled. Written without midspan's code.
"""

import math

import torch


def rotate(states_HTD, position_T):
    """Rotary embedding, half-split as in Llama, base 10000."""
    size = states_HTD.shape[-1]
    frequency = 10000 ** -(torch.arange(0, size, 2).float() / size)
    angle = position_T[:, None].float() * frequency
    cos, sin = (torch.cat([f(angle)] * 2, -1) for f in (torch.cos, torch.sin))
    half = size // 2
    turned = torch.cat([-states_HTD[..., half:], states_HTD[..., :half]], -1)
    return states_HTD * cos + turned * sin


def heads(projection, hidden, count):
    return projection(hidden).view(len(hidden), count, -1).transpose(0, 1)


def stale_logits(lm, old_ids, ids, fresh):
    """Logits at the positions `fresh` of `ids`; all others stand as computed from `old_ids`.

    A full forward of the old ids gives every layer's input at the stale positions.
    """
    model, count = lm.model.model, lm.model.config.num_attention_heads
    position = torch.arange(len(ids))
    is_fresh = torch.zeros(len(ids), dtype=torch.bool)
    is_fresh[fresh] = True
    old, new = (model.embed_tokens(torch.tensor(list(t))) for t in (old_ids, ids))
    for layer in model.layers:
        outputs = []
        for hidden, keys_from in ((old, old), (new, torch.where(is_fresh[:, None], new, old))):
            attention = layer.self_attn
            normed, normed_keys = layer.input_layernorm(hidden), layer.input_layernorm(keys_from)
            query = rotate(heads(attention.q_proj, normed, count), position)
            key = rotate(heads(attention.k_proj, normed_keys, count), position)
            value = heads(attention.v_proj, normed_keys, count)
            weight = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)
            mixed = (weight @ value).transpose(0, 1).reshape(len(ids), -1)
            hidden = hidden + attention.o_proj(mixed)
            outputs.append(hidden + layer.mlp(layer.post_attention_layernorm(hidden)))
        old, new = outputs
    return lm.model.lm_head(model.norm(new)) + lm.bias_V


def how_many(ordered, config, planned):
    """Fast-dLLM's and dInfer's counts, from confidences in falling order."""
    if config.threshold is not None:
        limit = config.threshold
        if config.ties == "together":
            limit = min(limit, ordered[0] - 1e-5)
        return max(1, sum(value >= limit for value in ordered))
    if config.factor is not None:
        good = [n for n, value in enumerate(ordered, 1) if value >= 1 - config.factor / (n + 1)]
        return max(good, default=1)
    if config.doubt is not None:
        doubts = [1 - value for value in ordered]
        return max(n for n in range(1, len(doubts) + 1) if sum(doubts[: n - 1]) <= config.doubt)
    return planned


@torch.no_grad()
def cached_llada(lm, prompt, anchors, config):
    """Greedy: final canvas, (position, token, step) of every commit, number of forwards."""
    mask, shift, width = lm.tokens.mask, int(lm.family.logit_shift), len(prompt)
    canvas = [anchors.get(position, mask) for position in range(config.length)]
    block = config.block_length or config.length
    trace, forwards = [], 0
    for first in range(0, config.length, block):
        last = min(first + block, config.length)
        masks = canvas[first:last].count(mask)
        steps = config.steps // (config.length // block)
        plan = [masks // steps + (step < masks % steps) for step in range(steps)]
        plan = [count for count in plan if count]
        old_ids, age = None, 0
        while mask in canvas[first:last]:
            ids = [*prompt, *canvas]
            every = config.refresh_every or math.inf
            if old_ids is None or age >= every or config.cache == "none":
                old_ids, age = ids, 0
                fresh = range(len(ids))
            else:
                end = len(ids) if config.cache == "prefix" else width + last
                fresh = range(max(width + first - shift, 0), end)
            logits = stale_logits(lm, old_ids, ids, fresh)
            age += 1
            scored = []
            for position in range(first, last):
                if canvas[position] == mask:
                    row = logits[max(width + position - shift, 0)].clone()
                    row[mask] = -math.inf
                    token = int(row.argmax())
                    scored.append((position, token, float(row.softmax(-1)[token])))
            scored.sort(key=lambda entry: (-entry[2], entry[0]))
            planned = plan.pop(0) if plan else 1
            count = how_many([entry[2] for entry in scored], config, planned)
            for position, token, _ in sorted(scored[:count]):
                canvas[position] = token
                trace.append((position, token, forwards))
            forwards += 1
    return canvas, trace, forwards


@torch.no_grad()
def block_diffusion(lm, prompt, anchors, config):
    """Greedy LLaDA2 and SDAR, with 2.1's editing: the request's canvas and the forwards.

    Every forward is over everything up to the block's end, under a mask written out in full.
    """
    mask, block = lm.tokens.mask, config.block_length
    total = -(-(len(prompt) + config.length) // block) * block
    ids = list(prompt) + [mask] * (total - len(prompt))
    for position, token in anchors.items():
        ids[len(prompt) + position] = token
    fixed = set(range(len(prompt))) | {len(prompt) + position for position in anchors}
    steps = config.steps // -(-config.length // block)
    forwards = 0
    for first in range(len(prompt) // block * block, total, block):
        spots = [p for p in range(first, first + block) if p not in fixed]
        is_open = dict.fromkeys(spots, True)
        plan = [n for n in (block // steps + (i < block % steps) for i in range(steps)) if n]
        post = 0
        while spots:
            opened = [p for p in spots if is_open[p]]
            if not opened and (config.editing_threshold is None or post == 16):
                break
            post += not opened
            logits = block_logits(lm, ids[: first + block], block)
            logits[:, mask] = -math.inf
            probs = logits.softmax(-1)
            forwards += 1
            ranked = sorted((-float(probs[p].max()), p) for p in opened)
            need = min(plan.pop(0) if plan else 1, len(opened))
            above = [p for c, p in ranked if config.threshold is not None and -c > config.threshold]
            commit = above if len(above) >= need and above else [p for _, p in ranked[:need]]
            edit = []
            if config.editing_threshold is not None:
                edit = [
                    p for p in spots
                    if not is_open[p] and int(probs[p].argmax()) != ids[p]
                    and float(probs[p].max()) > config.editing_threshold
                ]  # fmt: skip
            for p in commit + edit:
                ids[p] = int(probs[p].argmax())
                is_open[p] = False
            if not opened and not edit:
                break
        answer = ids[len(prompt) : first + block]
        if config.early_stop and any(token in lm.tokens.stop for token in answer):
            break
    return ids[len(prompt) : len(prompt) + config.length], forwards


def block_logits(lm, ids, block):
    seen = torch.tensor(
        [[k // block <= q // block for k in range(len(ids))] for q in range(len(ids))]
    )
    mask = torch.zeros(1, 1, len(ids), len(ids)).masked_fill(~seen, torch.finfo(torch.float32).min)
    model = lm.model
    return (model(input_ids=torch.tensor([ids]), attention_mask=mask).logits + lm.bias_V)[0]
