"""From tasks to records: what fits, what is asked, what is kept; and what two models differ in."""

import json

import pytest

from midspan.errors import MidspanError
from midspan.journal import generation
from midspan.journal.journal import Journal
from midspan.statistics import paired_difference, wilson
from midspan.tasks.compare import check_same, compare, group_means, rows
from midspan.tasks.fit import How, fit_prompts, settings_of, work_of
from midspan.tasks.run import estimate_seconds, run_task
from midspan.tasks.task import Item, Measure, Preset, Prompt, Task, assistant, cut, user

SHOTS = ("what is 1 plus 1 ?", "1 plus 1 is 2 .")
PRESET = Preset(name="own", prompt="words", shots=3, length=8, block_length=8, steps=4)


def task(preset=PRESET, words=(0, 0, 0, 0), costly=False, asked=None, **options):
    """Items whose prompts grow by so many words."""

    def prompt(item, shots):
        turns = [user(SHOTS[0]), assistant(SHOTS[1])] * shots
        return Prompt((*turns, user("what is 2 plus 3 ? " + "please " * item.fields["words"])))

    def score(item, response):
        if asked is not None:
            asked.append(item.id)
        return {"success": len(response) % 2 == 0, "said": response}

    items = tuple(Item(f"i{n}", {"words": count}, "ab"[n % 2]) for n, count in enumerate(words))
    return Task("own", preset, items, prompt, score, costly=costly, **options)


def test_shots_that_do_not_fit_are_dropped_from_the_end_and_counted(organism_lm):
    room = organism_lm.max_length - PRESET.length
    empty = len(organism_lm.encode_chat("what is 2 plus 3 ? "))
    shot = len(organism_lm.encode_chat([user(SHOTS[0]), assistant(SHOTS[1]), user("please")]))
    shot -= len(organism_lm.encode_chat("please"))
    words = (0, room - empty - 3 * shot, room - empty - 3 * shot + 1, room - empty)
    ready = fit_prompts(organism_lm, task(words=words), How())
    assert ready.shots == (3, 3, 2, 0) and ready.dropped == 2
    assert [len(prompt) for prompt in ready.prompts][1] == len(ready.prompts[3]) == room
    with pytest.raises(MidspanError, match="prompt of item i1 has .* tokens without examples, and"):
        fit_prompts(organism_lm, task(words=(0, room - empty + 1)), How())


def test_a_run_is_journalled_and_a_second_one_decodes_nothing(organism_lm, tmp_path, monkeypatch):
    asked = []
    mine = task(words=(0, 1, 2, 3), costly=True, asked=asked)
    ready = fit_prompts(organism_lm, mine, How(batch_size=2))
    with Journal(tmp_path / "j") as journal:
        first = run_task(organism_lm, ready, journal, How(batch_size=2))
    assert [row["id"] for row in first] == ["i0", "i1", "i2", "i3"] == asked
    assert all(row["forwards"] == 4 and row["shots"] == 3 for row in first)

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(generation.GenerationWork, "compute", never)
    with Journal(tmp_path / "j") as journal:
        assert run_task(organism_lm, ready, journal, How(batch_size=2)) == first
    assert len(asked) == 4  # costly verdicts are not asked for twice


def test_samples_have_seeds_of_their_own(organism_lm, tmp_path):
    sampled = PRESET.model_copy(update={"samples": 3, "temperature": 1.0})
    ready = fit_prompts(organism_lm, task(sampled), How())
    with Journal(tmp_path / "j") as journal:
        found = run_task(organism_lm, ready, journal, How())
        assert len(journal) == 12
    assert [(row["id"], row["sample"]) for row in found[:4]] == [
        ("i0", 0), ("i0", 1), ("i0", 2), ("i1", 0),
    ]  # fmt: skip
    assert len({row["response"] for row in found}) > 3
    figures = rows(ready.task.measures, found)
    assert [row.name for row in figures] == ["accuracy@1"]
    greedy = PRESET.model_copy(update={"samples": 3})
    with pytest.raises(MidspanError, match="3 samples need temperature above 0"):
        fit_prompts(organism_lm, task(greedy), How())


def test_options_are_scored_by_likelihood(organism_lm, tmp_path):
    preset = Preset(name="own", prompt="words", draws=4)
    options = ("is", "tell me", "compute")
    mine = task(preset, (0, 5), options=lambda item: options)
    ready = fit_prompts(organism_lm, mine, How(batch_size=3))
    assert ready.settings["draws"] == 4 and "decoding" not in ready.settings
    with Journal(tmp_path / "j") as journal:
        found = run_task(organism_lm, ready, journal, How(batch_size=3))
    for row in found:
        best = max(range(3), key=row["likelihoods"].__getitem__)
        assert row["response"] == options[best] and row["forwards"] == 1 + 4
        assert [error > 0 for error in row["errors"]] == [False, True, False]


def test_the_longest_options_are_scored_first(organism_lm):
    preset = Preset(name="own", prompt="words")
    mine = task(preset, (0, 5, 2, 9, 4), options=lambda item: ("is", "tell"))
    ready = fit_prompts(organism_lm, mine, How(batch_size=2))
    work = work_of(organism_lm, ready, How(batch_size=2))
    sizes = dict(zip(work.keys, map(len, ready.prompts), strict=True))
    found = [max(map(sizes.__getitem__, batch)) for batch in work.batches]
    assert found == sorted(found, reverse=True) and len(set(found)) == 3


def test_settings_hold_all_that_moves_a_score(organism_lm):
    settings = settings_of(organism_lm, task(), How(seed=7, overrides={"steps": 8}))
    assert settings["decoding"]["steps"] == 8 and settings["decoding"]["length"] == 8
    assert {"shots", "prompt", "until", "samples", "seed", "data", "items"} <= settings.keys()
    json.dumps(settings)
    check_same({"a": settings, "b": dict(settings)})
    other = settings_of(organism_lm, task(), How(seed=7))
    with pytest.raises(MidspanError, match=r"decoding.steps \(8 and 4\) of a and b differ"):
        check_same({"a": settings, "b": other})


def test_an_estimate_is_in_proportion_to_items_and_steps(organism_lm, monkeypatch):
    import time

    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    longer = PRESET.model_copy(update={"steps": 8})
    for preset, count, expected in ((PRESET, 4, 10), (PRESET, 8, 20), (longer, 8, 40)):
        mine = task(preset, tuple(range(count)))
        ready = fit_prompts(organism_lm, mine, How(batch_size=4))
        # The measured batch of four rows takes five seconds for two steps.
        assert estimate_seconds(organism_lm, ready, How(batch_size=4)) == expected


def test_an_estimate_under_a_threshold_is_that_of_whole_canvases(organism_lm, monkeypatch):
    import time

    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    how = How(batch_size=4, overrides={"threshold": 0.9})
    ready = fit_prompts(organism_lm, task(PRESET.model_copy(update={"steps": 8})), how)
    assert estimate_seconds(organism_lm, ready, how) == 5


def record(item, group="", **fields):
    return {"id": item, "group": group, "verdict": fields}


def test_two_models_are_compared_on_the_same_items():
    mine = task(words=(0,) * 20)
    first = [record(f"i{n}", success=n < 4) for n in range(20)]
    second = [record(f"i{n}", success=n < 12) for n in range(20)]
    (one,), (two,) = rows(mine.measures, first), rows(mine.measures, second)
    found = compare(one, two)
    gained = [True] * 8 + [False] * 12
    assert found.pairs.least.difference == paired_difference(gained, [False] * 20)
    assert found.p == pytest.approx(2 / 2**8)  # eight gained, none lost
    assert 0.3 < found.detectable < 0.6
    with pytest.raises(MidspanError, match="compared on the same items alone"):
        compare(one, rows(mine.measures, second[:-1])[0])


def test_verdicts_that_are_missing_bound_every_figure():
    mine = task(words=(0,) * 4, measures=(Measure("accuracy", by_group=True),))
    known = [record(f"i{n}", "g", success=n < 2) for n in range(4)]
    partly = [record(f"i{n}", "g", success=(True, True, None, None)[n]) for n in range(4)]
    (one,), (two,) = rows(mine.measures, known), rows(mine.measures, partly)
    assert one.figure == wilson(2, 4)
    assert (two.figure.least, two.figure.most) == (wilson(2, 4), wilson(4, 4))
    assert str(two.figure) == "50.0 to 100.0 % [15.0, 100.0] n=4, 2 without outcome"
    found = compare(one, two)
    assert found.pairs.points == "+0.0 to +50.0" and found.p == 1.0
    assert group_means(mine.measures, partly) == {"accuracy": (0.5, 1.0)}
    # Of five samples: one right, two not known.
    sampled = [record("i0", success=outcome) for outcome in (True, None, None, False, False)]
    (first,) = rows((Measure("pass"),), sampled)
    assert first.values["i0"] == pytest.approx((1 / 5, 3 / 5))


def test_groups_and_pass_at_k():
    by_group = task(measures=(Measure("accuracy", by_group=True), Measure("only b", "b", "b")))
    found = [
        record("1", "a", success=True, b=True), record("2", "a", success=False, b=True),
        record("3", "b", success=True, b=False),
    ]  # fmt: skip
    assert group_means(by_group.measures, found) == {"accuracy": (0.75, 0.75)}
    assert [str(row.figure)[:6] for row in rows(by_group.measures, found)] == ["66.7 %", "0.0 % "]
    many = task(PRESET.model_copy(update={"samples": 10, "temperature": 1.0}))
    found = [record("p", success=n < 5) for n in range(10)] + [record("q", success=False)] * 10
    one, ten = rows(many.measures, found)
    assert (one.name, one.figure.mean, ten.name, ten.figure.mean) == (
        "accuracy@1", 0.25, "accuracy@10", 0.5,
    )  # fmt: skip
    assert compare(one, one).p is None


@pytest.mark.parametrize(
    ("text", "until", "kept"),
    [
        ("one stop two", ("stop",), "one "),
        ("ends with a stop", ("stop",), "ends with a "),  # at the canvas's very end
        ("```\n# inside a block\n```", ("\n#",), "```"),
        ("b then a", ("a", "b"), ""),
        ("kept", ("", "none"), "kept"),
        ("stop", ("stop",), ""),
    ],
)
def test_a_response_ends_at_its_first_stop(text, until, kept):
    assert cut(text, until) == kept


def test_a_task_without_items_is_refused():
    with pytest.raises(MidspanError, match="own: no items"):
        task(words=())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text", None), ("tokens", {}), ("tokens", [1.5]), ("forwards", -1), ("forwards", True),
        ("stopped_early", 0), ("position", [10**10]), ("step", [0]), ("token", ["5"]),
        ("confidence", [1e308] * 8), ("confidence", [[1.0]] * 8), ("success", 1),
    ],
)  # fmt: skip
def test_a_journalled_value_of_the_wrong_kind_is_refused_with_its_line(
    organism_lm, tmp_path, name, wrong
):
    ready = fit_prompts(organism_lm, task(words=(0,), costly=True), How())
    with Journal(tmp_path / "j") as journal:
        run_task(organism_lm, ready, journal, How())
    lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    (number, fields), *others = (
        (number, fields)
        for number, entry in enumerate(lines, start=1)
        for fields in (entry["value"], entry["value"].get("trace", {}))
        if name in fields
    )
    assert not others
    fields[name] = wrong
    (tmp_path / "j").write_text("".join(f"{json.dumps(entry)}\n" for entry in lines))
    with Journal(tmp_path / "j") as journal, pytest.raises(MidspanError, match=f"line {number} is"):
        run_task(organism_lm, ready, journal, How())
