"""What a shell asks for when Tab is pressed: one command is loaded, and nothing heavy."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

# Where a shell says what has been typed: bash its words and the number of the current one, the
# others the line.
_WORDS, _CURRENT, _LINE = "COMP_WORDS", "COMP_CWORD", "_TYPER_COMPLETE_ARGS"
_PARTING = (":", "=")


def complete(app_for: Callable[[Sequence[str]], Any]) -> None:
    """Print what completes the words of the environment, and end.

    Args:
        app_for: The app that a command line needs.

    Raises:
        SystemExit: At the end.
    """
    if _WORDS in os.environ:
        _complete_bash(app_for)
    app_for(os.environ.get(_LINE, "").split()[1:])()


def _complete_bash(app_for: Callable[[Sequence[str]], Any]) -> None:
    """As bash has it: what is completed begins behind the last sign that parts words."""
    words, current = joined(os.environ[_WORDS].split("\n"), int(os.environ[_CURRENT]))
    os.environ |= {_WORDS: "\n".join(words), _CURRENT: str(current)}
    typed = words[current]
    before = typed[: max(typed.rfind(sign) for sign in _PARTING) + 1]
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            app_for(words[1:])()
    finally:
        for line in found.getvalue().splitlines():
            print(line.removeprefix(before))


def joined(words: Sequence[str], current: int) -> tuple[list[str], int]:
    """Words as people type them, of bash's, and the number of the current one.

    Args:
        words: As bash parts them: a colon or an equals sign is one of them.
        current: The number of the word under the cursor; one more than there are where it is new.
    """
    whole: list[str] = []
    place, is_open = 0, False
    for index, word in enumerate([*words, ""][: current + 1]):
        if is_open and whole[-1].startswith("--") and whole[-1].endswith("="):
            # The value of an option is a word of its own.
            whole[-1:] = [whole[-1].removesuffix("="), word]
        elif whole and (is_open or word in _PARTING):
            whole[-1] += word
        else:
            whole.append(word)
        is_open = word in _PARTING
        place = len(whole) - 1 if index == current else place
    return whole, place
