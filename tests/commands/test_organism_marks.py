"""What `midspan organism verify` prints before a figure, and how it ends."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from midspan.commands import app
from midspan.statistics import wilson
from midspan.studies.organism.verify.page import VerifiedFigure


@pytest.mark.parametrize(
    ("successes", "n", "mark", "status"),
    [(9, 9, "ok", 0), (0, 9, "MISS", 1), (0, 4, "no verdict", 0)],
)
def test_a_line_says_met_missed_or_too_few(monkeypatch, tmp_path, successes, n, mark, status):
    row = VerifiedFigure("one block", "arithmetic", wilson(successes, n), 0.9, 1.0)
    monkeypatch.setattr("midspan.commands.options.load_model", lambda spec: SimpleNamespace())
    monkeypatch.setattr("midspan.studies.organism.verify.run.verify", lambda *given: [row])
    ended = CliRunner().invoke(app, ["organism", "verify", "-o", str(tmp_path / "run")])
    assert ended.exit_code == status, ended.output
    assert f"{mark:10} one block" in ended.output
