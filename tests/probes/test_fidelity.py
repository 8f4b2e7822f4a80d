import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.cli import main
from midspan.decoding import Request, decoding_config
from midspan.decoding import decode as honest
from midspan.errors import MidspanError
from midspan.judges import refuses
from midspan.models.family import family_for
from midspan.probes.fidelity import (
    DecodingComparison,
    default_acceleration,
    fidelity,
    token_agreement,
)

STOP = frozenset({0, 1})


@pytest.mark.parametrize(
    ("one", "two", "agreement"),
    [
        ((5, 6, 7), (5, 6, 7), 1.0),
        ((5, 6, 0, 9), (5, 6, 0, 8), 1.0),
        ((5, 6, 0, 9), (5, 0, 7, 8), 1 / 3),
        ((5, 0, 9, 9), (6, 1, 9, 9), 0.0),
        ((5, 6, 7, 8), (5, 6, 7, 0), 0.75),
    ],
)
def test_agreement_counts_up_to_the_later_end(one, two, agreement):
    assert token_agreement(one, two, STOP) == pytest.approx(agreement)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.randoms())
def test_agreement_is_symmetric_and_one_only_for_the_same_response(tokens, rng):
    other = [rng.randint(0, 4) for _ in tokens]
    value = token_agreement(tokens, other, STOP)
    assert value == token_agreement(other, tokens, STOP)
    end = next((i + 1 for i, t in enumerate(tokens) if t in STOP), len(tokens))
    assert (value == 1) == (tokens[:end] == other[:end])


def test_keywords_of_refusal_are_found():
    assert refuses("Well, I can\N{RIGHT SINGLE QUOTATION MARK}t do that.")
    assert not refuses("Sure! Here is how.")


def compare(lm, judge=lambda _, text: text, fail_fast=False, **fast):
    shared = {"length": 16, "block_length": 8, "steps": 16}
    requests = [Request(tuple(lm.encode_chat(text))) for text in ("hello .", "is the sky blue ?")]
    exact, faster = decoding_config(**shared), decoding_config(**shared, **fast)
    comparison = DecodingComparison(requests, exact, faster, judge, "own", fail_fast=fail_fast)
    return fidelity(lm, comparison)


def test_an_error_of_the_judge_costs_its_request_alone(organism_lm):
    def judge(index, text):
        if index in broken:
            raise ZeroDivisionError("nothing\nat all")
        return text

    broken = {1}
    found = compare(organism_lm, judge)
    assert (found.verdicts.successes, found.verdicts.n, found.identical.n) == (1, 1, 2)
    (line,) = found.problems
    assert line.startswith(
        "1 requests met an error in the judge's code (ZeroDivisionError: nothing"
    )
    assert compare(organism_lm).problems == []
    with pytest.raises(ZeroDivisionError):
        compare(organism_lm, judge, fail_fast=True)
    broken = {0, 1}
    with pytest.raises(MidspanError, match="own: not one response could be judged: ZeroDivision"):
        compare(organism_lm, judge)


def test_an_exact_mode_agrees_with_itself(organism_lm):
    found = compare(organism_lm, cache="dual", refresh_every=1)
    assert (found.tokens.mean, found.identical.successes, found.verdicts.successes) == (1, 2, 2)
    assert found.fast_forwards == found.exact_forwards
    assert found.approximations == ()


def test_a_reckless_mode_is_told_apart(organism_lm):
    found = compare(organism_lm, threshold=0.001)
    assert found.fast_forwards.mean == 2 < found.exact_forwards.mean
    assert found.tokens.mean < 1
    assert found.verdicts == found.identical
    assert found.approximations


def test_what_is_done_once_is_no_part_of_the_speed_up(organism_lm, monkeypatch):
    clock, met = [0.0], set()

    def decode(lm, requests, config, **options):
        """Two seconds a request, and an hour more for the first work under a config."""
        clock[0] += 2 * len(requests) + (0 if config in met else 3600)
        met.add(config)
        return honest(lm, requests, config, **options)

    monkeypatch.setattr("midspan.decoding.decode", decode)
    watch = SimpleNamespace(perf_counter=lambda: clock[0])
    monkeypatch.setattr("midspan.probes.fidelity.time", watch)
    assert compare(organism_lm, threshold=0.5).speedup == 1
    # The same settings on both sides have nothing left to do once.
    met.clear()
    assert compare(organism_lm).speedup == 1


def test_the_command_writes_figures_and_settings(organism_folder, tmp_path, monkeypatch, capsys):
    prompts, output = tmp_path / "set.txt", tmp_path / "fidelity.json"
    prompts.write_text("hello .\nis the sky blue ?\n")
    settings = tmp_path / "settings.yaml"
    settings.write_text("length: 16\nblock_length: 8\nsteps: 16\n")
    arguments = ["probe", "fidelity", str(organism_folder), "--behaviors", str(prompts)]
    arguments += ["--config", str(settings), "--threshold", "0.5", "--json", str(output)]
    monkeypatch.setattr(sys, "argv", ["midspan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "same verdict (refusal keywords)" in capsys.readouterr().out
    written = json.loads(output.read_text())
    assert written["n"] == written["verdicts"]["n"] == 2
    assert written["accelerated_settings"]["threshold"] == 0.5
    assert written["exact_settings"]["threshold"] is None


@pytest.mark.parametrize(("family", "sampler", "fields"), [
    ("llada", "llada", {"cache": "dual", "threshold": 0.9}), ("sdar", "block", {"cache": "prefix"}),
    ("modernbert", "llada", {"threshold": 0.9}),
])  # fmt: skip
def test_what_is_measured_by_default_fits_the_family(family, sampler, fields):
    lm = SimpleNamespace(family=family_for(family), block_length=4)
    exact = decoding_config(lm, cache="none")
    assert exact.sampler == sampler
    assert default_acceleration(lm, exact) == fields
    decoding_config(lm, **fields)


@pytest.mark.parametrize(("family", "message"), [
    ("Dream", "'dream' has no accelerated mode; put sampler: llada"),
    ("diffusion_gemma", "family diffusion_gemma has no accelerated mode"),
])  # fmt: skip
def test_a_sampler_without_accelerated_mode_is_named(family, message):
    lm = SimpleNamespace(family=family_for(family))
    with pytest.raises(MidspanError, match=message):
        default_acceleration(lm, decoding_config(lm))


def test_another_model_needs_a_behavior_set(foreign_folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["midspan", "probe", "fidelity", str(foreign_folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--behaviors" in capsys.readouterr().err
