"""Rows that can be decoded together."""

from dataclasses import dataclass

from midspan.decoding import DecodingConfig, Hook
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
        alone: The row that is decoded by itself, since a batch with it failed.
    """

    model: str
    config: DecodingConfig
    alone: int | None = None


@dataclass
class LaneBatch:
    """A lane's rows that are being decoded.

    Attributes:
        stream: They.
        watch: What notes how likely an end is, while rows with frames are among them.
        hooks: What acts on all rows, the stream's own list.
        entered: How many there were so far.
        is_closing: Whether no more may enter.
    """

    stream: Stream
    watch: EndWatch
    hooks: list[Hook]
    entered: int = 0
    is_closing: bool = False

    def watch_ends(self, is_wanted: bool) -> None:
        """Watch them from the next step on, or do not."""
        if is_wanted and self.watch not in self.hooks:
            self.hooks.insert(0, self.watch)
        elif not is_wanted and self.watch in self.hooks:
            self.hooks.remove(self.watch)

    @property
    def free(self) -> int:
        """How many rows may enter."""
        is_full = (
            any(hook is not self.watch for hook in self.hooks) and self.entered >= _ROWS_OF_HOOKS
        )
        return 0 if self.is_closing or is_full else self.stream.free
