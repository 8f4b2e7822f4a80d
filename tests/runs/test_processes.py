"""Parts of a run in processes of their own, which are spawned here as they are for users."""

import time

import pytest

from midspan.errors import MidspanError
from midspan.runs.processes import Part, run_together
from midspan.yaml_file import read_fields


def test_a_part_that_fails_says_why_and_stops_the_others(capfd):
    parts = {"sleeps": Part(time.sleep, (600,)), "fails": Part(read_fields, ("[", "a.yaml"))}
    began = time.monotonic()
    with pytest.raises(MidspanError, match="^fails did not finish .* same command continues it"):
        run_together(parts, jobs=2)
    assert time.monotonic() - began < 500
    assert "fails: midspan: a.yaml is not YAML" in capfd.readouterr().err
