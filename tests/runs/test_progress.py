"""Progress says count, rate and time left, whatever the width, on a terminal and elsewhere."""

import pytest

from midspan.runs import progress
from midspan.runs.progress import Reporter, Stage, clock


@pytest.fixture
def time(monkeypatch):
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def begun(total=500, name="training mosa-stable"):
    return Stage(Reporter(), name, total, None)


def test_a_rate_is_that_of_what_was_done_here_and_gives_the_time_left(time):
    stage = begun()
    stage.skip(100)
    for _ in range(10):
        time(2)
        stage.advance(5)
    assert stage.count == "150/500"
    assert stage.pace == "2.5/s, 02:20 left"


def test_what_a_journal_held_is_forgotten_after_a_minute(time):
    stage = begun(total=10_000)
    time(1)
    stage.advance(5000)
    for _ in range(130):
        time(1)
        stage.advance(1)
    assert stage.pace.startswith("1/s")


@pytest.mark.parametrize(("seconds", "rate"), [(0.1, "10/s"), (10, "6/min"), (900, "4/h")])
def test_slow_work_has_a_rate_that_can_be_read(time, seconds, rate):
    stage = begun(total=None)
    for _ in range(3):
        time(seconds)
        stage.advance()
    assert stage.pace == rate


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80, 200])
def test_every_width_has_the_count_before_all_else(time, width):
    stage = begun()
    time(10)
    stage.advance(20, "loss 35.30, reward -0.46, kl_harmful 106.13")
    line = stage.line(width)
    assert len(line) <= width
    assert "20/500"[:width] in line
    if width >= 30:
        assert "20/500 2/s, 04:00 left" in line
    assert ("[" in line) == (width >= 80)
    assert ("kl_harmful" in line) == (width >= 200)


def test_a_file_gets_lines_with_all_of_it(time, capsys):
    with Reporter().stage("attacks on organism", 18) as stage:
        for _ in range(9):
            time(5)
            stage.advance(1, "24 replies")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "00:05 attacks on organism: 1/18, 12/min, 01:25 left, 24 replies"
    assert lines[-1] == "00:45 attacks on organism: done (9/18, 24 replies)"


def test_a_note_stays_until_there_is_another(time):
    stage = begun()
    stage.advance(0, "24 replies")
    stage.advance(1)
    assert stage.note == "24 replies"


def test_a_training_that_was_finished_before_says_kept(capsys):
    with Reporter().training("mosa", 300):
        pass
    assert capsys.readouterr().err.endswith("training mosa: done (300/300, kept)\n")


def test_a_training_goes_on_from_its_checkpoint(time, capsys):
    with Reporter().training("mosa", 300) as show:
        for step in range(201, 211):
            time(1)
            show(step, 300, {"loss": 1.0})
    assert ": 202/300, 1/s, 01:38 left, loss 1.00" in capsys.readouterr().err


def test_clock_has_hours_where_there_are_any():
    assert [clock(59.6), clock(61), clock(3725)] == ["01:00", "01:01", "1:02:05"]
