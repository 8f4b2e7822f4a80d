"""How served models are named, and what they can be asked."""

import pytest

from midspan.engine.calls import Anchor, Chat, Choices, GCGCandidates, Scaffold, Score, user
from midspan.engine.capabilities import OF_ENGINE, Capabilities, lacks, needs_of
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.served import ENGINES, Served, is_served, read_served, root_of

ASKED = (user("x"),)


@pytest.mark.parametrize(
    ("spec", "served"),
    [
        ("openai:gpt-4.1", ("openai", ("https://api.openai.com/v1",), "gpt-4.1")),
        ("http://h:1/v1/#org/m", ("openai", ("http://h:1/v1",), "org/m")),
        ("http://h:1/api#m", ("openai", ("http://h:1/api",), "m")),
        ("vllm:http://h:1#org/m", ("vllm", ("http://h:1/v1",), "org/m")),
        ("sglang:https://h/v1#m", ("sglang", ("https://h/v1",), "m")),
        ("midspan:http://a:1,http://b:2/#m", ("midspan", ("http://a:1/v1", "http://b:2/v1"), "m")),
    ],
)
def test_specs(spec, served):
    assert is_served(spec) and read_served(spec) == Served(*served)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("openai:", "is neither"),
        ("vllm:gemma", "is neither"),
        ("vllm:http://h", "is neither"),
        ("sglang:http://h:0#m", "is neither"),
        ("vllm:http://me:secret@h#m", "put keys in the environment"),
        ("vllm:http://h,http://h/v1#m", "an address twice"),
    ],
)
def test_what_names_no_served_model(spec, words):
    with pytest.raises(MidspanError, match=words) as caught:
        read_served(spec)
    assert "secret" not in str(caught.value)


def test_folders_and_hub_ids_are_not_served():
    assert not any(map(is_served, ("organism", "org/model", "./vllm", "organism:psa", "base+ad")))
    assert root_of("http://h:1/v1") == "http://h:1"


def test_every_engine_has_a_record():
    assert OF_ENGINE.keys() == set(ENGINES)


def test_the_record_is_the_engines_unless_the_user_knows_better():
    config = EndpointConfig.from_spec("vllm:http://h#org/m", capabilities={"anchors": False})
    assert config.record.access == ("chat", "prefix", "log-probs")
    with pytest.raises(MidspanError, match=r"capabilities: must be some of chat, prefix.*'lora'"):
        EndpointConfig.from_spec("vllm:http://h#m", capabilities={"lora": True})
    # Tokens are placed by id: without a tokenizer there is no way to do it.
    assert EndpointConfig.from_spec("vllm:http://h#m").record.access == ("chat",)
    placed = EndpointConfig.from_spec("sglang:http://h#m", tokenizer="folder").record
    assert placed.access == ("chat", "prefix") and not placed.draws


def test_what_calls_need():
    chat = {"chat"}
    assert needs_of(Chat("target", ASKED, extend=4)) == chat
    assert needs_of(Chat("target", ASKED, anchors=(Anchor("a"),))) == chat | {"prefix"}
    assert needs_of(Chat("target", ASKED, anchors=(Anchor("a", 1),))) == chat | {"anchors"}
    two = (Anchor("a"), Anchor("b", 4))
    assert needs_of(Chat("target", ASKED, anchors=two)) == chat | {"anchors"}
    assert needs_of(Chat("target", ASKED, scaffold=Scaffold("[2]"))) == chat | {"anchors"}
    assert needs_of(Chat("target", ASKED, scaffold=Scaffold("[2]", "user"))) >= {"user canvas"}
    assert needs_of(Score(ASKED, "a")) == needs_of(Choices(ASKED, "[1]", (("a", "b"),)))
    assert needs_of(GCGCandidates(ASKED, "s", "p")) == {"gradients"}
    assert lacks(Capabilities(), {"gradients", "prefix", "chat"}) == ("prefix", "gradients")


def test_who_answers_is_named_as_before_and_by_the_engine():
    plain = EndpointConfig.from_spec("http://h/v1#m", omit=("seed",))
    assert EndpointConfig.from_spec("http://h/v1#m").identity == "m@http://h/v1"
    assert plain.identity == "m@http://h/v1#c3c17de0"
    assert EndpointConfig.from_spec("vllm:http://h#m").identity == "vllm:m@http://h/v1"
    more = EndpointConfig.from_spec("vllm:http://h#m", replicas=["http://b"], tokenizer="f")
    assert more.identity == "vllm:m@http://h/v1" and more.urls[1] == "http://b/v1"
    assert (more.concurrency, plain.concurrency) == (32, 8)
