"""What a check finds, and what it looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from midspan.models import DiffusionLM

Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name: What was checked.
        status: "ok"; "note": true of this model and worth knowing; "fault": results are wrong.
        detail: What was seen, in one line.
        remedy: What to do, one sentence; empty where nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.status:6}{self.name:22}{self.detail}"
        return f"{line}. {self.remedy}" if self.remedy else line


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Attributes:
        lm: The loaded model.
        names: The name of its base as it was given, and what that stands for.
        folder: The base's folder.
        adapter: The adapter's folder; None without one.
    """

    lm: DiffusionLM
    names: tuple[str, ...]
    folder: Path
    adapter: Path | None = None

    @property
    def is_exact(self) -> bool:
        """Whether results may be asked to agree to the bit, or nearly: in float32 alone."""
        quantized = getattr(self.lm.base, "is_quantized", False)
        return self.lm.base.dtype == torch.float32 and not quantized


@dataclass(frozen=True)
class Check:
    """One check, by name.

    Attributes:
        name: What is checked.
        look: From the subject to status, detail and remedy.
        of_masks: Whether it needs logits of a masked canvas, which not every family has.
    """

    name: str
    look: Callable[[Subject], tuple[Status, str, str]]
    of_masks: bool = False


def ok(detail: str) -> tuple[Status, str, str]:
    """Nothing to be done."""
    return "ok", detail, ""


def note(detail: str, remedy: str = "") -> tuple[Status, str, str]:
    """Worth knowing."""
    return "note", detail, remedy


def fault(detail: str, remedy: str) -> tuple[Status, str, str]:
    """Results are wrong."""
    return "fault", detail, remedy
