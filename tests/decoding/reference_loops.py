"""The samplers once more: one row, full logits, plain Python, no early stop.

Written from the published loops' description, without midspan's code, as an oracle. Two of
midspan's decisions are in it: the mask token is forbidden, and equal scores go to the left.
"""

import math

import torch


def row_logits(lm, prompt, canvas, guidance):
    """[L, V] as lists of floats would be; kept as a tensor for speed."""
    mask = lm.tokens.mask
    given = lm.logits(torch.tensor([[*prompt, *canvas]]))[0, len(prompt) :]
    if guidance:
        blind = lm.logits(torch.tensor([[mask] * len(prompt) + list(canvas)]))[0, len(prompt) :]
        given = blind + (guidance + 1) * (given - blind)
    given = given.clone()
    given[:, mask] = -math.inf
    return given


def score_of(rule, probs, token):
    if rule == "low_confidence":
        return probs[token]
    ordered = sorted(probs, reverse=True)
    if rule == "margin":
        return ordered[0] - ordered[1]
    return sum(p * math.log(p) for p in probs if p > 0)


def commit_best(canvas, scored, count, step, trace):
    """`scored`: (position, token, score)."""
    best = sorted(scored, key=lambda entry: (-entry[2], entry[0]))[:count]
    for position, token, _ in sorted(best):
        canvas[position] = token
        trace.append((position, token, step))


def llada(lm, prompt, anchors, config):
    """Greedy LLaDA: final canvas and (position, token, step) of every commit."""
    mask, eos, eot = lm.tokens.mask, lm.tokens.eos, lm.tokens.eot
    canvas = [anchors.get(position, mask) for position in range(config.length)]
    block = config.block_length or config.length
    per_block = config.steps // (config.length // block)
    trace, forwards = [], 0
    for first in range(0, config.length, block):
        masks = sum(token == mask for token in canvas[first : first + block])
        for step in range(per_block):
            count = masks // per_block + (1 if step < masks % per_block else 0)
            if count == 0:
                continue
            logits = row_logits(lm, prompt, canvas, config.guidance)
            if config.eos_policy == "suppress_logits":
                logits[:, eos] = -math.inf
            scored = []
            for position in range(first, first + block):
                if canvas[position] != mask:
                    continue
                token = int(logits[position].argmax())
                ranked = logits[position].clone()
                if config.eos_policy == "suppress_confidence":
                    ranked[[eos, eot]] = -math.inf
                score = score_of(config.remasking, ranked.softmax(-1).tolist(), token)
                if config.eos_policy == "suppress_confidence" and token in (eos, eot):
                    score = -1e30
                scored.append((position, token, score))
            commit_best(canvas, scored, count, forwards, trace)
            forwards += 1
    return canvas, trace


def kept_by_filters(logits, top_p, top_k):
    """Ids that survive the nucleus, then the top k."""
    probs = logits.softmax(-1).tolist()
    order = sorted(range(len(probs)), key=lambda token: -probs[token])
    kept, mass = [], 0.0
    for token in order:
        if top_p is not None and kept and mass > top_p:
            break
        kept.append(token)
        mass += probs[token]
    return kept if top_k is None else kept[:top_k]


def dream(lm, prompt, anchors, config):
    """Greedy Dream."""
    mask = lm.tokens.mask
    canvas = [anchors.get(position, mask) for position in range(config.length)]
    times = torch.linspace(1, config.eps, config.steps + 1)
    trace, forwards = [], 0
    for step in range(config.steps):
        masks = torch.tensor(float(canvas.count(mask)))
        last = step == config.steps - 1
        count = int(masks) if last else int(masks * (1 - times[step + 1] / times[step]))
        if count == 0:
            continue
        logits = row_logits(lm, prompt, canvas, config.guidance)
        scored = []
        for position in range(config.length):
            if canvas[position] != mask:
                continue
            kept = kept_by_filters(logits[position], config.top_p, config.top_k)
            ranked = torch.full_like(logits[position], -math.inf)
            ranked[kept] = logits[position][kept]
            token = int(ranked.argmax())
            scored.append(
                (position, token, score_of(config.remasking, ranked.softmax(-1).tolist(), token))
            )
        commit_best(canvas, scored, count, forwards, trace)
        forwards += 1
    return canvas, trace
