from io import StringIO

import torch
from rich.console import Console
from tiny_lm import EOS, MASK, TinyLM

from midspan.decoding import Request, StepView, decode, decoding_config
from midspan.decoding.watch import END, OPEN, Watch


def watch_once(lm, console, tokens, committed):
    view = StepView(2, 5, torch.tensor([tokens]), torch.tensor([committed]), (7,))
    with Watch(lm, console) as watch:
        watch(view)


def test_plain_lines_where_there_is_no_terminal():
    out = StringIO()
    tokens, new = [4, 5, MASK, EOS], [True, False, False, True]
    watch_once(TinyLM(), Console(file=out, width=20), tokens, new)
    assert out.getvalue() == f"step 3/5 [7] t4 t5{OPEN}{END}\n"


def test_a_terminal_is_redrawn_with_new_tokens_in_bold():
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=60)
    watch_once(TinyLM(), console, [4, 5, MASK, EOS], [True, False, False, True])
    assert "step 3/5" in out.getvalue()
    assert "\x1b[1;32mt4\x1b[0m" in out.getvalue()


def test_text_cannot_steer_the_terminal():
    lm, out = TinyLM(), StringIO()
    lm.tokenizer.decode = lambda ids, **_: "a\x1b[2Jb\nc"
    watch_once(lm, Console(file=out, width=40), [4], [True])
    assert out.getvalue() == "step 3/5 [7] a [2Jb c\n"


def test_a_character_of_several_tokens_is_shown_whole():
    lm, out = TinyLM(), StringIO()
    lm.tokenizer.decode = lambda ids, **_: bytes(ids).decode(errors="replace")
    # The last one is cut off, and the first one no character at all.
    tokens = list(b"\xffa" + "\N{EURO SIGN}b\N{GRINNING FACE}".encode() + b"\xc3")
    watch_once(lm, Console(file=out, width=40), tokens, [True] * len(tokens))
    assert out.getvalue() == "step 3/5 [7] \ufffda\N{EURO SIGN}b\N{GRINNING FACE}\ufffd\n"


def test_it_watches_a_decode():
    out = StringIO()
    lm = TinyLM()
    with Watch(lm, Console(file=out, width=200)) as watch:
        found = decode(lm, [Request((5, 6))], decoding_config(length=4, steps=4), on_step=watch)
    lines = out.getvalue().splitlines()
    assert len(lines) == found[0].forwards
    assert lines[0].count(OPEN) == 3
