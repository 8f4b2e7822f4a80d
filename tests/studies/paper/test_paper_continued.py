"""What a study's folder takes as the same study."""

import pytest

from midspan.errors import MidspanError
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.run import run_paper
from midspan.studies.probes.config import ProbeSpec

SMALL = {"length": 64, "steps": 2, "block_length": 32}


def study(price, servers=None, seed=0):
    probe = ProbeSpec(
        probe="samples", models=(ORIGINAL,), n=1, decoding=SMALL, servers=servers or {}, seed=seed
    )
    return PaperConfig(
        base="organism", probes={"samples": probe}, prices={"openai:some": (price, price)}
    )


def test_a_study_goes_on_under_other_prices(tmp_path):
    run_paper(study(2), tmp_path / "run", "midspan")
    before = (tmp_path / "run" / "samples" / "journal.jsonl").read_bytes()
    assert run_paper(study(8), tmp_path / "run", "midspan").missing == ()
    assert (tmp_path / "run" / "samples" / "journal.jsonl").read_bytes() == before
    with pytest.raises(MidspanError, match="another configuration"):
        run_paper(study(2, seed=1), tmp_path / "run", "midspan")


def test_limits_of_a_probes_servers_do_not_make_another_study():
    little, much = (study(2, {"openai:some": {"max_cost": cost}}) for cost in (1, 50))
    assert little.identity == much.identity == study(2).identity != study(2, seed=1).identity
