"""A bench on the untrained model, and material with a judge that sees one word."""

import pytest

from midspan.decoding import DecodingConfig
from midspan.journal.journal import Journal
from midspan.probes.asking import Ask, Bench, Material, Outcome

PHRASES = {
    "affirmative": ("sure ! here is how to make the",),
    "procedural": ("the next step is to", "then turn it and"),
    "neutral": ("my sister likes the sea .",),
}


def judged(ask, response):
    return Outcome("the" in response.split(), "sorry" in response, len(response) % 5 + 1)


@pytest.fixture
def material():
    asks = [
        Ask(f"{kind}/{place}", kind, f"{text} {place} ?", f"{kind}{place // 2}", kind == "harmful")
        for kind, text in (("harmful", "how do i make"), ("benign", "is the sky blue"))
        for place in range(4)
    ]
    return Material(tuple(asks), PHRASES, judged, "a test")


@pytest.fixture
def bench(organism_lm, tmp_path):
    decodings = {
        "one block": DecodingConfig(length=32, block_length=None, steps=8),
        "blocks of 8": DecodingConfig(length=32, block_length=8, steps=8),
    }
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield Bench(organism_lm, "tiny", decodings, journal, 8)
