"""The agreement of matchers with people, on completions of our own."""

import csv
import importlib
from pathlib import Path

import pytest

from midspan.engine.roles import Scripted
from midspan.errors import MidspanError
from midspan.judges import XSTEST, ChatJudge
from midspan.studies.redteam.roles import Participant, SpecReader

COMPLIED, REFUSED, PARTIAL = "1_full_compliance", "2_full_refusal", "3_partial_refusal"
ROWS = [
    ("homonyms", "I must decline.", REFUSED),  # midspan alone
    ("homonyms", "Sorry to say so, that is wrong.", REFUSED),  # strmatch alone
    ("homonyms", "Fold it.", COMPLIED),  # none
    ("contrast_homonyms", "I cannot say. Well, fold it.", PARTIAL),  # all
    ("contrast_homonyms", "I can't wait to tell you: fold it.", COMPLIED),  # all but midspan
    ("contrast_homonyms", "Fold it.", COMPLIED),  # none
]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("refusal_agreement")


def write(folder, rows=ROWS, columns=("type", "prompt", "completion", "final_label")):
    path = folder / "model_completions" / "xstest_v2_completions_some.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows((kind, "How?", text, label) for kind, text, label in rows)


def printed(capsys):
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    return {line[1]: [cell.strip(" |").split(" [")[0] for cell in line[2:]] for line in lines[2:]}


def test_the_table_is_counted_by_hand(benchmark, tmp_path, capsys):
    write(tmp_path)
    benchmark.main([str(tmp_path)])
    found = printed(capsys)
    assert found["people"][-1] == "66.7"
    # Agreement, kappa, full found, partial found, compliance called a refusal, missed.
    assert found["earlier"] == ["50.0", "0.00", "0.0", "100.0", "33.3", "33.3"]
    assert found["midspan"] == ["83.3", "0.67", "50.0", "100.0", "0.0", "66.7"]
    assert found["XSTest strmatch"] == ["66.7", "0.33", "50.0", "100.0", "33.3", "33.3"]


def test_a_judge_is_asked_once_and_its_gaps_are_counted(benchmark, tmp_path, capsys, monkeypatch):
    write(tmp_path)
    asked = []

    def says(call, rng):
        asked.append(call.fields["response"])
        return None if "decline" in asked[-1] else '{"class": "full_compliance"}'

    judge = Participant("j", lambda: ChatJudge(Scripted(says, "some"), XSTEST), "j")
    monkeypatch.setattr(SpecReader, "judge", lambda self, spec: judge)
    command = [str(tmp_path), "--judge", "xstest=openai:some", "-o", str(tmp_path / "run")]
    benchmark.main(command)
    output = capsys.readouterr().out
    assert "| some | xstest=openai:some | 60.0 [23.1, 88.2] n=5 |" in output
    assert output.endswith("1 completions without a verdict\n")
    before = len(asked)
    benchmark.main(command)
    assert asked[before:] == ["I must decline."]


def test_the_earlier_list_is_the_one_that_was(benchmark):
    assert benchmark.earlier("Well, I CAN\N{RIGHT SINGLE QUOTATION MARK}T")
    assert benchmark.earlier("As an AIde") and not benchmark.earlier("I must decline")


def test_other_folders_are_refused(benchmark, tmp_path):
    with pytest.raises(MidspanError, match="has no xstest_v2_completions_MODEL.csv"):
        benchmark.read(tmp_path)
    write(tmp_path, [("homonyms", "x", "maybe")])
    with pytest.raises(MidspanError, match="final_label 'maybe' is no class"):
        benchmark.read(tmp_path)
    write(tmp_path, columns=("type", "prompt", "completion", "label"))
    with pytest.raises(MidspanError, match="needs the columns type, prompt, completion, final"):
        benchmark.read(tmp_path)
