"""Random numbers that depend on a request's seed alone: a hash of seed, draw and position.

Shapes: B rows, R positions of a row.
"""

import torch
from torch import Tensor

# Draws of positions come behind those of tokens, one a step.
POSITION_DRAWS = 1 << 32
_INT64_WRAP = 1 << 63


def _signed(constant: int) -> int:
    """A 64-bit constant as torch's signed integers write it."""
    return constant - 2 * _INT64_WRAP if constant >= _INT64_WRAP else constant


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)), (31, 1))


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): each bit in decides every bit out."""
    for shift, factor in _MIX:
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x


def hashed_uniform(seed_B: Tensor, draw_B: Tensor, position_BR: Tensor) -> Tensor:
    """Numbers in [0, 1), [B, R].

    So a position's draw depends neither on the rows beside it nor on what else is drawn for.

    Args:
        seed_B: A row's seed.
        draw_B: Which of the row's draws.
        position_BR: Canvas positions.
    """
    key_B = _mix(_mix(seed_B + _GOLDEN) + draw_B * _GOLDEN)
    bits_BR = _mix(key_B[:, None] + position_BR * _GOLDEN)
    return ((bits_BR >> 40) & 0xFFFFFF).float() / (1 << 24)


def gumbel(uniform_BR: Tensor) -> Tensor:
    """Gumbel noise: added to log-weights, the k largest are k draws without replacement."""
    tiny = torch.finfo(uniform_BR.dtype).tiny
    return -(-uniform_BR.clamp(min=tiny).log()).log()
