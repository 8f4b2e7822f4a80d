"""The second organism's verification: several processes, and which rows have a verdict."""

import pytest
from typer.testing import CliRunner

from midspan import load
from midspan.commands.organism import app
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.loop import write_model
from midspan.organism.second.training import TrainConfig, build_model
from midspan.statistics import wilson
from midspan.studies.hypotheses import FEWEST_CASES
from midspan.studies.organism.second import verify as module
from midspan.studies.organism.second.verify import Figure, decode_together, verify

TINY = TrainConfig(hidden_size=32, layers=2, heads=4, mlp_size=32)


def test_processes_side_by_side_write_the_records_of_one(tmp_path):
    model = tmp_path / "model"
    encoder = Encoder()
    write_model(build_model(TINY, encoder), encoder, model)
    decode_together(str(model), tmp_path / "two", 1, 3, 2)
    journals = sorted(file.name for file in (tmp_path / "two").glob("journal*"))
    assert journals == ["journal.0.jsonl", "journal.1.jsonl"]
    for name in ("one", "two"):
        verify(load(model), tmp_path / name, 1, 3)
    records = [(tmp_path / name / "records.jsonl").read_text() for name in ("one", "two")]
    assert records[0] == records[1]
    assert len(records[0].splitlines()) == 66


def figure(right, n, low=0.9):
    return Figure("one block", "sums", wilson(right, n).interval, low)


@pytest.mark.parametrize(
    ("row", "mark", "missed"),
    [
        (figure(FEWEST_CASES, FEWEST_CASES), "ok", False),
        (figure(0, FEWEST_CASES), "MISS", True),
        (figure(FEWEST_CASES - 1, FEWEST_CASES - 1), "no verdict", False),
        (figure(0, FEWEST_CASES - 1), "no verdict", False),
        (figure(0, 1, low=0.0), "", False),
        (figure(0, FEWEST_CASES, low=0.0), "", False),
    ],
)
def test_too_few_cases_neither_meet_nor_miss_a_target(row, mark, missed, monkeypatch, tmp_path):
    assert (row.mark, row.missed) == (mark, missed)
    monkeypatch.setattr(module, "verify", lambda *given: [figure(9, 9), row])
    monkeypatch.setattr("midspan.commands.options.load_model", lambda name: name)
    shown = CliRunner().invoke(app, ["verify", "--second", "-n", "1", "-o", str(tmp_path)])
    assert shown.exit_code == missed, shown.output
    assert f"{mark:10} one block     sums" in shown.output
