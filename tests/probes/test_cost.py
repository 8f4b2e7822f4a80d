"""What probes say that they cost, against what is then generated."""

from dataclasses import replace

import pytest

from midspan.probes import activations, gcg, instruction_placement, order, prefill, window
from midspan.probes.activations import Activations, ActivationsConfig
from midspan.probes.context import ProbeCost
from midspan.probes.gcg import GCGProbeConfig
from midspan.probes.instruction_placement import InstructionPlacementConfig
from midspan.probes.order import OrderConfig
from midspan.probes.prefill import PrefillConfig
from midspan.probes.window import WindowConfig
from midspan.scoring.gcg_step import GCGConfig

LENGTHS = (32, 32)


@pytest.fixture
def twice(data):
    """The data with one request asked twice."""
    return replace(data, requests=(*data.requests, replace(data.requests[0], id="again")))


def journalled(context, field):
    return sum(field in context.journal[key] for key in context.journal)


@pytest.mark.parametrize(
    ("module", "measure", "config"),
    [
        (prefill, prefill.prefill, PrefillConfig(positions=(0, 8, 24, 26, 160))),
        (prefill, prefill.prefill, PrefillConfig(positions=(0, 28), phrase_kinds=("random",))),
        (window, window.window, WindowConfig(stride=5)),
        (
            instruction_placement,
            instruction_placement.instruction_placement,
            InstructionPlacementConfig(words=(1, 5)),
        ),
        (order, order.order, OrderConfig(shuffles=1)),
    ],
)
def test_as_many_responses_as_foreseen(context, twice, module, measure, config):
    measure(context, twice, config)
    expected = ProbeCost(journalled(context, "trace"), whole=module is order)
    assert module.cost(twice, config, LENGTHS) == expected


def test_as_many_activations_as_foreseen(context, twice, monkeypatch):
    rows = []
    read = activations.read_states

    def counted(context, requests, *rest):
        rows.append(len(requests))
        return read(context, requests, *rest)

    monkeypatch.setattr(activations, "read_states", counted)
    config = ActivationsConfig(positions=(0,), progress=(0.0, 0.5), num_folds=2, shuffles=1)
    Activations()(context, twice, config)
    expected = ProbeCost(journalled(context, "trace"), sum(rows))
    assert activations.cost(twice, config, LENGTHS) == expected


@pytest.mark.parametrize(("width", "canvases"), [(1, 0), (1, 2), (6, 0)])
def test_searches_cost_what_is_foreseen_and_no_more(context, twice, width, canvases):
    search = GCGConfig(steps=2, search_width=width, top_k=8, initial="the sea", canvases=canvases)
    config = GCGProbeConfig(starts=(0, 20), search=search)
    records = gcg.gcg(context, twice, config)
    searches = {
        (row["prompt"], row["phrase"], row["start"]): row["search_forwards"]
        for row in records
        if row["phrase_kind"] != gcg.NO_SUFFIX
    }
    cost = gcg.cost(twice, config, LENGTHS)
    steps = journalled(context, "suffix_ids")
    assert (steps, cost.gradients) == (2 * len(searches), steps * max(canvases, 1))
    assert journalled(context, "trace") <= cost.generations
    assert cost.generations == 2 * (len(searches) + 4)
    if width == 1:
        assert sum(searches.values()) == cost.forwards
    else:
        assert sum(searches.values()) <= cost.forwards == len(searches) * (1 + 2 * (1 + width))
