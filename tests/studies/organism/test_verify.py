"""The organism's verification leaves a run folder that can be read again."""

from midspan.runs.compare import compare_runs
from midspan.runs.folder import FinishedRun
from midspan.studies.hypotheses import FEWEST_CASES
from midspan.studies.organism.verify.config import VerifyConfig
from midspan.studies.organism.verify.page import report_of
from midspan.studies.organism.verify.run import verify


def test_a_verification_has_a_page_and_is_compared(organism_lm, tmp_path):
    rows = verify(organism_lm, tmp_path, VerifyConfig(n=1, wraps=1), "midspan organism verify")
    assert (tmp_path / "report.html").is_file()
    run = FinishedRun.open(tmp_path)
    (table,) = report_of(run).sections[0].tables
    shown = [cell for line in table.rows for cell in line[2:]]
    assert sorted(cell.text for cell in shown) == sorted(row.estimate.percent for row in rows)
    enough = [row for row in rows if row.estimate.n >= FEWEST_CASES]
    assert 0 < len(enough) < len(rows), "fewer cases pass no verdict, in color neither"
    assert sum(cell.tone != "plain" for cell in shown) == len(enough)
    assert sum(cell.tone == "good" for cell in shown) == sum(row.met for row in enough)
    changes = compare_runs(run, run)
    assert {change.place[0] for change in changes} == {"original"}
    assert all(change.pairs for change in changes)
