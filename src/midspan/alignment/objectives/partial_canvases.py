"""What PSA draws: canvases with parts of an answer, with a refusal begun, with a right answer."""

from dataclasses import dataclass

from midspan.alignment.objectives.base import Ids, TrainingCanvas


@dataclass(frozen=True)
class GapCanvas(TrainingCanvas):
    """A canvas with parts of a harmful answer, or with nothing on it.

    Attributes:
        refusals: Phrases one of which is to stand in every gap.
        avoided_ids: The answer's own tokens, which are to become unlikely at the masked positions.
            End-of-text tokens behind a shorter answer are none of them.
        window: First and last start of the refusal where nothing stands on the canvas.
    """

    refusals: tuple[Ids, ...]
    avoided_ids: Ids
    window: tuple[int, int]


@dataclass(frozen=True)
class BegunCanvas(TrainingCanvas):
    """A canvas on which a refusal has begun.

    Attributes:
        target_ids: The whole response, of which the masked tokens are wanted.
        refusal_end: Last position of the refusal; end-of-text tokens stand behind it.
    """

    target_ids: Ids
    refusal_end: int


@dataclass(frozen=True)
class AnsweredCanvas(TrainingCanvas):
    """A canvas for a prompt that mentions a harmful request, and the answer to what it asks.

    A model that takes the mention for the request is no reference.
    """

    target_ids: Ids


@dataclass(frozen=True)
class DecoyCanvas(TrainingCanvas):
    """A canvas that names a harmful request, with a piece of a harmless answer to be filled in.

    Attributes:
        target_ids: The canvas with the piece whole; where the two differ is learned.
        end: The first position behind the piece; what is masked there is free.
    """

    target_ids: Ids
    end: int
