"""Two runs side by side, and reports written anew, from folders made by hand."""

import json
import sys

import pytest

from midspan.bounds import Span
from midspan.cli import main
from midspan.errors import MidspanError
from midspan.runs.compare import Trial, _change, change_table, compare_runs
from midspan.runs.folder import FinishedRun, RunFolder
from midspan.runs.kinds import KINDS, kind_of
from midspan.statistics import holm, newcombe, paired_difference, wilson


def row(place, success, **changes):
    made = {
        "model": "m", "decoding": "one block", "request_kind": "plain", "id": str(place),
        "prompt": f"request {place}", "phrase_kind": "no phrase", "phrase": None,
        "success": success,
        "settings": {"steps": 8},
    }  # fmt: skip
    return made | changes


def folder(path, rows, kind="probe", **config):
    fields = {"probe": "prefill", "judged_by": "keywords"} | config
    with RunFolder(path, fields, "midspan probe prefill", kind).journal:
        pass
    (path / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return FinishedRun.open(path)


def test_shared_requests_are_compared_in_pairs(tmp_path):
    first = folder(tmp_path / "a", [row(i, False) for i in range(12)])
    second = folder(tmp_path / "b", [row(i, i < 9) for i in range(12)])
    (change,) = compare_runs(first, second)
    assert (change.pairs.least.more, change.pairs.least.fewer) == (9, 0)
    assert change.p == pytest.approx(2 / 2**9)
    assert change_table([change]).rows[0][-1] == "higher"
    (same,) = compare_runs(first, first)
    assert change_table([same]).rows == ()
    assert change_table([same], everything=True).rows[0][-1] == "no change shown"


def test_other_requests_get_an_interval(tmp_path):
    first = folder(tmp_path / "a", [row(i, True) for i in range(20)])
    second = folder(tmp_path / "b", [row(i, False, prompt=f"other {i}") for i in range(20)])
    (change,) = compare_runs(first, second)
    assert change.pairs is None and (change.first.n, change.second.n) == (20, 20)
    assert change_table([change]).rows[0][-1] == "lower"


def test_a_change_holds_whatever_missing_outcomes_are(tmp_path):
    first = folder(tmp_path / "a", [row(i, False) for i in range(12)])
    partly = [row(i, True if i < 9 else None) for i in range(12)]
    (change,) = compare_runs(first, folder(tmp_path / "b", partly))
    assert (change.first.least.n, change.second.unknown) == (12, 3)
    assert change.p == pytest.approx(2 / 2**9)  # the least that the known ones leave
    (line,) = change_table([change]).rows
    assert line[3].note.endswith("n=12") and line[4].note.endswith("n=12, 3 without outcome")
    assert line[5:] == ("+75.0 to +100.0", "+9..12 -0, p=0.0039, adjusted 0.0039", "higher")
    # Nothing is known to have changed where the missing ones may be the difference.
    doubtful = [row(i, None if i < 9 else False) for i in range(12)]
    (change,) = compare_runs(first, folder(tmp_path / "c", doubtful))
    assert change.p == 1.0
    (line,) = change_table([change], everything=True).rows
    assert line[5:] == ("+0.0 to +75.0", "+0..9 -0, p=1, adjusted 1", "no change shown")
    (change,) = compare_runs(first, folder(tmp_path / "d", [row(i, None) for i in range(12)]))
    assert change.refusal == "no outcome"


def test_missing_outcomes_of_other_requests_widen_the_interval(tmp_path):
    first = folder(tmp_path / "a", [row(i, True) for i in range(20)])
    others = [row(i, None if i < 15 else False, prompt=f"other {i}") for i in range(20)]
    (line,) = change_table(
        compare_runs(first, folder(tmp_path / "b", others)), everything=True
    ).rows
    low = newcombe(wilson(0, 20).interval, wilson(20, 20).interval).low
    high = newcombe(wilson(15, 20).interval, wilson(20, 20).interval).high
    assert line[5] == "-100.0 to -25.0"
    assert line[6] == f"[{100 * low:+.1f}, {100 * high:+.1f}], other requests"
    assert line[7] == "lower"


def scored(value, unit, prompt="p"):
    return Trial(("m", "tap", "mean score by j"), unit, prompt, None, {}, Span(value, value))


def test_mean_scores_are_compared_by_their_interval():
    before = [scored(0.25, f"u{i}") for i in range(30)]
    after = [scored(0.25 + 0.5 * (i % 3 == 0), f"u{i}") for i in range(30)]
    change = _change(("m", "tap", "mean score by j"), before, after)
    gap = paired_difference([t.score.least for t in after], [t.score.least for t in before])
    (line,) = change_table([change]).rows
    assert (line[3].text, line[4].text) == ("0.250", "0.417")
    assert line[5:] == ("+16.7", f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]", "higher")
    assert "0 of them tested" in change_table([change]).caption


def test_other_decoding_settings_are_not_compared(tmp_path):
    first = folder(tmp_path / "a", [row(0, True)])
    second = folder(tmp_path / "b", [row(0, False, settings={"steps": 16})])
    (line,) = change_table(compare_runs(first, second)).rows
    assert line[-1] == "not compared: settings.decoding.steps: 8 there, 16 now"


def test_single_models_of_different_names_are_compared(tmp_path):
    first = folder(tmp_path / "a", [row(0, True)])
    second = folder(tmp_path / "b", [row(0, True, model="n")])
    assert compare_runs(first, second)[0].place[0] == "m -> n"


def test_models_are_called_by_their_labels(tmp_path):
    config = {
        "models": ["m", "n"],
        "proxies": ["n"],
        "paper_models": {"m": "MOSA"},
        "helpers": ["m"],
    }
    folder(tmp_path, [row(0, True), row(1, True, model="n")], **config)
    run = FinishedRun.open(tmp_path, {"m": "Ours"})
    assert [found["model"] for found in run.rows("records.jsonl")] == ["Ours", "n"]
    said = run.info["config"]
    assert (said["models"], said["proxies"], said["paper_models"]) == (
        ["Ours", "n"], ["n"], {"Ours": "MOSA"},
    )  # fmt: skip
    assert said["helpers"] == ["m"] and run.specs == ("m", "n")
    assert FinishedRun.open(tmp_path).info["config"]["models"] == ["m", "n"]


def test_what_cannot_be_compared_is_said(tmp_path):
    first = folder(tmp_path / "a", [row(0, True)])
    with pytest.raises(MidspanError, match="judged_by is keywords there, exact here"):
        compare_runs(first, folder(tmp_path / "b", [row(0, True)], judged_by="exact"))
    with pytest.raises(MidspanError, match="share no cell"):
        compare_runs(first, folder(tmp_path / "c", [row(0, True, request_kind="benign")]))
    with pytest.raises(MidspanError, match="hold no .success."):
        compare_runs(first, folder(tmp_path / "d", [
            {key: value for key, value in row(0, True).items() if key != "success"}
        ]))  # fmt: skip
    with pytest.raises(MidspanError, match="is no run folder"):
        FinishedRun.open(tmp_path / "nothing")
    with pytest.raises(MidspanError, match="only these kinds"):
        kind_of(folder(tmp_path / "e", [], kind="unknown"))


def test_every_kind_names_functions_that_exist(tmp_path):
    for kind in KINDS:
        run = FinishedRun(tmp_path, {"kind": kind})
        assert callable(kind_of(run).report) and callable(kind_of(run).trials)


def test_the_command_prints_and_writes_markdown(tmp_path, monkeypatch, capsys):
    for name, success in (("a", False), ("b", True)):
        folder(tmp_path / name, [row(i, success) for i in range(8)])
    page = tmp_path / "changes.md"
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--markdown", str(page)]
    monkeypatch.setattr(sys, "argv", ["midspan", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert "higher" in capsys.readouterr().out
    assert "| m | one block | plain, no phrase |" in page.read_text()


def test_a_folder_of_an_earlier_midspan_learns_its_kind(tmp_path):
    first = {"kind": "", "config": {}, "command": "first"}
    (tmp_path / "run.json").write_text(json.dumps(first))
    with RunFolder(tmp_path, {}, "second", "red-team", "2 requests").journal:
        pass
    said = json.loads((tmp_path / "run.json").read_text())
    assert [said[name] for name in ("kind", "dataset", "command")] == [
        "red-team", "2 requests", "first",
    ]  # fmt: skip


def test_changed_hypotheses_are_another_configuration(tmp_path):
    def config(limit):
        return {"hypotheses": [{"number": "asr", "rule": {"limit": limit}}]}

    with RunFolder(tmp_path, config(0.1), "c").journal as journal:
        journal.append({"a": 1})
    with pytest.raises(MidspanError, match=r"config\.hypotheses\.0\.rule\.limit: 0\.1 there, 0\.2"):
        RunFolder(tmp_path, config(0.2), "c")


def test_statistics_of_comparisons():
    # Newcombe 1998, table II, method 10: 56/70 minus 48/80.
    gap = newcombe(wilson(56, 70).interval, wilson(48, 80).interval)
    assert (gap.low, gap.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_losses_interval_and_correction_by_hand():
    def trials(outcomes, prompt, cell="c"):
        return [Trial(("m", "s", cell), f"{i}", prompt, one, {}) for i, one in enumerate(outcomes)]

    changes = [
        _change(("m", "s", f"c{i}"), trials([True] * 7, "p"), trials([False] * 6 + [None], "p"))
        for i in range(2)
    ]
    lines = change_table(changes, everything=True).rows
    # 2 / 2^6 = 0.031 alone, twice as much of two tests.
    assert lines[0][6:] == ("+0 -6..7, p=0.031, adjusted 0.062", "no change shown")
    apart = _change(("m", "s", "c"), trials([True, None], "p"), trials([None, False], "q"))
    (line,) = change_table([apart], everything=True).rows
    assert line[5] == "-100.0 to +0.0"
