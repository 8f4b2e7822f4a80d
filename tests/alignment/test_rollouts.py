"""What completions are worth: judges as rewards, and what has no verdict."""

import pytest
import torch
from recovery_recipe import RECIPE, data

from midspan.alignment import align
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.rollouts import JudgeReward, Rollouts, unrated
from midspan.alignment.samples import draw_samples
from midspan.engine.roles import MissingReply, RawReply, Role
from midspan.errors import MidspanError
from midspan.judges import Verdict
from midspan.models import load
from midspan.studies.redteam.roles import with_reward


class Strict(Role):
    """A judge that says what it is told to."""

    fingerprint = "strict-v1"

    def answer(self, tasks):
        for index, (call, _) in enumerate(tasks):
            text = call.response
            yield index, MissingReply("failed", "no") if text == "lost" else RawReply(text)

    def read(self, call, raw):
        if raw == "odd":
            raise ValueError("odd")
        if raw == "graded":
            return Verdict(refusal=False, convincing=3, specific=3)
        return Verdict(answer=raw == "harm")


def test_a_judge_is_a_reward():
    said = ["harm", "safe", "graded", "lost", "odd"]
    judged = JudgeReward(Strict())
    lost, odd = MissingReply("failed", "no"), MissingReply("unparseable", "odd")
    assert judged([("make it", text) for text in said]) == [0.0, 1.0, 0.5, lost, odd]
    assert judged.name == "strict-v1"


class Silent:
    """A reward that never knows."""

    name = "silent-v1"

    def __call__(self, pairs):
        return [None] * len(pairs)


class Failing(Role):
    """A judge that gives every other verdict, and from a number of calls on none."""

    fingerprint = "failing-v1"

    def __init__(self, calls):
        self.left = calls

    def answer(self, tasks):
        for index, _ in enumerate(tasks):
            self.left -= 1
            lost = self.left < 0 or index % 2
            yield index, MissingReply("failed", f"no credit {index}") if lost else RawReply("safe")

    def read(self, call, raw):
        return Verdict(answer=False)


def test_completions_without_a_verdict_are_counted_and_not_in_the_mean(organism_lm):
    samples = draw_samples(organism_lm, data(reward=Silent()), RECIPE)[:4]
    judge = Failing(calls=3)
    done = Rollouts(organism_lm, RECIPE.objective, JudgeReward(judge), 12)(samples, 0.5)
    first, second = (sample.canvases[0] for sample in done[:2])
    assert (first.reward, first.unrated) == (1.0, ("no credit 1",))
    assert (second.reward, second.advantages) == (None, (0, 0, 0))
    assert second.unrated == ("no credit 3", "no credit 4", "no credit 5")
    assert unrated(done) == [*first.unrated, *second.unrated]
    batch = Collator(organism_lm)(done)
    metrics = Policy(organism_lm, RECIPE.objective)(batch).metrics
    assert metrics["reward"].tolist() == [1.0]
    assert metrics["no_verdict"].tolist() == pytest.approx([1 / 3, 1])
    done = Rollouts(organism_lm, RECIPE.objective, Silent(), 12)(samples, 0.5)
    assert set(unrated(done)) == {"the reward gives none"}


def test_a_step_without_any_verdict_ends_training_and_the_same_call_continues(
    organism_folder, tmp_path
):
    def run(folder, calls, micro=2):
        lm = load(organism_folder, device="cpu")
        recipe = RECIPE.changed({"micro_batch_size": micro})
        return align(lm, data(reward=JudgeReward(Failing(calls))), recipe, tmp_path / folder)

    whole = run("whole", 100).metrics()
    assert [row["no_verdict"] for row in whole] == pytest.approx([1 / 2] * 4)
    assert {row["reward"] for row in whole} == {1.0}
    with pytest.raises(MidspanError, match="no completion of step 3 .*: no credit 5; the same"):
        run("cut", 12)
    assert run("cut", 100).metrics() == whole


class Small(Role):
    """A judge on an accelerator that takes two calls at a time."""

    fingerprint, capacity = "small-v1", 2

    def __init__(self, room=True):
        self.room, self.done = room, []

    def load(self):
        self.done.append("load")
        if not self.room:
            raise torch.OutOfMemoryError

    def unload(self):
        self.done.append("unload")

    def answer(self, tasks):
        self.done.append([call.response for call, _ in tasks])
        yield from ((index, RawReply(call.response)) for index, (call, _) in enumerate(tasks))

    def read(self, call, raw):
        return Verdict(answer=raw == "harm")


def test_a_judge_takes_no_more_calls_than_it_holds_and_is_not_loaded_for_none():
    judge = Small()
    pairs = [("make it", text) for text in ("harm", "a", "b", "c", "harm")]
    assert JudgeReward(judge)(pairs) == [0, 1, 1, 1, 0]
    assert judge.done == ["load", ["harm", "a"], ["b", "c"], ["harm"], "unload"]
    judge = Small()
    assert JudgeReward(judge)([]) == [] and not judge.done


def test_a_judge_that_does_not_fit_is_named_and_training_is_not_cut(organism_lm, tmp_path):
    judge = Small(room=False)
    with pytest.raises(MidspanError, match="reward: out of memory where small-v1 judges"):
        align(organism_lm, data(reward=JudgeReward(judge)), RECIPE, tmp_path)
    assert judge.done == ["load", "unload"]


def test_a_named_judge_is_met_before_training(monkeypatch, tmp_path):
    bare = data()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for judge, match in (
        ("strongreject=openai:gpt-4.1", "set OPENAI_API_KEY"),
        (f"llama-guard={tmp_path}", "cannot load"),
    ):
        with pytest.raises(MidspanError, match=match):
            with_reward(bare, judge, tmp_path / "adapter")
        with pytest.raises(MidspanError, match=match):
            with_reward(bare, judge)
    # A finished adapter asks nobody.
    (tmp_path / "adapter_model.safetensors").touch()
    assert with_reward(bare, "strongreject=openai:gpt-4.1", tmp_path).reward is not None


def test_a_judge_is_named_as_attacks_name_it():
    bare = data()
    assert with_reward(bare, None) is bare
    by_words = with_reward(bare, "refusal-keywords").reward
    assert by_words([("make it", "i cannot help with that"), ("make it", "so")]) == [1.0, 0.0]
    assert with_reward(bare, Strict()).reward.name == "strict-v1"
    with pytest.raises(MidspanError, match="judge: .*nobody"):
        with_reward(bare, "nobody")
