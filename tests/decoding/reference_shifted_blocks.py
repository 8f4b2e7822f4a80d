"""Fast-dLLM v2's decoding from its description: batch 1, everything anew in every forward."""

import math

import torch
from reference_caches import block_logits


@torch.no_grad()
def shifted_blocks(lm, request, config):
    """Greedy: the request's canvas, and the forward that committed each position."""
    prompt, block, part = request.prompt_ids, config.block_length, config.sub_block_length
    ids = dict(enumerate(prompt))
    ids |= {len(prompt) + position: token for position, token in request.anchors.items()}
    end = -(-(len(prompt) + config.length) // block) * block
    steps = dict.fromkeys(request.anchors, -1)
    forwards = 0

    def commit(position, token):
        ids[position] = token
        steps[position - len(prompt)] = forwards

    def best(first, last):
        """Probability and token of each open position, read one row to the left."""
        row = [ids.get(i, lm.tokens.mask) for i in range(last)]
        logits = block_logits(lm, row, block)
        logits[:, lm.tokens.mask] = -math.inf
        probs = logits.softmax(-1)
        spots = [p for p in range(first, min(last + 1, end)) if p not in ids]
        return [(float(probs[p - 1].max()), -p, int(probs[p - 1].argmax())) for p in spots]

    for first in range(len(prompt) // block * block, end, block):
        if first not in ids:  # the finished block before says it
            _, _, token = best(first, first)[0]
            commit(first, token)
            forwards += 1
        for start in range(first, first + block, part or block):
            spots = range(start, start + (part or block))
            while any(p not in ids for p in spots):
                found = [one for one in best(first, first + block) if -one[1] in spots]
                sure = [one for one in found if config.threshold and one[0] > config.threshold]
                for _, minus_position, token in sure or [max(found)]:
                    commit(-minus_position, token)
                forwards += 1
    canvas = [ids[len(prompt) + position] for position in range(config.length)]
    return canvas, {p: when for p, when in steps.items() if p < config.length}
