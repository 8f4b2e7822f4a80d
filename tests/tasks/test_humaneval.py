import os
from itertools import combinations

import pytest
from fixture_folders import BENCHMARKS
from hypothesis import given
from hypothesis import strategies as st

from midspan.tasks import humaneval
from midspan.tasks.humaneval import SOLUTIONS, pass_at_k
from midspan.tasks.sandbox import isolation_problem
from midspan.tasks.task import Item

HEAD = Item("t", {"prompt": 'def f(x):\n    """Doc."""\n'})


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(numbers):
    n, correct, k = numbers
    subsets = list(combinations(range(n), k))
    expected = sum(any(i < correct for i in subset) for subset in subsets) / len(subsets)
    assert pass_at_k(n, correct, k) == pytest.approx(expected)


def test_pass_at_k_refuses_more_than_there_is():
    for bad in ((1, 0, 2), (1, 2, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="need 1 <= k <= n"):
            pass_at_k(*bad)


@pytest.mark.parametrize(
    ("preset", "response", "program"),
    [
        ("llada", "Here:\n```python\ndef f(x): return x\n```\nDone.", "def f(x): return x\n"),
        ("llada", "```python\nfirst\n```\nor\n```python\nsecond\n```", "first\n"),
        ("llada", "\ndef f(x): return x", "def f(x): return x"),
        ("llada", "```python\nunclosed", "```python\nunclosed"),
        ("lm-eval", "    return x\n```\ntext", "    return x\n"),
        ("lm-eval", "    return x\n# a comment ends it, inside a block too\n    y", "    return x"),
        ("lm-eval", "    def g(): pass\n    return g", "    def g(): pass\n    return g"),
        ("lm-eval", "", ""),
    ],
)  # fmt: skip
def test_programs_of_responses(preset, response, program):
    assert SOLUTIONS[preset](HEAD, response) == HEAD.fields["prompt"] + program


@pytest.mark.skipif(
    bool(isolation_problem()) and "CI" not in os.environ, reason="no namespaces for this user here"
)
def test_published_solutions_pass_and_empty_ones_do_not():
    task = humaneval.load("lm-eval", BENCHMARKS / "humaneval" / "HumanEval.jsonl.gz")
    assert len(task.items) == 164 and task.source.endswith("as published")
    # 32, 33, 38 and 50 use functions of the prompt, or the answer by its name, in their tests.
    for index in (0, 32, 33, 38, 50, 163):
        item = task.items[index]
        assert task.score(item, item.fields["canonical_solution"]) == {
            "success": True, "problem": "",
        }, item.id  # fmt: skip
        assert not task.score(item, "    return None\n")["success"], item.id
