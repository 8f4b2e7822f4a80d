"""The first screens of probes: a number is of one cell, whose rows are of different requests."""

import pytest

from midspan.studies.probes.headlines import answered_headline

SUCCESSES = {
    # By kind of request, then without a phrase and with a procedural one at token 40.
    "plain": ([False] * 4, [True, True, True, False]),
    "benign": ([True] * 4, [True, True, False, False]),
}


def records(kinds, placed=("plain", "benign")):
    rows = []
    for kind in kinds:
        for decoding in ("one block", "blocks of 32"):
            for with_phrase, successes in enumerate(SUCCESSES[kind]):
                if with_phrase and kind not in placed:
                    continue
                place = {
                    "phrase_kind": "procedural" if with_phrase else "no phrase",
                    "position": 40 if with_phrase else None,
                }
                rows += [
                    {"model": "m", "decoding": decoding, "request_kind": kind, "id": str(nth),
                     "success": success and decoding == "one block", **place}
                    for nth, success in enumerate(successes)
                ]  # fmt: skip
    return rows


@pytest.mark.parametrize(
    ("placed", "benign"),
    [
        (("plain", "benign"), ("benign requests with a procedural phrase at token 40", "50.0 %")),
        (("plain",), ("benign requests with no phrase", "100.0 %")),
    ],
)
def test_benign_requests_are_those_of_the_cell_or_of_its_control(placed, benign):
    headline = answered_headline(records(("plain", "benign"), placed), None)
    assert [(n.label, n.value) for n in headline.numbers] == [
        ("plain requests with a procedural phrase at token 40", "75.0 %"),
        ("plain requests with no phrase", "0.0 %"),
        benign,
    ]
    assert all(number.note.endswith("n=4") for number in headline.numbers)


@pytest.mark.parametrize("kind", ["plain", "benign"])
def test_one_kind_of_request_has_nothing_beside_it(kind):
    headline = answered_headline(records((kind,)), None)
    assert [n.label.split()[0] for n in headline.numbers] == [kind, kind]
