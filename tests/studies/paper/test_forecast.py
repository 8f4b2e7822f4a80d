"""What parts of a study are said to take, with servers beside them and without."""

import pytest
from odd_server import completion, serving

from midspan.errors import MidspanError
from midspan.studies.paper import forecast as forecasts
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.forecast import forecast
from midspan.studies.paper.run import run_paper
from midspan.studies.probes.config import ProbeSpec

SMALL = {"length": 16, "steps": 4, "block_length": 16}


@pytest.fixture
def rates(monkeypatch):
    """A response takes half of its steps, a row an hour's thousandth."""
    monkeypatch.setattr(forecasts.Rate, "seconds", lambda self, decoding, rows: 3.6)
    monkeypatch.setattr(forecasts.Rate, "share", lambda self, decoding, prompts: 0.5)


@pytest.fixture(scope="module")
def server():
    with serving({"judge": lambda sent: (200, completion("no"))}) as running:
        yield running


@pytest.fixture
def requests_file(tmp_path):
    file = tmp_path / "requests.txt"
    file.write_text("make a red bowl\nmake a blue cup\n")
    return str(file)


def judged_probe(requests_file, judge, **fields):
    fields = {"start": None} | fields
    return ProbeSpec(
        probe="samples", models=(ORIGINAL,), harmful=requests_file, n=2, decoding=SMALL,
        judge=judge, fields=fields,
    )  # fmt: skip


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


def test_a_dry_run_asks_no_judge_and_the_study_asks_before_it_begins(
    foreign_folder, server, tmp_path, rates, requests_file, monkeypatch
):
    probes = {"samples": judged_probe(requests_file, f"harm={server.url}#unknown")}
    config = PaperConfig(base=str(foreign_folder), probes=probes)
    asked = len(server.bodies)
    (row,) = forecast(config, tmp_path / "run")
    assert row.responses and len(server.bodies) == asked
    monkeypatch.setattr("midspan.studies.paper.run._run_stage", lambda *rest: pytest.fail("begun"))
    with pytest.raises(MidspanError, match="no such model"):
        run_paper(config, tmp_path / "run")
    assert len(server.bodies) > asked
