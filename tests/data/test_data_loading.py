"""Behaviors from every source: what is kept, what is checked, and what is said of the rest."""

import csv
import json
from dataclasses import replace

import pytest
from fixture_folders import harmful_benchmark

from midspan.data import BENCHMARKS, Example, load_behaviors, read_examples, read_prompts
from midspan.data.behaviors import content_hash
from midspan.data.columns import TEXT_COLUMNS
from midspan.errors import MidspanError


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def texts(found):
    return [behavior.text for behavior in found]


def refused(match, *arguments, **options):
    with pytest.raises(MidspanError, match=match) as caught:
        load_behaviors(*arguments, **options)
    assert "\n" not in str(caught.value)


# Files of one's own


def test_a_file_is_read_with_ids_hash_and_source(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("bake a cake\n  paint a fence \n", encoding="utf-8")
    found = load_behaviors(path)
    assert texts(found) == ["bake a cake", "paint a fence"]
    assert found.name == found.source == str(path) and found.licence == "licence unknown"
    assert len({behavior.id for behavior in found}) == 2
    path.write_text("paint a fence\nBake a cake!\n", encoding="utf-8")
    again = load_behaviors(path)
    assert {each.id for each in again} == {each.id for each in found}
    assert again.sha256 != found.sha256  # The hash is of the exact texts.


@pytest.mark.parametrize("column", [*TEXT_COLUMNS, "Behavior", "Goal"])
def test_requests_are_found_by_the_published_names(tmp_path, column):
    rows = [
        {"number": 1, column: "a\u2028b"},
        {"number": 2, column: None},
        {"number": 3, column: "d"},
    ]
    found = load_behaviors(write(tmp_path / "p.jsonl", rows))
    assert texts(found) == ["a\u2028b", "d"]
    assert found.left_out == ("1 rows without a request left out",)


def test_a_column_of_ones_own_is_the_request_and_nothing_else(tmp_path):
    rows = [{"id": 1, "response": "how so ?", "context": "why"}, {"id": 2, "response": "b"}]
    path = write(tmp_path / "p.jsonl", rows)
    found = load_behaviors(path, column="response")
    assert texts(found) == ["how so ?", "b"] and found.behaviors[0].answer is None
    assert texts(load_behaviors(path, column=("q", "response"))) == ["how so ?", "b"]
    refused("has no column q or r; it has id, response", path, column=("q", "r"))


def test_the_most_telling_column_wins_unless_one_is_given(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("question,goal,other\nq,g,o\n", encoding="utf-8")
    assert read_prompts(path) == ("g",)
    assert read_prompts(path, "other") == ("o",)


def test_sorry_bench_rows_have_a_turn_and_an_id_for_each_style(tmp_path):
    rows = [
        {"question_id": 1, "category": "4", "turns": ["first", "second"], "prompt_style": style}
        for style in ("base", "slang")
    ]
    found = load_behaviors(write(tmp_path / "p.jsonl", rows))
    assert [(each.id, each.text, each.category) for each in found] == [
        ("1/base", "first", "4"),
        ("1/slang", "first", "4"),
    ]


BEAVERTAILS = [
    {"prompt": "one", "response": "r1", "category": {"x": True, "y": False}, "is_safe": False},
    {"prompt": "one", "response": "r2", "category": {"x": False, "y": False}, "is_safe": True},
    {"prompt": "two", "response": "r3", "category": {"x": True, "y": True}, "is_safe": False},
    {"prompt": "two", "response": "r4", "category": {"x": True, "y": True}, "is_safe": False},
    {"prompt": "three", "response": "r5", "category": {}, "is_safe": True},
]


def test_marked_rows_are_kept_by_their_mark(tmp_path):
    path = write(tmp_path / "beaver.jsonl", BEAVERTAILS)
    harmful = load_behaviors(path)
    assert harmful.examples() == (Example("one", "r1"), Example("two", "r3"), Example("two", "r4"))
    assert [each.category for each in harmful] == ["x", "x, y", "x, y"]
    assert harmful.prompts() == ("one", "two")
    assert harmful.left_out == ("2 rows marked safe left out",)
    benign = load_behaviors(path, keep="benign")
    assert benign.examples() == (Example("three", "r5"),)
    assert benign.left_out == ("4 rows whose request is marked unsafe left out",)
    assert len(read_examples(path)) == 5 and read_prompts(path) == ("one", "two", "three")


def test_a_subset_and_a_set_of_distinct_requests_have_no_copies(tmp_path):
    rows = [{"prompt": f"do {n // 3}", "response": f"r{n}"} for n in range(30)]
    path = write(tmp_path / "answers.jsonl", rows)
    some = load_behaviors(f"{path}:4")
    assert len(set(texts(some))) == len(some) == 4
    assert all(int(each.answer[1:]) % 3 == 0 for each in some)  # the first row of each
    assert some.left_out == ("20 rows that repeat a request left out",)
    assert set(texts(some)) < set(texts(load_behaviors(f"{path}:10")))
    refused("subset: 11 is not between 1 and 10", f"{path}:11")
    assert len(load_behaviors(path)) == 30
    assert texts(load_behaviors(path, distinct=True)) == [f"do {n}" for n in range(10)]


def test_marks_are_read_in_words_too_and_other_labels_are_no_marks(tmp_path):
    marked = tmp_path / "xstest.csv"
    marked.write_text("prompt,label\na,safe\nb,unsafe\n", encoding="utf-8")
    assert read_prompts(marked) == ("a", "b")
    assert texts(load_behaviors(marked)) == ["b"]
    assert texts(load_behaviors(marked, keep="benign")) == ["a"]
    other = tmp_path / "other.csv"
    other.write_text("prompt,label\na,1\nb,0\n", encoding="utf-8")
    assert texts(load_behaviors(other)) == ["a", "b"]


def test_alpaca_prompts_hold_instruction_and_input(tmp_path):
    rows = [
        {"instruction": "Add them.", "input": "2 and 3", "output": "5"},
        {"instruction": "Sing.", "input": "", "output": ""},
    ]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert read_examples(path, keep="benign") == (
        Example("Add them.\n\n2 and 3", "5"),
        Example("Sing.", None),
    )


def test_a_context_comes_first(tmp_path):
    rows = [{"Behavior": "Use it.", "ContextString": "A tool.\r\n", "BehaviorID": "tool"}]
    (behavior,) = load_behaviors(write(tmp_path / "p.jsonl", rows))
    assert (behavior.id, behavior.text, behavior.context) == ("tool", "Use it.", "A tool.")
    assert behavior.prompt == "A tool.\n\n---\n\nUse it."


def test_repeated_ids_are_numbered(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"id": 7, "prompt": text} for text in "aba"])
    assert [behavior.id for behavior in load_behaviors(path)] == ["7", "7-2", "7-3"]


def test_a_subset_is_nested_and_independent_of_order(tmp_path):
    rows = [{"prompt": f"make item {number}"} for number in range(60)]
    path = write(tmp_path / "p.jsonl", rows)
    backwards = write(tmp_path / "q.jsonl", rows[::-1])
    some, more = (load_behaviors(f"{path}:{count}") for count in (10, 20))
    assert (len(some), len(more), some.name) == (10, 20, f"{path}:10")
    assert set(texts(some)) < set(texts(more))
    assert load_behaviors(f"{backwards}:10").sha256 == some.sha256
    refused("subset: 61 is not between 1 and 60", f"{path}:61")


def test_the_hub_gives_any_file(tmp_path):
    asked = []

    def fetch(origin, file):
        asked.append((origin.host, origin.repo, file))
        return write(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": "b"}])

    assert len(load_behaviors("hub:owner/set/data/p.jsonl:1", fetch=fetch)) == 1
    assert asked == [("hub", "owner/set", "data/p.jsonl")]


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"number": 1}, "has no column prompt or goal or .* or text; it has number; .* --column"),
        ({"prompt": {"role": "user"}}, "row 1: prompt is .*, not text; give another column"),
        ({"prompt": "a", "is_safe": "perhaps"}, "row 1: is_safe must be true or false"),
        ({"Behavior": "a", "ImageFileName": "b"}, "holds requests about images"),
        ({"prompt": "a", "is_safe": True}, "holds no harmful request"),
        ({"prompt": " "}, "holds no harmful request"),
    ],
)
def test_a_bad_file_is_named(tmp_path, row, match):
    refused(match, write(tmp_path / "p.jsonl", [row]))


def test_what_cannot_be_a_source_is_named(tmp_path):
    refused(
        "data: must be one of a file, advbench, .*alpaca, mentioned; got 'nothing.csv'",
        "nothing.csv",
    )
    refused("hub:owner/set must be hub:OWNER/NAME/FILE", "hub:owner/set")
    refused("data: must be one of advbench, .*; got 'own'", "own", tmp_path)
    path = write(tmp_path / "p.jsonl", [{"prompt": "a"}])
    refused("has no column text; it has prompt", path, column="text")


# Registered sets


@pytest.fixture
def small(monkeypatch):
    """Registered sets with the published columns and three rows."""

    def register(name, **changes):
        changed = replace(BENCHMARKS[name], **{"num_rows": 3, "content": None, **changes})
        monkeypatch.setitem(BENCHMARKS, name, changed)
        return changed

    return register


def advbench_rows():
    return [{"goal": f"make item {n}", "target": f"Sure, item {n}"} for n in range(3)]


def test_a_registered_set_is_fetched_and_checked(small, tmp_path):
    benchmark = small("advbench")
    path = write(tmp_path / "adv.jsonl", advbench_rows())
    asked = []

    def fetch(origin, file):
        asked.append((origin, file))
        return path

    found = load_behaviors("advbench:2", fetch=fetch)
    assert asked == [(benchmark.origin, "data/advbench/harmful_behaviors.csv")]
    assert (found.name, len(found), found.licence) == ("advbench:2", 2, "MIT")
    assert found.source == "https://github.com/llm-attacks/llm-attacks"
    assert {behavior.source for behavior in found} == {"advbench"}
    for local in (f"advbench:2={path}", f"advbench:2={tmp_path / 'adv.jsonl'}"):
        assert load_behaviors(local).behaviors == found.behaviors
    assert load_behaviors("advbench:2", path).sha256 == found.sha256
    assert found.summary().startswith("advbench:2: 2 behaviors, sha256 ")
    assert "make item" not in found.summary()


def test_another_count_column_or_text_is_refused(small, tmp_path):
    path = write(tmp_path / "adv.jsonl", advbench_rows())
    content = content_hash(load_behaviors(path))
    small("advbench", num_rows=4)
    refused("adv.jsonl is not advbench as published: 3 rows, not 4. Get it", "advbench", path)
    small("advbench", content=content)
    assert len(load_behaviors("advbench", path)) == 3
    small("advbench", content=content[::-1])
    refused("is not advbench as published: other texts", "advbench", path)
    write(path, [*advbench_rows()[:2], {"goal": "make item 2"}])
    refused("advbench row 3 has no column target; it has goal", "advbench", path)


def test_content_hashes_do_not_depend_on_order_format_or_answers(tmp_path):
    rows = advbench_rows()
    first = load_behaviors(write(tmp_path / "a.jsonl", rows))
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["goal"], *([row["goal"]] for row in rows[::-1])])
    assert load_behaviors(tmp_path / "b.csv").sha256 == first.sha256
    rows[1]["goal"] += "s"
    assert load_behaviors(write(tmp_path / "a.jsonl", rows)).sha256 != first.sha256


def test_harmbench_parts_leave_out_the_others_and_say_so(small, tmp_path):
    rows = [
        {
            "Behavior": f"do {kind}", "FunctionalCategory": kind, "SemanticCategory": "x",
            "ContextString": "about it" if kind == "contextual" else "", "BehaviorID": kind,
        }
        for kind in ("standard", "contextual", "copyright")
    ]  # fmt: skip
    path = write(tmp_path / "h.jsonl", rows)
    kinds = {}
    for name in ("harmbench", "harmbench-standard", "harmbench-all"):
        small(name)
        found = load_behaviors(name, path)
        kinds[name] = [behavior.id for behavior in found], found.left_out
    left = [f"1 rows of {kind} left out" for kind in ("contextual", "copyright")]
    assert kinds == {
        "harmbench": (["standard", "contextual"], (left[1],)),
        "harmbench-standard": (["standard"], tuple(left)),
        "harmbench-all": (["standard", "contextual", "copyright"], ()),
    }
    del rows[2]["FunctionalCategory"]
    write(path, rows)
    refused("harmbench row 3 has no column FunctionalCategory", "harmbench", path)


def test_sorry_bench_is_21_files_of_which_a_folder_or_the_hub_gives_all(tmp_path):
    names = {"sorrybench": 1, "sorrybench-untranslated": 16, "sorrybench-all": 21}
    assert {name: len(BENCHMARKS[name].files) for name in names} == names
    assert BENCHMARKS["sorrybench-all"].num_rows == 9240
    for file in BENCHMARKS["sorrybench-all"].files:
        style = file.removesuffix(".jsonl").removeprefix("question").removeprefix("_") or "base"
        rows = [
            {"question_id": n, "category": "1", "turns": [f"{style} {n}"], "prompt_style": style}
            for n in range(440)
        ]
        write(tmp_path / file, rows)
    found = load_behaviors(f"sorrybench-all:3000={tmp_path}")
    assert len(found) == 3000 == len({behavior.id for behavior in found})
    fetched = load_behaviors("sorrybench-untranslated", fetch=lambda _, file: tmp_path / file)
    assert len(fetched) == 7040 and not any("translate" in each.id for each in fetched)
    (tmp_path / "question_morse.jsonl").unlink()
    refused("no file at .*question_morse.jsonl", f"sorrybench-all={tmp_path}")


def test_harmful_and_benign_sets_are_not_confused():
    refused("alpaca is a set of benign requests, not harmful ones", "alpaca")
    refused("advbench is a set of harmful requests, not benign", "advbench", keep="benign")


# The published files, where they are


@pytest.mark.parametrize(
    ("spec", "count", "sha256"),
    [
        ("advbench", 520, "e86c773aebb10780"),
        ("advbench:100", 100, "115c6d95ae1e7c1a"),
        ("harmbench", 300, "521bbcf1c39674dd"),
        ("harmbench-standard:100", 100, "e90a24f1c0440d5f"),
        ("harmbench-all", 400, "474037c9b5cc8183"),
    ],
)
def test_published_benchmarks_load(spec, count, sha256):
    folder = harmful_benchmark(spec.partition(":")[0].partition("-")[0])
    found = load_behaviors(spec, folder)
    assert len(found) == count == len({behavior.id for behavior in found})
    assert all(behavior.text and behavior.category or "adv" in spec for behavior in found)
    assert found.sha256.startswith(sha256)
    contexts = sum(bool(behavior.context) for behavior in found)
    assert contexts == (100 if spec in {"harmbench", "harmbench-all"} else 0)


@pytest.mark.parametrize(("keep", "count"), [("harmful", 200), ("benign", 250), ("all", 450)])
def test_xstest_is_read_by_its_labels(keep, count):
    path = harmful_benchmark("xstest") / "xstest_prompts.csv"
    assert len(load_behaviors(path, keep=keep)) == count


@pytest.mark.parametrize(
    ("columns", "answers", "found"),
    [
        ("prompt,target", "Sure", "openings"),
        ("goal,Target", "Sure", "openings"),
        ("prompt,opening", "Sure", "openings"),
        ("prompt,response", "Sure", "whole"),
        ("prompt,answer,target", "Sure,other", "whole"),
        ("prompt,target,output", "other,Sure", "whole"),
    ],
)
def test_a_column_says_whether_answers_are_whole(tmp_path, columns, answers, found):
    path = tmp_path / "own.csv"
    path.write_text(f"{columns}\nlight the lamp,{answers}\n")
    behaviors = load_behaviors(path)
    assert behaviors.answers == found
    assert [behavior.answer for behavior in behaviors] == ["Sure"]
    # A whole answer is no opening that attacks could work towards.
    opening = "Sure" if found == "openings" else ""
    assert [behavior.opening for behavior in behaviors] == [opening]


def test_registered_sets_say_what_their_answers_are():
    openings = {name for name, one in BENCHMARKS.items() if one.columns.opening}
    whole = {name for name, one in BENCHMARKS.items() if one.columns.answer}
    assert openings == {"advbench", "jailbreakbench"} and whole == {"beavertails", "alpaca"}


@pytest.mark.parametrize("value", [12.0, True, {"a": 1}])
def test_what_is_no_text_is_no_request(tmp_path, value):
    path = write(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": value}])
    with pytest.raises(MidspanError, match=r"row 2: prompt is .*, not text"):
        load_behaviors(path)


def test_nan_is_an_empty_cell(tmp_path):
    rows = [
        {"Behavior": "fold a crane", "ContextString": float("nan"), "BehaviorID": 7},
        {"Behavior": float("nan"), "ContextString": "x", "BehaviorID": 8},
    ]
    (behavior,) = load_behaviors(write(tmp_path / "p.jsonl", rows))
    assert (behavior.prompt, behavior.id) == ("fold a crane", "7")


def test_the_request_of_a_conversation_is_its_last_user_turn(tmp_path):
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
    ]
    (behavior,) = load_behaviors(write(tmp_path / "p.jsonl", [{"messages": turns}]))
    assert behavior.text == "three"
