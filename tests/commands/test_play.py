"""`midspan play`: the organism and the browser, or the address alone."""

import webbrowser
from queue import Queue

import pytest
from typer.testing import CliRunner

from midspan.commands import app, play

URL = "http://127.0.0.1:8123"


@pytest.fixture
def started(monkeypatch):
    """What would be served, instead of a server that serves it."""
    served = []

    def start(models, server, device, started):
        served.append((models, server))
        started(URL)

    monkeypatch.setattr(play, "start", start)
    return served


@pytest.fixture
def shown(monkeypatch):
    pages = Queue()
    monkeypatch.setattr(webbrowser, "open", pages.put)
    return pages


def test_it_serves_the_organism_and_opens_the_page(started, shown):
    done = CliRunner().invoke(app, ["play"])
    assert shown.get(timeout=10) == f"{URL}/"
    assert started == [(["organism", "organism:psa"], {"port": 0})]
    assert f"playground on {URL}/ (Ctrl-C ends it)" in done.output


def test_other_models_and_no_browser(started, shown):
    done = CliRunner().invoke(app, ["play", "organism:initial", "--no-browser"])
    assert done.exit_code == 0 and started[0][0] == ["organism:initial"]
    assert f"{URL}/" in done.output and shown.empty()
