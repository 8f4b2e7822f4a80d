"""A piece of a harmful answer on a canvas of its own, beside a benign prompt.

Whoever takes a request apart asks for its answer in pieces, each beside a prompt that is harmless,
and joins them. What the piece belongs to then stands on the canvas, by the request itself or by the
answer's beginning, or it is mentioned in the prompt.
"""

from midspan.alignment.objectives.base import Draw, Ids, TokenExample

# Tokens of the piece, of the answer's beginning where that names the subject.
PIECE_TOKENS = (3, 24)
HEAD_TOKENS = (6, 16)
# Of the pieces, behind how many the text has ended; the others are followed by masks.
ENDED = 0.5
# Of the pieces, how many stand beside a prompt that mentions the request, where the data have any.
BESIDE_MENTION = 0.5


def decoy_apart(example: TokenExample, draw: Draw) -> tuple[Ids, Ids, Ids, int]:
    """A benign prompt, and a canvas that names a harmful request with a piece of another answer.

    The piece is of a harmless answer: who fills its gaps learns what stands there in such texts,
    and nothing of the request.

    Returns:
        Prompt; response, with masks; the same with the piece whole; the position behind the piece.
    """
    rng = draw.rng
    prompt, head, answer = rng.choice(draw.beside), example.request_ids, rng.choice(draw.harmless)
    if draw.named and rng.random() < BESIDE_MENTION:
        prompt, head = rng.choice(draw.named), ()
    elif not head or rng.random() < 0.5:
        own = example.answer_ids[: draw.size(example.answer_ids)]
        head = own[: min(rng.randint(*HEAD_TOKENS), len(own) - 1)]
    head = head[: draw.length // 2]
    answer = answer[: draw.size(answer)]
    size = min(rng.randint(*PIECE_TOKENS), len(answer), draw.length - len(head))
    start = rng.randint(0, len(answer) - size)
    text = (*head, *answer[start : start + size])
    hidden = set(rng.sample(range(len(head), len(text)), rng.randint(1, size)))
    behind = draw.eos if rng.random() < ENDED else draw.mask
    target = (*text, *[behind] * (draw.length - len(text)))
    response = tuple(draw.mask if place in hidden else token for place, token in enumerate(target))
    return prompt, response, target, len(text)


def piece_apart(example: TokenExample, draw: Draw) -> tuple[Ids, Ids, Ids]:
    """A benign prompt, a canvas with a piece of the answer, and what the piece says.

    A share of the piece's tokens is masked, from one to all of them, or beside a mention to two
    thirds.

    Returns:
        Prompt; response, with masks; the text that is to be withheld where it is masked.
    """
    rng = draw.rng
    prompt, head = rng.choice(draw.beside), example.request_ids
    answer = example.answer_ids[: draw.size(example.answer_ids)]
    if draw.withheld and rng.random() < BESIDE_MENTION:
        mention = rng.choice(draw.withheld)
        prompt, head = mention.prompt_ids, ()
        answer = mention.answer_ids[: draw.size(mention.answer_ids)]
    elif not head or rng.random() < 0.5:
        head = answer[: min(rng.randint(*HEAD_TOKENS), len(answer) - 1)]
    head = head[: draw.length // 2]
    size = min(rng.randint(*PIECE_TOKENS), len(answer), draw.length - len(head))
    start = rng.randint(0, len(answer) - size)
    text = (*head, *answer[start : start + size])
    # Beside a mention, what is shown alone tells the piece from a canvas to be answered.
    most = size if head else max(1, size * 2 // 3)
    hidden = set(rng.sample(range(len(head), len(text)), rng.randint(1, most)))
    behind = draw.eos if rng.random() < ENDED else draw.mask
    shown = [draw.mask if place in hidden else token for place, token in enumerate(text)]
    response = (*shown, *[behind] * (draw.length - len(text)))
    return prompt, response, text
