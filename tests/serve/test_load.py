"""Clients that ask, stream, leave, dawdle and send nonsense at once: the load benchmark, small."""

import asyncio
import importlib
import sys
from pathlib import Path

import pytest
from served import ASK, chat, listening, wait_until

import midspan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux")
def test_no_answer_is_lost_doubled_or_mixed_up(organism_lm, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    load = importlib.import_module("serve_load")
    fields = {"temperature": 1.0, "max_tokens": 8, "midspan": {"steps": 4}}
    wanted = midspan.generate(
        organism_lm, [ASK] * 12, temperature=1.0, length=8, steps=4, progress=False
    )
    asked = [
        load.Asked(chat(model="organism", seed=seed, **fields), one.text)
        for seed, one in enumerate(wanted)
    ]
    assert len({one.answer for one in asked}) > 6
    with listening({"organism": organism_lm}, batch_size=4) as (server, service):
        order = [number % len(asked) for number in range(60)]
        counts = asyncio.run(load.ask_all(server.url, asked, order, 12))
        wait_until(lambda: service.is_idle)
        counted = load.counters(server.url)
    assert set(counts.outcomes) == {"answered", "refused", "left"}, counts
    assert counts.outcomes.total() == 60 and max(counts.ids.values()) == 1
    assert counted["midspan_batch_rows"] == counted["midspan_queue_rows"] == 0
