"""Rows that can be decoded together."""

from dataclasses import dataclass

from midspan.decoding import DecodingConfig
from midspan.decoding.stream import Stream
from midspan.serve.progress import EndWatch

# Hooks remember the rows that they saw; with fresh hooks they forget.
_ROWS_OF_HOOKS = 1024


@dataclass(frozen=True)
class Lane:
    """What rows of one batch share.

    Attributes:
        model: The model's name.
        config: How they are decoded.
        frames: Whether the probability of an end is watched.
        alone: The row that is decoded by itself, since a batch with it failed.
    """

    model: str
    config: DecodingConfig
    frames: bool
    alone: int | None = None


@dataclass
class LaneBatch:
    """A lane's rows that are being decoded.

    Attributes:
        stream: They.
        watch: What notes how likely an end is; None without frames.
        entered: How many there were so far.
        is_closing: Whether no more may enter.
    """

    stream: Stream
    watch: EndWatch | None
    entered: int = 0
    is_closing: bool = False

    @property
    def free(self) -> int:
        """How many rows may enter."""
        is_full = bool(self.stream.hooks) and self.entered >= _ROWS_OF_HOOKS
        return 0 if self.is_closing or is_full else self.stream.free
