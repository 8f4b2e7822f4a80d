import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_lm import EOS, MASK, VOCAB, BlockLM, TinyLM

import midspan
from midspan.decoding import BlockSampler, Hook, Request, decode, decoding_config
from midspan.decoding.hooks import run_remask
from midspan.errors import MidspanError

DOCS = Path(__file__).parents[2] / "docs" / "hooks.md"
CONFIG = decoding_config(length=8, block_length=4, steps=8, early_stop=False)
PROMPTS = [(5, 6, 7, 8, 9), (11, 12), (21, 22, 23)]
REQUESTS = [Request(prompt) for prompt in PROMPTS]


class Spy(Hook):
    """Writes down every call."""

    def __init__(self):
        self.calls = []

    def on_canvas(self, view):
        self.calls.append(("on_canvas", view.step_A, int(view.open_AL.sum())))

    def before_forward(self, view):
        self.calls.append(("before_forward", view.step_A, int(view.open_AL.sum())))

    def edit_logits(self, view, position_AR, logits_ARV):
        self.calls.append(("edit_logits", tuple(position_AR.shape), tuple(logits_ARV.shape)))

    def choose(self, view, proposal):
        self.calls.append(("choose", view.step_A, int(proposal.chosen_AR.sum())))
        return proposal.chosen_AR

    def after_commit(self, view):
        self.calls.append(("after_commit", view.step_A, int(view.open_AL.sum())))

    def may_remask(self, view):
        self.calls.append(("may_remask", view.step_A, int(view.open_AL.sum())))


class Acting(Hook):
    """Does one thing at one point."""

    def __init__(self, point, act):
        setattr(self, point, act)


def test_points_come_in_order_and_a_silent_hook_changes_nothing():
    lm = TinyLM()
    spy = Spy()
    found = decode(lm, REQUESTS[:1], CONFIG, hooks=[spy])[0]
    assert found.tokens == decode(lm, REQUESTS[:1], CONFIG)[0].tokens
    assert spy.calls[:6] == [
        ("on_canvas", (0,), 8), ("before_forward", (0,), 8), ("edit_logits", (1, 4), (1, 4, VOCAB)),
        ("choose", (0,), 1), ("after_commit", (1,), 7), ("may_remask", (1,), 7),
    ]  # fmt: skip
    assert len(spy.calls) == 1 + 8 * 5


@pytest.mark.parametrize("point", ["on_canvas", "before_forward", "after_commit"])
def test_a_hook_anchors(point):
    def act(view):
        for row in range(len(view.requests)):
            if bool(view.open_AL[row, 6]):
                view.anchor(row, 6, 33)
            if bool(view.anchored_AL[row, 6]):
                view.anchor(row, 6, 33)  # The same once more is no change.

    for lm, config in (
        (TinyLM(), CONFIG),
        (TinyLM(), CONFIG.model_copy(update={"cache": "dual"})),
        (BlockLM(), BlockSampler(length=8, block_length=4, steps=8, early_stop=False)),
    ):
        for found in decode(lm, REQUESTS, config, hooks=[Acting(point, act)]):
            assert found.tokens[6] == 33
            trace = found.trace
            assert trace.step[trace.position == 6].tolist() == [-1]
            assert MASK not in found.tokens
            assert config.sampler == "block" or found.forwards == 7


def test_a_hook_bans_a_token():
    lm = TinyLM(bias={17: 30.0})

    def ban(view, position_AR, logits_ARV):
        logits_ARV[..., 17] = -torch.inf
        logits_ARV[..., MASK] = 99.0  # Has no effect.

    assert 17 in decode(lm, REQUESTS, CONFIG)[0].tokens
    for found in decode(lm, REQUESTS, CONFIG, hooks=[Acting("edit_logits", ban)]):
        assert not {17, MASK} & set(found.tokens)


def test_a_hook_chooses_positions():
    def leftmost(view, proposal):
        first_A = proposal.position_AR.masked_fill(~proposal.open_AR, 99).argmin(1)
        return torch.nn.functional.one_hot(first_A, proposal.open_AR.shape[1]).bool()

    for found in decode(TinyLM(), REQUESTS, CONFIG, hooks=[Acting("choose", leftmost)]):
        assert found.trace.position.tolist() == list(range(8))
        assert found.forwards == 8


def test_a_row_in_which_nothing_is_chosen_commits_its_best():
    def nothing(view, proposal):
        return torch.zeros_like(proposal.open_AR)

    plain = decode(TinyLM(), REQUESTS, CONFIG)
    found = decode(TinyLM(), REQUESTS, CONFIG, hooks=[Acting("choose", nothing)])
    assert [one.tokens for one in found] == [one.tokens for one in plain]


def test_a_hook_stops_a_row_and_leaves_the_others():
    def stop(view):
        for row, request in enumerate(view.requests):
            if request == 1 and view.step_A[row] == 3:
                view.stop(row)

    for config in (CONFIG, CONFIG.model_copy(update={"cache": "dual"})):
        found = decode(TinyLM(), REQUESTS, config, hooks=[Acting("after_commit", stop)])
        assert [one.forwards for one in found] == [8, 3, 8]
        assert [one.stopped_early for one in found] == [False, True, False]
        assert len(found[1].trace) == 3


def test_a_hook_masks_again_and_decoding_ends():
    def always(view):
        return ~view.open_AL & ~view.anchored_AL

    def once(view):
        is_third = torch.tensor([step == 3 for step in view.step_A])
        return ~view.open_AL & ~view.anchored_AL & is_third[:, None]

    for config in (CONFIG, CONFIG.model_copy(update={"cache": "dual"})):
        for found in decode(TinyLM(), REQUESTS, config, hooks=[Acting("may_remask", once)]):
            assert (found.forwards, MASK in found.tokens) == (11, False)
            assert sorted(found.trace.position.tolist()) == list(range(8))
    for found in decode(TinyLM(), REQUESTS, CONFIG, hooks=[Acting("may_remask", always)]):
        assert (found.forwards, MASK in found.tokens) == (8 + 8, False)


@pytest.mark.parametrize("cache", ["none", "dual"])
def test_what_is_masked_again_and_anchored_is_an_anchor(cache):
    def mask_all(view):
        is_third = torch.tensor([step == 3 for step in view.step_A])
        return ~view.open_AL & is_third[:, None]

    def anchor(view):
        for row, step in enumerate(view.step_A):
            if step == 3:
                view.anchor_where_open(row, [9] * 6, start=0)
            assert step < 3 or view.anchored_AL[row, :6].all()

    hooks = [Acting("may_remask", mask_all), Acting("before_forward", anchor)]
    config = CONFIG.model_copy(update={"cache": cache})
    for found in decode(TinyLM(), REQUESTS, config, hooks=hooks):
        anchors = found.trace.position[found.trace.step == -1]
        assert anchors.tolist() == list(range(6))
        assert found.trace.confidence[:6].tolist() == [1.0] * 6


def test_every_hooks_positions_are_masked_again_and_open_ones_are_none():
    open_AL = torch.tensor([[False, False, True, False]])
    view = SimpleNamespace(open_AL=open_AL, anchored_AL=torch.zeros_like(open_AL))
    first, second = torch.eye(4, dtype=torch.bool)[[0]], torch.eye(4, dtype=torch.bool)[[1]]
    hooks = [Hook(), *(Acting("may_remask", lambda view, m=m: m) for m in (first, second, open_AL))]
    assert run_remask(hooks, view).tolist() == [[True, True, False, False]]
    assert run_remask(hooks[:1], view) is None and run_remask([], view) is None


def fail(*args):
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize(
    "point",
    ["on_canvas", "before_forward", "edit_logits", "choose", "after_commit", "may_remask"],
)
def test_a_hook_that_raises_is_named(point):
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        decode(TinyLM(), REQUESTS, CONFIG, hooks=[Acting(point, fail)])
    assert caught.value.__notes__ == [f"raised by the hook Acting.{point}"]


def change_anchor(view):
    view.anchor(0, 2, 44)


def mask_everything(view):
    return ~view.open_AL


def mask_an_earlier_block(view):
    wanted = torch.zeros_like(view.open_AL)
    wanted[:, 0] = view.step_A[0] == 5
    return wanted


def choose_everything(view, proposal):
    return torch.ones_like(proposal.open_AR) if view.step_A[0] == 0 else ~proposal.open_AR


def ban_everything(view, position_AR, logits_ARV):
    logits_ARV[...] = -torch.inf


@pytest.mark.parametrize(
    ("point", "act", "message"),
    [
        ("on_canvas", change_anchor, "position 2 holds an anchor"),
        ("after_commit", lambda view: view.anchor(0, 8, 5), "outside the canvas"),
        ("may_remask", mask_everything, "would re-mask an anchor"),
        ("may_remask", mask_an_earlier_block, "only the block that a row is in"),
        ("choose", choose_everything, "not open"),
        ("edit_logits", ban_everything, "no token"),
    ],
)
def test_what_a_hook_must_not_do_is_refused(point, act, message):
    config = CONFIG.model_copy(update={"cache": "dual"})
    request = Request((5, 6), anchors={2: 9})
    with pytest.raises(MidspanError, match=message):
        decode(TinyLM(), [request, Request((5,))], config, hooks=[Acting(point, act)])


def test_a_committed_token_cannot_be_anchored():
    def act(view):
        position = int((~view.open_AL[0]).nonzero()[0, 0])
        view.anchor(0, position, 44)

    with pytest.raises(MidspanError, match="holds a committed token"):
        decode(TinyLM(), REQUESTS, CONFIG, hooks=[Acting("after_commit", act)])


def test_published_samplers_take_no_hooks():
    config = decoding_config(length=8, steps=8, compatibility=True)
    with pytest.raises(MidspanError, match="hooks"):
        decode(TinyLM(), REQUESTS, config, hooks=[Hook()])


def test_the_example_of_the_docs_runs():
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lm = TinyLM(bias={7: 20.0, 9: 19.0, EOS: -50.0})
    scope = {"lm": lm, "requests": REQUESTS, "config": CONFIG, "midspan": midspan}
    for block in blocks:
        exec(block, scope)  # The docs' own code.
    made = scope["generations"]
    assert all(7 not in found.tokens for found in made)
    assert all(found.tokens[:2] == (9, 9) and found.stopped_early for found in made)
