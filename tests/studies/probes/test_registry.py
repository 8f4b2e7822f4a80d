"""The registry names what exists, and can be read without what is slow to import."""

import subprocess
import sys

import pytest

from midspan.probes.context import ProbeConfig
from midspan.studies.probes.registry import PROBES


@pytest.mark.parametrize("name", PROBES)
def test_every_name_of_an_entry_exists(name):
    probe = PROBES[name]
    assert issubclass(probe.resolve("config"), ProbeConfig) and probe.resolve("config")()
    roles = ("measure", "cost", "section", *(("players",) if probe.players else ()))
    assert all(callable(probe.resolve(role)) for role in roles)
    assert set(probe.needs) <= set(probe.inputs) and probe.n > 0
    assert not probe.organism_fields.keys() - probe.resolve("config").model_fields.keys()


def test_it_is_read_without_torch():
    code = "import sys, midspan.studies.probes.registry; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
