"""Logits that are not finite: such a row is no answer, and those beside it are what they were."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from tiny_lm import EOS, EOT, VOCAB, BlockLM, TinyLM

from midspan.decoding import BrokenRowsError, Hook, Request, decode, decoding_config, generate_hf
from midspan.decoding.canvas import Copies
from midspan.decoding.chat import folded
from midspan.decoding.rule import as_rule
from midspan.errors import MidspanError
from midspan.models.finite import NOT_FINITE, faults

BROKEN = 55  # A token whose embedding is spoiled, and which no row commits.
BASE = {"length": 8, "block_length": 4, "steps": 4, "early_stop": False}
DREAM = {"sampler": "dream", "length": 8, "steps": 4}
PUBLISHED = {**BASE, "compatibility": True}
MODES: dict[str, dict[str, Any]] = {
    "none": BASE,
    "threshold": BASE | {"threshold": 0.3, "remasking": "margin"},
    "factor": BASE | {"factor": 0.8, "remasking": "margin"},
    "doubt": BASE | {"doubt": 0.5, "revise": 0.5},
    "prefix": BASE | {"cache": "prefix"},
    "dual, sampled": BASE | {"cache": "dual", "temperature": 1.0},
    "random, guided": BASE | {"remasking": "random", "guidance": 0.5, "temperature": 1.0},
    "fixed": BASE | {"shapes": "fixed"},
    "fixed, dual": BASE | {"shapes": "fixed", "cache": "dual", "temperature": 1.0},
    "dream": DREAM | {"temperature": 0.7, "top_p": 0.9, "alg_temp": 0.5},
    "dream, top k": DREAM | {"temperature": 0.7, "top_k": 5, "remasking": "origin"},
}
# In these a row's draws, or how much it commits, depend on the rows beside it.
ALONE: dict[str, dict[str, Any]] = {
    "llada": PUBLISHED | {"remasking": "random", "temperature": 1.0},
    "dllm": PUBLISHED | {"schedule": "linear"},
    "dream": DREAM | {"compatibility": True, "temperature": 0.7, "top_p": 0.9, "alg_temp": 0.5},
    "dream, origin": DREAM | {"compatibility": True, "temperature": 0.7, "remasking": "origin"},
}
# The broken row has the longest prompt and leaves first; others take its place.
PROMPTS = [(5, 6, 7), (9, BROKEN, 10, 11, 12, 13), (14, 15), (16, 17, 18, 19), (20,)]
REQUESTS = [Request(prompt, seed=row) for row, prompt in enumerate(PROMPTS)]


def spoiled(lm: TinyLM, value: float = float("nan")) -> TinyLM:
    """A model that reads one token as a number that is none."""
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[BROKEN] = value
    return lm


def lm_of(kind: type[TinyLM] = TinyLM) -> TinyLM:
    return kind(bias={BROKEN: -100.0})


def facts(generation) -> tuple[Any, ...]:
    trace = generation.trace.to_dict()
    return generation.tokens, generation.text, generation.forwards, *trace.values()


def generations_of(lm: TinyLM, fields: dict[str, Any], **options: Any):
    with pytest.raises(BrokenRowsError, match="logits are not finite; run midspan doctor") as found:
        decode(lm, REQUESTS, decoding_config(**fields), **options)
    return found.value.generations


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("mode", MODES)
def test_a_broken_row_leaves_the_others_as_they_were(mode: str, size: int) -> None:
    sound = decode(lm_of(), REQUESTS, decoding_config(**MODES[mode]), batch_size=size)
    found = generations_of(spoiled(lm_of()), MODES[mode], batch_size=size)
    assert [one.is_broken for one in found] == [False, True, False, False, False]
    assert len(found[1].trace) == 0, "nothing is committed"
    kept = [row for row, one in enumerate(found) if not one.is_broken]
    assert [found[row].tokens for row in kept] == [sound[row].tokens for row in kept]
    assert [found[row].text for row in kept] == [sound[row].text for row in kept]
    assert [found[row].trace.step.tolist() for row in kept] == [
        sound[row].trace.step.tolist() for row in kept
    ]


@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_so_does_one_under_block_diffusion(cache: str) -> None:
    fields = {"sampler": "block", "length": 8, "block_length": 4, "steps": 4, "cache": cache}
    sound = decode(lm_of(BlockLM), REQUESTS, decoding_config(**fields), batch_size=2)
    found = generations_of(spoiled(lm_of(BlockLM)), fields, batch_size=2)
    assert [one.is_broken for one in found] == [False, True, False, False, False]
    assert [facts(found[row])[:2] for row in (0, 2, 3, 4)] == [
        facts(sound[row])[:2] for row in (0, 2, 3, 4)
    ]


@pytest.mark.parametrize("mode", ALONE)
def test_the_published_samplers_tell_it_too(mode: str) -> None:
    torch.manual_seed(0)
    found = generations_of(spoiled(lm_of()), ALONE[mode])
    assert [one.is_broken for one in found] == [False, True, False, False, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_single_logit_is_enough(value: float) -> None:
    with pytest.raises(MidspanError, match=NOT_FINITE):
        decode(TinyLM(bias={9: value}), REQUESTS[:1], decoding_config(**BASE))


def test_tokens_at_minus_infinity_are_none_of_it() -> None:
    ruled_out = dict.fromkeys(range(20, VOCAB), -torch.inf)
    (found,) = decode(TinyLM(bias=ruled_out), REQUESTS[:1], decoding_config(**BASE))
    assert max(found.tokens) < 20
    every = dict.fromkeys(range(VOCAB), -torch.inf)
    with pytest.raises(BrokenRowsError):
        decode(TinyLM(bias=every), REQUESTS[:1], decoding_config(**BASE))


def test_faults_are_those_of_a_plain_look() -> None:
    nan, inf = float("nan"), float("inf")
    logits_ARV = torch.tensor([
        [[1.0, 2.0], [-inf, 0.0]],
        [[nan, 2.0], [1.0, nan]],
        [[inf, 0.0], [inf, nan]],
        [[-inf, -inf], [0.0, 0.0]],
    ])  # fmt: skip
    found = faults(logits_ARV)
    assert found.isnan().tolist() == [[False, False], [True, True], [True, True], [True, False]]
    assert found.nan_to_num().eq(0).all()


class Forced(Hook):
    """Lets nothing but one token stay, as a rule that forces a refusal does."""

    def edit_logits(self, view, position_AR, logits_ARV) -> None:
        assert not logits_ARV.isnan().any(), "hooks see no number that is none"
        logits_ARV[..., :7] = -torch.inf
        logits_ARV[..., 8:] = -torch.inf


def test_a_hook_neither_hides_it_nor_meets_it() -> None:
    found = generations_of(spoiled(lm_of()), BASE, hooks=[Forced()])
    assert [one.is_broken for one in found] == [False, True, False, False, False]
    assert all(set(found[row].tokens) == {7} for row in (0, 2, 3, 4))


def test_it_is_told_where_it_begins_after_some_steps() -> None:
    """As an overflow that only some canvases meet."""
    first = {7: 9, 3: 9}
    late = Request((5, 6), anchors=first)
    lm = TinyLM(bias={BROKEN: 100.0, EOS: -100.0, EOT: -100.0})
    with pytest.raises(BrokenRowsError) as found:
        decode(spoiled(lm), [late], decoding_config(**BASE))
    (broken,) = found.value.generations
    assert broken.is_broken and broken.forwards == 2
    assert BROKEN in broken.tokens


def test_a_vote_with_a_broken_part_is_none() -> None:
    lm = spoiled(lm_of())
    rule = as_rule("smoothllm")
    copies = Copies(rule, (PROMPTS[0], PROMPTS[1]))
    with pytest.raises(BrokenRowsError) as found:
        decode(lm, [Request(PROMPTS[0], copies=copies), REQUESTS[2]], decoding_config(**BASE))
    assert [one.is_broken for one in found.value.generations] == [True, False]
    assert folded(lm, REQUESTS[2:3], 8, found.value.generations[1:])[0].text


def test_generate_of_the_native_classes_refuses_it(organism_lm) -> None:
    model = deepcopy(organism_lm.base)
    with torch.no_grad():
        next(model.parameters())[:] = float("nan")
    with pytest.raises(MidspanError, match=NOT_FINITE):
        generate_hf(model, torch.tensor([[5, 6, 7]]), length=8, block_length=8, steps=4)
