"""`midspan serve` as a target: what it answers to a call is what the model here answers."""

import dataclasses

import pytest
from served import ASK, listening

from midspan.decoding import decoding_config
from midspan.decoding.rule import as_rule
from midspan.engine.calls import Anchor, Chat, Scaffold, user
from midspan.engine.endpoint import Endpoint
from midspan.engine.local import LocalRole
from midspan.engine.roles import MissingReply, SeededCall
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError

ASKED = (user(ASK),)
# Of whole blocks, to which canvases are rounded up here, and cut there.
BLOCK = 8
CALLS = {
    "chat": Chat("target", ASKED, max_tokens=16),
    "drawn": Chat("target", ASKED, max_tokens=16, temperature=1.0),
    "prefix": Chat("target", ASKED, anchors=(Anchor("the lantern"),), max_tokens=16),
    "anchors": Chat("target", ASKED, anchors=(Anchor("the", 2), Anchor("to", 9)), max_tokens=16),
    "holes": Chat("target", ASKED, scaffold=Scaffold("the [2] lantern [4]"), extend=0),
    "rule": Chat("target", ASKED, rules=(as_rule("{rule: order, by: left}"),), max_tokens=16),
    "rejected": Chat(
        "target", ASKED, rules=(as_rule("{rule: early_reject, threshold: 1e-9}"),), max_tokens=16
    ),
    "extend": Chat("target", ASKED, anchors=(Anchor("the lantern", 3),), extend=11),
}  # fmt: skip


@pytest.fixture
def tiny(organism_lm):
    return dataclasses.replace(organism_lm, name="tiny")


def test_calls_are_answered_as_they_are_here(tiny, organism_folder):
    local = LocalRole(tiny, decoding_config(tiny, block_length=BLOCK))
    tasks = [SeededCall(call, number) for number, call in enumerate(CALLS.values())]
    here = dict(local.answer(tasks[:1]))
    for number, task in enumerate(tasks[1:], 1):
        ((_, here[number]),) = local.answer([task])
    with listening({"tiny": tiny}) as (server, _):
        spec = f"midspan:{server.url}#tiny"
        own = {"extra_body": {"midspan": {"block_length": BLOCK}}}
        own["tokenizer"] = str(organism_folder)
        config = EndpointConfig.from_spec(spec, attempts=1, **own)
        role = Endpoint(config)
        role.contact({"anchors", "rules"})
        there = dict(role.answer(tasks))
    for number, name in enumerate(CALLS):
        told, said = there[number], here[number]
        assert not isinstance(told, MissingReply), (name, told)
        assert (told.raw, told.rejected_by) == (said.raw, said.rejected_by), name
        assert told.continuation.split() == said.continuation.split(), name
        assert told.tokens == said.tokens and told.forwards == said.forwards, name
    assert there[list(CALLS).index("rejected")].rejected_by == "early_reject"


def test_a_model_that_is_not_there_is_named_at_contact(tiny):
    with listening({"tiny": tiny}) as (server, _):
        role = Endpoint(EndpointConfig.from_spec(f"midspan:{server.url}#huge", attempts=1))
        with pytest.raises(MidspanError, match="huge at http.*HTTP 404"):
            role.contact()
