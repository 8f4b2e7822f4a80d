"""What decoding leaves behind: the tokens, and which was committed where and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

ANCHOR_STEP = -1
# A position that is left masked on purpose.
CLOSED_STEP = -2
# The answer of a request that a monitor rejected, as a service would give it.
REJECTION = "I cannot help with that request."


@dataclass(frozen=True, eq=False)
class Trace:
    """Every commit of one canvas, by step and, within a step, by position. N commits.

    Attributes:
        position: Canvas position, [N].
        token: Token id, [N].
        step: The step that committed it, counted from 0 in the forwards that this row took part
            in; `ANCHOR_STEP` for anchors, [N].
        confidence: Probability of the token, when it was committed, in the distribution that the
            remasking rule looks at; 1 for anchors; the rule's own score under compatibility, [N].
    """

    position: NDArray[np.int32]
    token: NDArray[np.int64]
    step: NDArray[np.int32]
    confidence: NDArray[np.float32]

    @classmethod
    def from_canvas(
        cls,
        tokens_L: NDArray[Any],
        committed_L: NDArray[Any],
        step_L: NDArray[Any],
        confidence_L: NDArray[Any],
    ) -> Self:
        """The trace of one canvas of L positions, from what is known of each position."""
        position = np.flatnonzero(committed_L & (step_L != CLOSED_STEP))
        position = position[np.argsort(step_L[position], kind="stable")]
        return cls(
            position=position.astype(np.int32),
            token=tokens_L[position].astype(np.int64),
            step=step_L[position].astype(np.int32),
            confidence=confidence_L[position].astype(np.float32),
        )

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists for JSON; confidence is rounded to six decimals."""
        return {
            "position": self.position.tolist(),
            "token": self.token.tolist(),
            "step": self.step.tolist(),
            "confidence": [round(value, 6) for value in self.confidence.tolist()],
        }

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[Any]]) -> Self:
        """The trace that `to_dict` wrote.

        Raises:
            TypeError: It did not write these.
            ArithmeticError: A number is too large.
        """
        kinds: dict[str, set[type]] = {
            "position": {int},
            "token": {int},
            "step": {int},
            "confidence": {int, float},
        }
        if not all(set(map(type, columns[name])) <= kinds[name] for name in kinds):
            raise TypeError("a trace is of whole numbers, and its confidences are numbers")
        if len({len(columns[name]) for name in kinds}) > 1:
            raise TypeError("a trace has as many of each number as commits")
        with np.errstate(over="raise"):
            return cls(
                position=np.asarray(columns["position"], dtype=np.int32),
                token=np.asarray(columns["token"], dtype=np.int64),
                step=np.asarray(columns["step"], dtype=np.int32),
                confidence=np.asarray(columns["confidence"], dtype=np.float32),
            )

    @classmethod
    def empty(cls) -> Self:
        """The trace of a canvas in which nothing was committed."""
        return cls.from_dict(dict.fromkeys(("position", "token", "step", "confidence"), ()))

    def __len__(self) -> int:
        return len(self.position)


@dataclass(frozen=True)
class Generation:
    """One filled canvas.

    Attributes:
        tokens: The canvas; positions that an early stop left open hold the mask token.
        text: The answer: the response up to its first end token, without thoughts.
        trace: Every commit.
        forwards: Forward passes this row took part in, two a step under guidance.
        stopped_early: Whether the row left before its canvas was full.
        thoughts: What a reasoning model thought before its answer.
        rejected_by: The monitor that rejected the request; the text is then `REJECTION`.
        is_broken: Whether the model's logits were not finite, so that there is no answer.
    """

    tokens: tuple[int, ...]
    text: str
    trace: Trace
    forwards: int
    stopped_early: bool
    thoughts: str = ""
    rejected_by: str = ""
    is_broken: bool = False

    @property
    def notes(self) -> dict[str, str]:
        """What only some generations have: thoughts, and the monitor that rejected them."""
        notes = {"thoughts": self.thoughts, "rejected_by": self.rejected_by}
        return {name: text for name, text in notes.items() if text}

    @property
    def said(self) -> dict[str, str]:
        """The fields of a record that say what the response was."""
        return {"response": self.text, **self.notes}


@dataclass(frozen=True)
class StepView:
    """What a callback sees after a step; the tensors change with the next one.

    Attributes:
        step: The step just taken, from 0.
        total_steps: The most steps that any row of the batch takes.
        tokens_BL: The canvases of the rows still in the batch, mask tokens where open.
        committed_BL: True where this step committed.
        rows: Their indices into the requests.
    """

    step: int
    total_steps: int
    tokens_BL: Tensor
    committed_BL: Tensor
    rows: tuple[int, ...]
