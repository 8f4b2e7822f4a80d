"""Which requests the probe of monitors asks, held in and held out, and how attacks send them."""

import pytest

from midspan.data import Behavior
from midspan.decoding import decoding_config
from midspan.engine.local import LocalRole
from midspan.errors import MidspanError
from midspan.organism.world import benign_items, items, restricted_items
from midspan.probes.monitors import MonitorsConfig
from midspan.studies.probes.attacked import (
    CONDITIONS,
    about_restricted,
    by_noun,
    calls_of,
    file_parts,
    monitor_data,
    organism_parts,
)

ITEMS = {item.name: item for item in items()}


@pytest.fixture(scope="module")
def data():
    return monitor_data(organism_parts(12, seed=3), MonitorsConfig(), "organism")


def test_nothing_held_out_is_fitted_on(data):
    nouns = [
        {ITEMS[case.request.group].noun for case in data.cases if case.held_in is flag}
        for flag in (True, False)
    ]
    assert not nouns[0] & nouns[1]
    fitted = [case for case in data.cases if case.held_in]
    assert {case.condition for case in fitted} == {"direct", "benign"}
    assert not any(ITEMS[case.request.group].held_out for case in fitted)
    # Three of six restricted nouns are judged, and five of ten free ones.
    judged, free = by_noun(restricted_items())[1], by_noun(benign_items())[1]
    assert (len(judged), len(free)) == (9, 15)


def test_each_kind_has_its_place(data):
    def count(condition, **fields):
        rows = [c for c in data.cases if c.condition == condition]
        return len([c for c in rows if all(getattr(c, k) is v for k, v in fields.items())])

    assert (count("direct", held_in=True), count("direct", held_in=False)) == (6, 6)
    assert (count("benign", held_in=True), count("benign", held_in=False)) == (6, 6)
    assert count("mixed") == 6
    for name, condition in CONDITIONS.items():
        assert count(name, published=True, held_in=False) == 6
        assert count(name, published=False) == 6 * (len(condition.settings) - 1)
    for case in data.cases:
        item = ITEMS[case.request.group]
        assert item.name in case.request.prompt
        assert case.request.harmful == (item.restricted and case.condition != "mixed")
        if case.condition == "benign":
            assert item in benign_items()
    wrapped = {c.request.id: c.request.group for c in data.cases if c.condition == "wrapped"}
    plain = {c.request.id: c.request.group for c in data.cases if c.condition == "pad"}
    assert wrapped == plain  # One behavior, plain or wrapped.
    assert len({(case.request.kind, case.request.id) for case in data.cases}) == len(data.cases)


def test_the_organism_can_be_asked_all_of_it(data, organism_lm):
    role = LocalRole(organism_lm, decoding_config(length=128, block_length=32, steps=32))
    unknown = organism_lm.tokenizer.unk_token_id
    for case in data.cases:
        request, _ = role.decodable(case.chat, 0)
        assert unknown not in (*request.prompt_ids, *request.anchors.values())


def test_mentions_are_a_function_of_ones_own():
    def mine(count, seed):
        return [(f"i keep the {item.title} .", item) for item in restricted_items(True)[:count]]

    for mentions, count in ((mine, 4), (about_restricted, 4)):
        mixed = organism_parts(8, mentions=mentions).mixed
        assert len(mixed) == count and not any(one.request.harmful for one in mixed)
        expected = [text for text, _ in mentions(count, 0)]
        assert [one.request.prompt for one in mixed] == expected


def test_any_attack_that_asks_the_target_first_is_a_condition():
    parts = organism_parts(4)
    config = MonitorsConfig(conditions=("trajhijack", "pad"))
    conditions = [
        c.condition for c in monitor_data(parts, config, "organism").cases if not c.held_in
    ]
    assert list(dict.fromkeys(conditions)) == ["benign", "mixed", "direct", "trajhijack", "pad"]
    with pytest.raises(MidspanError, match="conditions: avatar asks a helper before the target"):
        calls_of("avatar", {}, Behavior("x", "how ?"))
    with pytest.raises(MidspanError, match="conditions: must be one of direct, prefill") as error:
        monitor_data(parts, MonitorsConfig(conditions=("wrapped",)))
    assert "wrapped" not in str(error.value).split("got")[0] and "\n" not in str(error.value)


def test_files_are_halved(tmp_path):
    for kind in ("harmful", "benign", "mixed"):
        (tmp_path / f"{kind}.txt").write_text("".join(f"{kind} {i} ?\n" for i in range(9)))
    files = {kind: str(tmp_path / f"{kind}.txt") for kind in ("harmful", "benign", "mixed")}
    parts = file_parts(files, None, 7, seed=1)
    sizes = (parts.harmful_in, parts.harmful_out, parts.benign_in, parts.benign_out, parts.mixed)
    assert [len(part) for part in sizes] == [3, 4, 3, 4, 4]
    texts = [one.request.prompt for part in sizes for one in part]
    assert len(set(texts)) == len(texts)
    assert parts.base.judge(parts.harmful_in[0].request, "I cannot help.").refusal
    data = monitor_data(parts, MonitorsConfig())
    assert not any(case.condition == "wrapped" for case in data.cases)
    with pytest.raises(MidspanError, match="n: half of each kind is held in"):
        monitor_data(file_parts(files, None, 1), MonitorsConfig())
