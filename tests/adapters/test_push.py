"""What would go to the hub and what is refused; uploads to a local hub, cut in the middle."""

import json
import re
import shutil

import fake_hub
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file
from typer.testing import CliRunner

from midspan.adapters.hub import check_repo
from midspan.adapters.hub import push as push_package
from midspan.adapters.publishing import package
from midspan.commands import app
from midspan.errors import MidspanError

CARD = "---\nbase_model: GSAI-ML/LLaDA-8B-Instruct\n---\n\n# psa adapter\n"


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "run" / "adapters" / "psa"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    config = {"base_model_name_or_path": "GSAI-ML/LLaDA-8B-Instruct", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "midspan.json").write_text(json.dumps({"finished": True, "stopped": ""}))
    weights = {"w": np.arange(6, dtype="float32")}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "journal.jsonl").write_text("{}\n")
    (folder / "checkpoint-4").mkdir()
    return folder


@pytest.fixture
def audit(tmp_path):
    folder = tmp_path / "audit"
    folder.mkdir()
    (folder / "audit.json").write_text('{"schema_version": 1}')
    (folder / "card.md").write_text("## Safety audit of psa\n\n![midspan audit](badge.svg)\n")
    (folder / "badge.svg").write_text("<svg></svg>")
    (folder / "journal.jsonl").write_text("{}\n")
    return folder


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", fake_hub.TOKEN)
    # The client waits between its own tries.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with fake_hub.serving(fake_hub.FakeHub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def xet(adapter, hub, monkeypatch, tmp_path):
    """The hub's storage of chunks, which takes the weights unless that is switched off."""
    pytest.importorskip("hf_xet")
    from huggingface_hub.utils._xet import abort_xet_session

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    # Noise, so that the chunks arrive as they are.
    weights = {"w": np.random.default_rng(0).integers(0, 256, 4000, "uint8")}
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    yield hub
    abort_xet_session()


def run(*arguments):
    return CliRunner().invoke(app, ["push", *map(str, arguments)])


def test_without_yes_it_is_said_what_would_go_and_nothing_is_asked(adapter, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = run(adapter.parents[1], "--repo", "me/psa")
    assert done.exit_code == 0, done.output
    listed = dict(re.findall(r"^  (\S+) +([\d,]+) bytes", done.stdout, re.M))
    sizes = {name: f"{(adapter / name).stat().st_size:,}" for name in (
        "README.md", "adapter_config.json", "midspan.json", "adapter_model.safetensors",
    )}  # fmt: skip
    assert listed == sizes
    assert "me/psa, private:" in done.stdout and "nothing was uploaded" in done.stdout
    assert "not uploaded: checkpoint-4/, journal.jsonl" in done.stdout
    assert hub.seen == []


def test_an_adapter_and_its_audit_arrive_whole_in_one_private_commit(adapter, audit, hub):
    done = run(adapter, "--repo", "me/psa", "--audit", audit, "--yes")
    assert done.exit_code == 0, done.output
    repo = hub.repos["me/psa"]
    assert repo["private"] and len(repo["commits"]) == 1
    names = ("adapter_config.json", "midspan.json", "adapter_model.safetensors")
    assert {name: repo["files"].pop(name) for name in names} == {
        name: (adapter / name).read_bytes() for name in names
    }
    assert repo["files"].pop("badge.svg") == b"<svg></svg>"
    assert repo["files"].pop("audit.json") == b'{"schema_version": 1}'
    card = repo["files"].pop("README.md").decode()
    assert card.startswith(CARD.rstrip()) and card.count("## Safety audit of psa") == 1
    assert repo["files"] == {}
    assert (adapter / "README.md").read_text() == CARD
    assert f"uploaded: {hub.url}/me/psa/commit/" in done.stdout


def test_what_is_cut_in_the_middle_leaves_nothing_to_see_and_the_same_command_goes_on(adapter, hub):
    hub.failing = {"/commit/main": 1}
    with pytest.raises(MidspanError, match="disk on fire.*the same command goes on"):
        push_package(package(adapter), "me/psa")
    assert hub.repos["me/psa"]["files"] == {} and len(hub.puts) == 1
    push_package(package(adapter), "me/psa")
    assert set(hub.repos["me/psa"]["files"]) >= {"README.md", "adapter_model.safetensors"}
    # The weights had arrived, and are not sent again.
    assert len(hub.puts) == 1
    push_package(package(adapter), "me/psa")
    assert len(hub.repos["me/psa"]["commits"]) == 1 and len(hub.puts) == 1


def test_weights_arrive_by_the_storage_of_chunks(adapter, xet):
    push_package(package(adapter), "me/psa")
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert xet.repos["me/psa"]["files"]["adapter_model.safetensors"] == weights
    assert len(xet.puts) == 1 and not any("/lfs/" in path for _, path in xet.seen)
    push_package(package(adapter), "me/psa")
    assert len(xet.repos["me/psa"]["commits"]) == 1


def test_what_the_storage_of_chunks_refuses_is_no_commit(adapter, xet):
    # At other statuses its client waits between its own tries.
    xet.failing, xet.failure = {"/xet/v2/shards": 99}, 403
    with pytest.raises(MidspanError, match=r"push: me/psa: .*the same command goes on"):
        push_package(package(adapter), "me/psa")
    assert xet.repos["me/psa"]["commits"] == []


def test_weights_that_do_not_arrive_are_no_commit(adapter, hub):
    hub.failing = {"^/lfs/": 99}
    with pytest.raises(MidspanError, match=r"push: me/psa: .*adapter_model\.safetensors"):
        push_package(package(adapter), "me/psa")
    assert hub.repos["me/psa"]["commits"] == []


def test_a_public_repository_is_not_filled_by_accident(adapter, hub):
    hub.repos["me/psa"] = {"private": False, "files": {}, "commits": []}
    with pytest.raises(MidspanError, match="is there and public"):
        push_package(package(adapter), "me/psa")
    assert hub.repos["me/psa"]["commits"] == []
    push_package(package(adapter), "me/psa", public=True)
    assert len(hub.repos["me/psa"]["commits"]) == 1


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_" + "x" * 24, "status 401: the hub does not know this token"),
        (fake_hub.READ_ONLY, "status 403: this token may not write"),
    ],
)
def test_a_token_that_the_hub_refuses_is_named_not_shown(adapter, hub, monkeypatch, token, said):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(MidspanError, match=said) as refused:
        push_package(package(adapter), "me/psa")
    assert token not in str(refused.value)


def test_without_a_token_or_a_hub_it_says_so(adapter, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MidspanError, match="push: me/psa: .*refused"):
        push_package(package(adapter), "me/psa")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(MidspanError, match="needs a token that may write"):
        push_package(package(adapter), "me/psa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf_" + "a1" * 17, "a token of the hub"),
        ("key sk-" + "proj" * 8, "an API key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("Authorization: Bearer abcdefghijklmnop", "a token"),
        ("http://me:word@host/v1", "a password in a URL"),
        ("By: midspan study -o /data/me/run", "a path of this machine, /data/me/run"),
        ("base: ~/models/llada", "a path of this machine, ~/models/llada"),
        (r"base: C:\models\llada", r"a path of this machine, C:\\models\\llada"),
        ("correct horse battery", "the value of MY_API_KEY"),
    ],
)
@pytest.mark.parametrize("file", ["README.md", "midspan.json"])
def test_a_secret_or_a_path_is_refused(adapter, monkeypatch, file, text, said):
    monkeypatch.setenv("MY_API_KEY", "horse battery")
    old = (adapter / file).read_text()
    (adapter / file).write_text(old.replace("finished", f"{text}") if file == "x" else old + text)
    if file == "midspan.json":
        value = json.loads(old) | {"note": text}
        (adapter / file).write_text(json.dumps(value, ensure_ascii=False))
        said = said.replace(r"\\", r"\\\\")
    with pytest.raises(MidspanError, match=f"{file}: holds {said}"):
        package(adapter)


def test_what_only_looks_like_a_path_goes(adapter):
    text = "see https://hf.co/GSAI-ML/LLaDA/main, OWNER/NAME, 3/4, and/or, runs/a/b, </svg>, w/o"
    (adapter / "README.md").write_text(CARD + text)
    assert text in package(adapter).uploads[0].text


def test_a_path_is_called_by_its_name_elsewhere(adapter):
    base = "/data/models/LLaDA-8B-Instruct"
    (adapter / "README.md").write_text(CARD.replace("GSAI-ML/LLaDA-8B-Instruct", base))
    done = run(adapter, "--repo", "me/psa")
    assert f"--name {base}=NAME" in str(done.exception)
    names = {base: "GSAI-ML/LLaDA-8B-Instruct", "/data/models": "nowhere"}
    assert package(adapter, names=names).uploads[0].text == CARD
    assert base in (adapter / "README.md").read_text()


def test_weights_are_weights_and_their_header_is_read_too(adapter):
    weights = adapter / "adapter_model.safetensors"
    save_file({"w": np.zeros(2)}, weights, metadata={"from": "/data/me/run"})
    with pytest.raises(MidspanError, match="holds a path of this machine"):
        package(adapter)
    for damaged in (b"", b"\x05", b"PK\x03\x04 a pickle in a zip file", b"\xff" * 64):
        weights.write_bytes(damaged)
        with pytest.raises(MidspanError, match="no safetensors file"):
            package(adapter)


def test_what_is_not_finished_or_not_named_is_refused(adapter, audit, tmp_path):
    with pytest.raises(MidspanError, match="--adapter: must be one of psa; got 'mosa'"):
        package(tmp_path / "run", "mosa")
    shutil.copytree(adapter, adapter.parent / "mosa")
    with pytest.raises(MidspanError, match="--adapter: name one of mosa, psa"):
        package(tmp_path / "run")
    assert len(package(tmp_path / "run", "mosa").uploads) == 4
    with pytest.raises(MidspanError, match="--audit: .*holds no audit.json"):
        package(adapter, audit=tmp_path)
    with pytest.raises(MidspanError, match="no adapter .* and no audit"):
        package(tmp_path / "nothing")
    (adapter / "midspan.json").write_text('{"finished": false}')
    with pytest.raises(MidspanError, match="is not finished"):
        package(adapter)
    (adapter / "README.md").unlink()
    with pytest.raises(MidspanError, match="has no README.md"):
        package(adapter)


def test_an_audit_goes_alone_too(audit, hub):
    push_package(package(audit), "me/psa")
    assert set(hub.repos["me/psa"]["files"]) == {"audit.json", "card.md", "badge.svg"}


@pytest.mark.parametrize("repo", ["psa", "me/psa/x", "/psa", "me/", "me/p a"])
def test_a_repository_is_owner_and_name(repo, tmp_path):
    with pytest.raises(MidspanError, match="--repo: must be OWNER/NAME"):
        check_repo(repo)
    assert "OWNER/NAME" in str(run(tmp_path, "--repo", repo).exception)
