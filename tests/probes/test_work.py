"""What probes say that they cost, against what is then generated."""

from dataclasses import replace

import pytest

from midspan.probes import activations, control, gcg, order, prefill, window
from midspan.probes.activations import Activations, ActivationsConfig
from midspan.probes.asking import Work
from midspan.probes.control import ControlConfig
from midspan.probes.gcg import GCGProbeConfig
from midspan.probes.order import OrderConfig
from midspan.probes.prefill import PrefillConfig
from midspan.probes.window import WindowConfig
from midspan.scoring.gcg_step import GCGConfig

LENGTHS = (32, 32)


@pytest.fixture
def twice(material):
    """The material with one request asked twice."""
    return replace(material, asks=(*material.asks, replace(material.asks[0], id="again")))


def journalled(bench, field):
    return sum(field in bench.journal[key] for key in bench.journal)


@pytest.mark.parametrize(
    ("module", "measure", "config"),
    [
        (prefill, prefill.prefill, PrefillConfig(positions=(0, 8, 24, 26, 160))),
        (prefill, prefill.prefill, PrefillConfig(positions=(0, 28), kinds=("random",))),
        (window, window.window, WindowConfig(stride=5)),
        (control, control.control, ControlConfig(words=(1, 5))),
        (order, order.order, OrderConfig(shuffles=1)),
    ],
)
def test_as_many_responses_as_foreseen(bench, twice, module, measure, config):
    measure(bench, twice, config)
    assert module.work(twice, config, LENGTHS) == Work(journalled(bench, "trace"))


def test_as_many_activations_as_foreseen(bench, twice, monkeypatch):
    rows = []
    read = activations.read_states

    def counted(bench, requests, *rest):
        rows.append(len(requests))
        return read(bench, requests, *rest)

    monkeypatch.setattr(activations, "read_states", counted)
    config = ActivationsConfig(positions=(0,), progress=(0.0, 0.5), num_folds=2, shuffles=1)
    Activations()(bench, twice, config)
    expected = Work(journalled(bench, "trace"), sum(rows))
    assert activations.work(twice, config, LENGTHS) == expected


@pytest.mark.parametrize(("width", "canvases"), [(1, 0), (1, 2), (6, 0)])
def test_searches_cost_what_is_foreseen_and_no_more(bench, twice, width, canvases):
    search = GCGConfig(steps=2, search_width=width, top_k=8, initial="the sea", canvases=canvases)
    config = GCGProbeConfig(starts=(0, 20), search=search)
    records = gcg.gcg(bench, twice, config)
    searches = {
        (row["prompt"], row["phrase"], row["start"]): row["search_forwards"]
        for row in records
        if row["kind"] != gcg.NO_SUFFIX
    }
    work = gcg.work(twice, config, LENGTHS)
    steps = journalled(bench, "suffix_ids")
    assert (steps, work.gradients) == (2 * len(searches), steps * max(canvases, 1))
    assert journalled(bench, "trace") <= work.generations
    assert work.generations == 2 * (len(searches) + 4)
    if width == 1:
        assert sum(searches.values()) == work.forwards
    else:
        assert sum(searches.values()) <= work.forwards == len(searches) * (1 + 2 * (1 + width))
