"""`midspan doctor --deep` of a served model: what it gives, what it lacks, and one answer."""

from engines import FakeMidspan, FakeVllm, serving
from typer.testing import CliRunner

from midspan.commands import app
from midspan.doctor import examine


def found(spec, **fields):
    return {one.name: (one.status, one.detail) for one in examine(spec, **fields)}


def test_what_a_vllm_gives_and_lacks(gemma):
    with serving(FakeVllm(gemma[1])) as server:
        findings = found(f"vllm:{server.root}#gemma", tokenizer=str(gemma[0]))
    assert findings["server"] == ("ok", "gives chat, prefix, anchors, log-probs, draws")
    assert findings["what it lacks"] == ("note", "rules, seed, temperature, adapters")
    status, said = findings["a begun answer"]
    first = findings["an answer"][1].split()[-1]
    assert status == "ok" and said.startswith(first)


def test_a_missing_tokenizer_and_a_missing_server_are_faults(gemma, tmp_path):
    with serving(FakeVllm(gemma[1])) as server:
        spec = f"vllm:{server.root}#gemma"
        findings = found(spec, tokenizer=str(tmp_path / "none"))
    assert findings["tokenizer"][0] == "fault" and "there is no folder" in findings["tokenizer"][1]
    assert findings["an answer"][0] == "ok"
    (only,) = examine(spec)
    assert only.status == "fault" and "no connection" in only.detail


def test_the_command_prints_them():
    with serving(FakeMidspan()) as server:
        done = CliRunner().invoke(app, ["doctor", "--deep", f"midspan:{server.root}#organism"])
    assert "gives chat, prefix, anchors, rules" in done.output, done.output
    assert done.exit_code == 0 and "0 faults" in done.output
