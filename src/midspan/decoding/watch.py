"""A canvas filling on a terminal: `decode(..., on_step=watch)`.

On a terminal the canvases are redrawn in place, with what the last step committed in bold;
elsewhere each step is a plain line.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from midspan.decoding.trace import StepView
from midspan.models.model import DiffusionLM

OPEN = "\N{MIDDLE DOT}"
END = "\N{BLACK SQUARE}"


class Watch:
    """Shows each step. Use as a context manager and pass it as `on_step`.

    Args:
        lm: The model; only its tokenizer and tokens are used.
        console: Where to draw; by default standard output.
        max_rows: Canvases to show.
    """

    def __init__(self, lm: DiffusionLM, console: Console | None = None, max_rows: int = 4) -> None:
        self._lm = lm
        self._console = console or Console()
        self._max_rows = max_rows
        # Few stretches change from one step to the next.
        self._spelled = lru_cache(maxsize=4096)(self._spell)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, view: StepView) -> None:
        """Draw one step."""
        shown = view.rows[: self._max_rows]
        canvases = [
            self._draw(view.tokens_BL[i].tolist(), view.committed_BL[i].tolist())
            for i in range(len(shown))
        ]
        if not self._console.is_terminal:
            for row, canvas in zip(shown, canvases, strict=True):
                line = f"step {view.step + 1}/{view.total_steps} [{row}] {canvas.plain}"
                self._console.print(Text(line), soft_wrap=True)
            return
        title = Text(f"step {view.step + 1}/{view.total_steps}", style="dim")
        self._live.update(Group(title, *canvases), refresh=True)

    def _draw(self, tokens: Sequence[int], committed: Sequence[bool]) -> Text:
        """One canvas, in stretches of committed tokens between open positions and end tokens."""
        canvas = Text()
        position = 0
        while position < len(tokens):
            end = position
            while end < len(tokens) and not self._symbol(tokens[end]):
                end += 1
            self._draw_words(canvas, tokens[position:end], committed[position:end])
            if end < len(tokens):
                canvas.append(self._symbol(tokens[end]), style="dim")
            position = end + 1
        return canvas

    def _symbol(self, token: int) -> str:
        if token == self._lm.tokens.mask:
            return OPEN
        return END if token in self._lm.tokens.stop else ""

    def _draw_words(self, canvas: Text, tokens: Sequence[int], committed: Sequence[bool]) -> None:
        """Append tokens, each step's in its style; a token's spelling depends on those before."""
        shown = ""
        for end, new in enumerate(committed, 1):
            text = self._spelled(tuple(tokens[:end]))
            if end < len(tokens):
                # Perhaps a character's first bytes, which the next token completes.
                text = text.rstrip("\N{REPLACEMENT CHARACTER}")
            canvas.append(text[len(shown) :], style="bold green" if new else "")
            shown = text

    def _spell(self, tokens: Sequence[int]) -> str:
        """Tokens as one line of text in which nothing can steer the terminal."""
        text = str(self._lm.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))
        return "".join(c if c.isprintable() else " " for c in text)
