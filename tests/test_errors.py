import pytest

from midspan.errors import MidspanError


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\x0b", "\x85", "\u2028", " \n\t "])
def test_a_message_is_one_line_whatever_it_quotes(line_break):
    error = MidspanError(f"data: no column{line_break}prompt")
    assert str(error) == "data: no column prompt"
    assert len(str(error).splitlines()) == 1


def test_a_message_does_not_command_the_terminal():
    assert str(MidspanError("model: \x1b[2Jgone\x00\x9b")) == "model: \ufffd[2Jgone\ufffd\ufffd"
    assert str(MidspanError("tabs\tand  spaces stay")) == "tabs\tand  spaces stay"
