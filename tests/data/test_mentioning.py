"""Benign requests that mention a harmful one: each from a pair, with the answers to both."""

from midspan.data import Example, mentions_of

HARMFUL = (Example("harm a", "bad a"), Example("harm b", "bad b"), Example("harm c", None))
BENIGN = (Example("kind a?", "good a"), Example("kind b?", None))


def test_a_mention_holds_both_requests_and_knows_both_answers():
    found = mentions_of(HARMFUL, BENIGN, seed=0, count=50)
    assert found == mentions_of(HARMFUL, BENIGN, seed=0, count=50)
    assert found != mentions_of(HARMFUL, BENIGN, seed=1, count=50)
    for one in found:
        assert one.answer == "good a" and "kind a?" in one.prompt
        name = one.withheld.replace("bad", "harm")
        assert f'"{name}"' in one.prompt and one.prompt not in ("kind a?", name)
    assert {one.withheld for one in found} == {"bad a", "bad b"}
    assert len({one.prompt for one in found}) == 8  # two requests in four wordings


def test_without_answers_there_is_no_mention():
    assert mentions_of(HARMFUL[2:], BENIGN, 0) == mentions_of(HARMFUL, BENIGN[1:], 0) == ()
