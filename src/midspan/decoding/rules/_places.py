"""Where rules act, and on which tokens: positions and texts as users write them."""

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator
from torch import Tensor

from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM


def _expand(given: Any) -> Any:
    """Positions from a list, or from text such as ``"0-15,32"``, both ends included."""
    if not isinstance(given, str):
        return given
    positions: list[int] = []
    for part in given.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"must be positions such as 0-15,32; got {given!r}")
        positions += range(int(first), int(last or first) + 1)
    return tuple(positions)


Positions = Annotated[tuple[int, ...], BeforeValidator(_expand)]


def check_positions(rule: str, positions: Iterable[int], length: int) -> None:
    """Refuse positions that the canvas does not have.

    Raises:
        MidspanError: Naming the first of them.
    """
    for position in positions:
        if not 0 <= position < length:
            raise MidspanError(
                f"rules.{rule}.positions: {position} is outside the canvas 0..{length - 1}"
            )


def is_at(position_AR: Tensor, positions: Iterable[int] | None) -> Tensor:
    """True where a canvas position is one of some, [A, R]; everywhere for None."""
    if positions is None:
        return torch.ones_like(position_AR, dtype=torch.bool)
    wanted_N = torch.tensor(list(positions), device=position_AR.device, dtype=position_AR.dtype)
    return torch.isin(position_AR, wanted_N)


def forms(lm: DiffusionLM, text: str) -> list[list[int]]:
    """The ids of a text at a response's beginning and behind a word, each once.

    Raises:
        MidspanError: The text is empty or has words that the vocabulary lacks.
    """
    spellings = [lm.encode_phrase(text, start) for start in (0, 1)]
    return spellings[:1] if spellings[0] == spellings[1] else spellings


def first_tokens(lm: DiffusionLM, texts: Iterable[str]) -> list[int]:
    """The first token of each text, in all its forms."""
    return sorted({ids[0] for text in texts for ids in forms(lm, text)})


def all_tokens(lm: DiffusionLM, texts: Iterable[str]) -> list[int]:
    """Every token of each text, in all its forms."""
    return sorted({token for text in texts for ids in forms(lm, text) for token in ids})
