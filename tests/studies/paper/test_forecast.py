"""What parts of a study are said to take, with servers beside them and without."""

import pytest

from midspan.studies.paper import forecast as forecasts
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.forecast import forecast
from midspan.studies.probes.config import ProbeSpec

SMALL = {"length": 16, "steps": 4, "block_length": 16}


@pytest.fixture
def rates(monkeypatch):
    """A response takes half of its steps, a row an hour's thousandth."""
    monkeypatch.setattr(forecasts.Rate, "seconds", lambda self, decoding, rows: 3.6)
    monkeypatch.setattr(forecasts.Rate, "share", lambda self, decoding, prompts: 0.5)


def test_a_probe_that_turns_early_stops_off_takes_every_step(organism_folder, tmp_path, rates):
    specs = {
        name: ProbeSpec(probe=name, models=(ORIGINAL,), n=1, decoding=SMALL, fields=fields)
        for name, fields in (("order", {}), ("samples", {"start": None}))
    }
    config = PaperConfig(base=str(organism_folder), probes=specs)
    order, samples = forecast(config, tmp_path)
    # The probe of order decodes in blocks, and in one; both have four steps.
    assert order.forwards == 4 * order.responses
    assert samples.forwards == 2 * samples.responses > 0
