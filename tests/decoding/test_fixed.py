"""Steps of fixed shapes against the ordinary ones, and against themselves in other company."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_lm import EOS, BlockLM, TinyLM
from torch.utils._python_dispatch import TorchDispatchMode

from midspan.decoding import Request, decode, decoding_config, fixed
from midspan.decoding.fixed import FixedStream
from midspan.decoding.fixed_frame import bucket
from midspan.errors import MidspanError

BASE = {"length": 8, "block_length": 4, "steps": 4}
MODES: dict[str, dict[str, Any]] = {
    "none": BASE,
    "none, threshold": BASE | {"threshold": 0.3},
    "prefix": BASE | {"cache": "prefix"},
    "prefix, threshold": BASE | {"cache": "prefix", "threshold": 0.3, "remasking": "margin"},
    "dual": BASE | {"cache": "dual", "refresh_every": 2},
    "dual, threshold": BASE | {"cache": "dual", "threshold": 0.3},
    "dual, factor": BASE | {"cache": "dual", "factor": 0.8, "early_stop": False},
    "sampled": BASE | {"cache": "dual", "temperature": 1.0},
    "random": BASE | {"remasking": "random", "guidance": 0.5},
    "linear": BASE | {"schedule": "linear", "steps": 5, "eos_policy": "suppress_confidence"},
    "dream": {"sampler": "dream", "length": 8, "steps": 3, "alg_temp": 0.5, "top_p": 0.9},
    "dream, ends last": {
        "sampler": "dream", "length": 8, "steps": 3, "alg_temp": 0.2,
        "eos_policy": "suppress_confidence",
    },
    "dream, origin": {"sampler": "dream", "length": 8, "steps": 3, "remasking": "origin"},
}  # fmt: skip
# Two widths of prompts, most of them filled up.
SIZES = (3, 40, 7, 33, 12)


def requests() -> list[Request]:
    generator = torch.Generator().manual_seed(0)
    return [
        Request(
            tuple(torch.randint(3, 50, (size,), generator=generator).tolist()),
            seed=size,
            anchors={5: 9, 6: EOS} if size == 7 else {},
        )
        for size in SIZES
    ]


def lm_of(shift: bool = False, dtype: torch.dtype = torch.float32) -> TinyLM:
    lm = TinyLM(shift, bias={EOS: 0.5})
    lm.model.to(dtype)
    return lm


def facts(generation) -> tuple[Any, ...]:
    trace = generation.trace
    where = (trace.position.tolist(), trace.step.tolist())
    return generation.tokens, *where, generation.forwards, generation.stopped_early


@torch.inference_mode()
def streamed(lm, config, rows, late: int, size: int = 3) -> dict[int, Any]:
    """Rows by number, entering as places are free; what steps did is read so many steps late."""
    stream, left, waiting = FixedStream(lm, config, [], size, late), {}, list(rows)
    while waiting or stream.rows:
        entering = [waiting.pop(0) for _ in range(min(stream.free, len(waiting)))]
        stream.enter(requests(), entering)
        left |= dict(stream.settle())
        if stream.rows:
            stream.advance()
    return left


@pytest.mark.parametrize(
    ("mode", "shift"),
    [*((mode, False) for mode in MODES), ("none", True), ("prefix", True), ("dual", True)],
)
def test_tokens_and_traces_are_those_of_ordinary_steps(mode: str, shift: bool) -> None:
    lm, fields = lm_of(shift), MODES[mode]
    ragged = decode(lm, requests(), decoding_config(**fields), batch_size=3)
    config = decoding_config(**fields, shapes="fixed")
    found = decode(lm, requests(), config, batch_size=3)
    assert list(map(facts, found)) == list(map(facts, ragged))
    for one, other in zip(found, ragged, strict=True):
        torch.testing.assert_close(
            *(torch.from_numpy(each.trace.confidence) for each in (one, other)),
            rtol=1e-4, atol=1e-5,
        )  # fmt: skip
    # As on a GPU, where the host goes on before it has read.
    late = streamed(lm, config, range(len(SIZES)), late=1)
    assert [late[row].tokens for row in range(len(SIZES))] == [one.tokens for one in ragged]
    assert [late[row].forwards for row in range(len(SIZES))] == [one.forwards for one in ragged]


def bits(filled) -> tuple[Any, ...]:
    return filled.tokens, filled.trace.step.tolist(), filled.trace.confidence.tobytes()


@pytest.mark.parametrize("mode", ["none, threshold", "prefix", "dual, threshold"])
def test_in_half_precision_no_row_depends_on_its_company(mode: str) -> None:
    lm = lm_of(dtype=torch.bfloat16)
    config = decoding_config(**MODES[mode], shapes="fixed")
    rows = list(range(len(SIZES)))
    whole = streamed(lm, config, rows, late=0, size=8)
    others = [[0], [1], rows[2:], [3, 1, 4, 0, 2]]
    for chosen in others:
        found = streamed(lm, config, chosen, late=0, size=8)
        assert {row: bits(one) for row, one in found.items()} == {
            row: bits(whole[row]) for row in chosen
        }


class NoReads(TorchDispatchMode):
    """Fails where a size or the host depends on a value; counts the shapes of all operations."""

    READS = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "item"}

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[Any]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in self.READS, name
        found = function(*args, **(kwargs or {}))
        self.steps[-1].append((name, getattr(found, "shape", None)))
        return found


@pytest.mark.parametrize("mode", ["prefix", "dual, threshold", "sampled"])
def test_steps_of_a_kind_are_the_same_operations_on_the_same_shapes(mode: str) -> None:
    lm, kinds = lm_of(dtype=torch.bfloat16), {}
    step, watched = fixed.fixed_step, NoReads()

    def noted(network, rules, slots, kept, slot_A, feed):
        watched.steps.append([])
        with watched:
            found = step(network, rules, slots, kept, slot_A, feed)
        kind = slots.ids_ST.shape, feed, slot_A.shape
        assert kinds.setdefault(kind, watched.steps[-1]) == watched.steps[-1]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixed, "fixed_step", noted)
        decode(lm, requests(), decoding_config(**MODES[mode], shapes="fixed"), batch_size=3)
    # Everything, and a window for each block or for all, at two widths of prompts.
    assert len(watched.steps) > len(kinds) and len(kinds) <= 2 * (3 if mode == "prefix" else 2)


def test_prompts_are_padded_to_few_widths_by_their_own_length() -> None:
    widths = [bucket(tokens) for tokens in range(1, 4097)]
    assert all(width >= tokens for tokens, width in enumerate(widths, 1))
    assert widths == sorted(widths) and len(set(widths)) < 50
    assert all(width <= tokens + max(31, tokens // 8) for tokens, width in enumerate(widths, 1))


def test_callbacks_see_what_a_step_committed() -> None:
    views, before = [], {}
    config = decoding_config(**MODES["dual, threshold"], shapes="fixed")

    def on_step(view) -> None:
        views.append(view.step)
        for row, tokens, committed in zip(
            view.rows, view.tokens_BL.clone(), view.committed_BL, strict=True
        ):
            if row in before:
                assert torch.equal(tokens != before[row], committed)
            before[row] = tokens

    decode(lm_of(), requests(), config, batch_size=3, on_step=on_step)
    assert views == list(range(len(views))) and len(before) == len(SIZES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"compatibility": True, "shapes": "fixed"}, "needs compatibility=False"),
        ({"schedule": "linear", "length": 10, "block_length": 4, "shapes": "fixed"}, "divides"),
        ({"cache": "dual", "trim": True, "shapes": "fixed"}, "needs trim=False"),
        ({"sampler": "dream", "top_p": 0.9, "shapes": "compiled"}, "needs top_p=None"),
        ({"sampler": "block", "shapes": "fixed"}, "shapes: not a field of sampler 'block'"),
        ({"shapes": "square"}, "shapes: must be one of"),
    ],
)
def test_what_has_no_fixed_shapes_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MidspanError, match=message):
        decoding_config(**fields)


def test_a_model_or_a_rule_without_them_is_refused() -> None:
    config = decoding_config(length=8, steps=8, shapes="fixed")
    with pytest.raises(MidspanError, match="full attention, and family tiny is none"):
        decode(BlockLM(), [Request((5,))], config)
    hook = SimpleNamespace(layers=())
    with pytest.raises(MidspanError, match="takes no hooks"):
        decode(lm_of(), [Request((5,))], config, hooks=[hook])


def test_earlier_keys_hold() -> None:
    for sampler in ("llada", "dream"):
        assert "shapes" not in decoding_config(sampler=sampler).model_dump()
    assert decoding_config(shapes="fixed").model_dump()["shapes"] == "fixed"
