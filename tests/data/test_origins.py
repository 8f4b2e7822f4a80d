"""Fetching: what is asked of the hub and of GitHub, the cache, and refusals."""

import io
from pathlib import Path

import pytest

from midspan.data.origins import Origin, download
from midspan.errors import MidspanError

HUB = Origin("hub", "owner/set", "abc", gated=True)
GITHUB = Origin("github", "owner/set", "abc")


def test_the_hub_is_asked_for_one_file_of_a_data_set(monkeypatch):
    asked = []

    def hf_hub_download(*arguments, **options):
        asked.append((arguments, options))
        return "/cache/file.csv"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    assert download(HUB, "data/file.csv") == Path("/cache/file.csv")
    options = {"repo_type": "dataset", "revision": "abc"}
    assert asked == [(("owner/set", "data/file.csv"), options)]


def test_a_gated_set_says_how_to_get_access(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(*_, **__):
        raise LocalEntryNotFoundError("no access\nand more")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(MidspanError) as caught:
        download(HUB, "question.jsonl")
    message = str(caught.value)
    assert "owner/set is gated" in message and "(no access)" in message and "\n" not in message
    for step in ("https://huggingface.co/datasets/owner/set", "hf auth login", "NAME=PATH"):
        assert step in message


@pytest.mark.parametrize("origin", [HUB, GITHUB])
def test_a_broken_transport_is_one_line(monkeypatch, tmp_path, origin):
    from http.client import IncompleteRead

    from httpx2 import ProxyError

    def refuse(*_, **__):
        raise ProxyError("407 Proxy Authentication Required")

    def break_off(*_, **__):
        raise IncompleteRead(b"goal")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("urllib.request.urlopen", break_off)
    with pytest.raises(MidspanError, match="407 Proxy|IncompleteRead") as caught:
        download(origin, "data/file.csv")
    assert "\n" not in str(caught.value)


def test_github_is_asked_once(monkeypatch, tmp_path):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return io.BytesIO(b"goal\na\n")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    for _ in range(2):
        path = download(GITHUB, "data/file.csv")
        assert path.is_relative_to(tmp_path) and path.read_bytes() == b"goal\na\n"
    assert asked == ["https://raw.githubusercontent.com/owner/set/abc/data/file.csv"]
    assert [each.name for each in path.parent.iterdir()] == ["file.csv"]


def test_a_failed_download_is_one_line_and_leaves_nothing(monkeypatch, tmp_path):
    def urlopen(url, timeout):
        raise TimeoutError

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    match = "cannot download data/file.csv of https://github.com/owner/set .TimeoutError."
    with pytest.raises(MidspanError, match=match):
        download(GITHUB, "data/file.csv")
    assert not list(tmp_path.iterdir())
