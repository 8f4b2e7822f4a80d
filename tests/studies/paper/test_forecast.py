"""What parts of a study are said to take, with servers beside them and without."""

import pytest
from odd_server import completion, serving

from midspan.decoding import decoding_config
from midspan.errors import MidspanError
from midspan.models import load
from midspan.studies.audit.forecast import forecast as forecast_audit
from midspan.studies.audit.prepare import prepare as prepare_audit
from midspan.studies.audit.presets import smoke as small_audit
from midspan.studies.paper import forecast as forecasts
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.forecast import forecast
from midspan.studies.paper.other_forecasts import of_redteam
from midspan.studies.paper.part_forecasts import costs_of, forecast_attacks
from midspan.studies.paper.rates import Rate, Units
from midspan.studies.paper.run import run_paper
from midspan.studies.probes.config import ProbeSpec
from midspan.studies.redteam.config import AttackSpec, RedteamConfig
from midspan.studies.redteam.prepare import prepare
from midspan.studies.tasks.config import TaskConfig

SMALL = {"length": 16, "steps": 4, "block_length": 16}


@pytest.fixture
def rates(monkeypatch):
    """A response takes half of its steps, a row an hour's thousandth."""
    monkeypatch.setattr(Rate, "seconds", lambda self, decoding, rows: 3.6)
    monkeypatch.setattr(Rate, "share", lambda self, decoding, prompts: 0.5)


@pytest.fixture(scope="module")
def server():
    with serving({"judge": lambda sent: (200, completion("no"))}) as running:
        yield running


@pytest.fixture
def requests_file(tmp_path):
    file = tmp_path / "requests.txt"
    file.write_text("make a red bowl\nmake a blue cup\n")
    return str(file)


def judged_probe(requests_file, judge, **more):
    return ProbeSpec(
        probe="samples", models=(ORIGINAL,), harmful=requests_file, n=2, decoding=SMALL,
        judge=judge, fields={"start": None}, **more,
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


DOLLAR = (1000.0, 0.0)  # For each call of 1000 tokens.


def test_a_probe_s_judge_behind_a_server_is_counted_and_paid(
    foreign_folder, server, tmp_path, rates, requests_file
):
    (tmp_path / "benign.txt").write_text("make a red hat\n")
    judge = f"{server.url}#judge"
    probe = judged_probe(requests_file, f"harm={judge}", benign=str(tmp_path / "benign.txt"))
    config = PaperConfig(
        base=str(foreign_folder), probes={"samples": probe}, prices={judge: DOLLAR}
    )
    (row,) = forecast(config, tmp_path / "run")
    # Keywords judge the answer to the benign request.
    assert (row.responses, row.calls, row.dollars) == (3, 2, 2.0)
    (row,) = forecast(config.model_copy(update={"prices": {}}), tmp_path / "run")
    assert row.calls == 2 and row.dollars is None


def test_so_is_the_judge_of_a_task(foreign_folder, server, tmp_path):
    rows = ["prompt,type,label", "make a red bowl,homonyms,safe", "make a cup,homonyms,safe"]
    (tmp_path / "xstest.csv").write_text("\n".join(rows))
    judge, models = f"{server.url}#judge", (ORIGINAL,)
    task = TaskConfig(
        models=models, tasks=("overrefusal",), judge=f"xstest={judge}", decoding=SMALL,
        data={"xstest": str(tmp_path / "xstest.csv")},
    )  # fmt: skip
    config = PaperConfig(base=str(foreign_folder), tasks={"task": task}, prices={judge: DOLLAR})
    (row,) = forecast(config, tmp_path / "run")
    assert (row.responses, row.calls, row.dollars) == (2, 2, 2.0)


def served_targets(server, requests_file, judge, **fields):
    return RedteamConfig(
        models=(f"{server.url}#a", f"{server.url}#b"), attacks=(AttackSpec(attack="direct"),),
        behaviors=requests_file, judges=(f"harm={server.url}#{judge}",), **fields,
    )  # fmt: skip


@pytest.mark.parametrize(("judge", "paid"), [("judge", 2), ("a", 6)])
def test_each_served_target_is_asked_once_a_behavior(server, requests_file, judge, paid):
    prepared = prepare(served_targets(server, requests_file, judge))
    prices = {f"{server.url}#{name}": (0.0, 0.0) for name in ("b", "judge")}
    row = forecast_attacks("row", prepared, Units(None, prices | {f"{server.url}#a": DOLLAR}))
    # Two behaviors: two calls of each target, and a verdict on each of the four answers.
    assert (row.responses, row.calls, row.dollars) == (4, 8, paid)


def test_prices_of_servers_are_those_of_a_red_team_and_of_an_audit(
    organism_folder, server, requests_file, tmp_path
):
    prices = {f"{server.url}#{name}": {"input_price": 1000, "output_price": 0} for name in "ab"}
    config = served_targets(server, requests_file, "a", servers=prices)
    (row,) = of_redteam(config, tmp_path)
    assert (row.calls, row.dollars) == (8, 8.0)
    (row,) = of_redteam(config.model_copy(update={"servers": {}}), tmp_path)
    assert row.dollars is None
    audited = small_audit().model_copy(
        update={
            "model": f"{server.url}#a", "judges": (f"harm={server.url}#b",), "servers": prices,
            "behaviors": requests_file, "attacks": small_audit().attacks[:1], "over_refusal": None,
            "utility": None, "monitors": None,
        }
    )  # fmt: skip
    (row,) = forecast_audit(prepare_audit(audited))
    assert row.calls > 0 and row.dollars == pytest.approx(row.calls)


def test_helpers_and_judges_that_are_decoded_here_take_hours(
    foreign_folder, requests_file, tmp_path, rates
):
    here, attacks = str(foreign_folder), (AttackSpec(attack="pap"),)
    fields = {"models": (here,), "attacks": attacks, "behaviors": requests_file, "decoding": SMALL}
    judged = RedteamConfig(**fields, judges=(f"harm={here}",), helpers={"attacker": here})
    alone = judged.model_copy(update={"judges": ("refusal-keywords",), "helpers": {}})
    (cost,) = costs_of(prepare(judged))
    calls = cost.attempts + sum(needed.expected for needed in cost.helpers.values())
    assert calls > cost.attempts > 0
    (with_them,), (without,) = of_redteam(judged, tmp_path), of_redteam(alone, tmp_path)
    # Both answer in the model's own decoding, a thousandth of an hour for each of its steps.
    steps = decoding_config(load(here)).steps
    assert with_them.hours - without.hours == pytest.approx(2 * calls * steps / 1000)
    assert (with_them.calls, with_them.dollars) == (0, 0.0)


def test_a_pilot_that_would_ask_servers_is_left_out_and_said_to_be(
    foreign_folder, server, requests_file, tmp_path, rates, capsys, monkeypatch
):
    monkeypatch.setattr(forecasts, "run_pilot", lambda *rest: pytest.fail("asked"))
    part = served_targets(server, requests_file, "judge")
    part = part.model_copy(update={"models": (ORIGINAL,), "decoding": SMALL})
    config = PaperConfig(base=str(foreign_folder), attacks={"attacks": part})
    (row,) = forecast(config, tmp_path / "run", pilot=2)
    assert row.calls == 2
    said = f"attacks: no pilot, since it would ask {server.url}#judge; the most stands"
    assert said in capsys.readouterr().err
