"""Answers in parts: what a part states, and which of them go into the joined answer."""

import re
from collections.abc import Sequence

from midspan.engine.attack import AttackState, Part
from midspan.engine.calls import Chat, Reply
from midspan.judges.refusal import refuses

PLACE = re.compile(r"\{(\d+)\}")
Asked = Sequence[tuple[Chat, Reply]]


def put_up(
    state: AttackState,
    asked: Asked,
    parts: Sequence[Part],
    refusals: Sequence[str],
    guessed: float | None = None,
) -> None:
    """Join what does not refuse; where all of it does, the refusals are the answer."""
    told = [part for part in parts if part.response.strip()]
    answers = [part for part in told if not refuses(part.response, refusals)]
    state.join(asked, answers or told, guessed=guessed)


def filled(scaffold: str, text: str, statement: str) -> str:
    """A statement in which {3} is what fills a scaffold's third hole in a text; spacing is free.

    The text itself where there is no statement, or where it is not the scaffold filled.
    """
    from midspan.decoding.scaffold import HOLE

    # HOLE has two groups of its own.
    pieces = [re.findall(r"\w+|[^\w\s]", piece) for piece in HOLE.split(scaffold)[::3]]
    first, *others = (r"\s*".join(map(re.escape, piece)) for piece in pieces)
    # Only a space tells holes apart that stand side by side.
    joints = [rf"\s*{piece}\s*" if piece else r"\s+" for piece in others[:-1]]
    pattern = "(.+?)".join([rf"{first}\s*", *joints, rf"\s*{others[-1]}"])
    found = re.fullmatch(rf"\s*{pattern}\s*", text, flags=re.DOTALL | re.IGNORECASE)
    if not statement or found is None:
        return text
    return PLACE.sub(lambda place: found[int(place[1])], statement)
