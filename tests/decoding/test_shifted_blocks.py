"""Block diffusion under a logit shift (Fast-dLLM v2), against published runs and a plain loop."""

import json

import pytest
import reference_shifted_blocks as reference
import torch
from fixture_folders import PUBLISHED
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_lm import EOS, MASK, BlockLM
from transformers import AutoModelForCausalLM

import midspan.models  # noqa: F401  (registers the native classes)
from midspan.decoding import Hook, Request, batch, decode, decoding_config, step
from midspan.decoding.decoder import fill
from midspan.decoding.hf import without_tokenizer
from midspan.errors import MidspanError

FOLDER = PUBLISHED / "fast_dllm_v2"
CASES = json.loads((FOLDER / "cases.json").read_text())
RUNS = {run["output"]: run for run in CASES["runs"]}
# With the sub-block cache, whose keys are stale, the published code computes something else.
UNCACHED = [name for name, run in RUNS.items() if not run["use_block_cache"]]
GREEDY = [
    name for name in UNCACHED if name.startswith("generate") and not RUNS[name]["temperature"]
]
BLOCK = {"sampler": "block", "length": 14, "block_length": 4, "steps": 16, "early_stop": False}
PROMPTS = [(5, 6, 7, 8, 9), (11, 12), (21, 22, 23, 24), (31, 32, 33, 34, 35, 36, 37, 38, 39, 41)]
REQUESTS = [Request(prompt, seed=seed) for seed, prompt in enumerate(PROMPTS)]
RULES = [{}, {"threshold": 0.3}, {"sub_block_length": 2}, {"sub_block_length": 2, "threshold": 0.2}]


class ShiftedLM(BlockLM):
    def __init__(self, bias=None):
        super().__init__(bias)
        self.family.logit_shift = True


@pytest.fixture(scope="module")
def tensors():
    return load_file(FOLDER / "cases.safetensors")


@pytest.fixture(scope="module")
def published():
    model = AutoModelForCausalLM.from_pretrained(FOLDER).eval()
    model.config.mask_token_id = CASES["mask_token_id"]
    return without_tokenizer(model)


def fields(run, length):
    sampled = {"temperature": run["temperature"], "top_p": run["top_p"]} if "top_p" in run else {}
    return sampled | {
        "length": length,
        "steps": -(-length // 32) * 32,
        "threshold": run["threshold"],
        "sub_block_length": run["small_block_size"],
    }


def published_run(tensors, run):
    """Prompt, what was generated, and how much: whole blocks and the next one's first token."""
    prompt = tensors[run["prompt"]][0].tolist()
    answer = tensors[run["output"]][0].tolist()[len(prompt) :]
    length = run["max_new_tokens"] // 32 * 32 - len(prompt) % 32 + 1
    assert run["stopped"] or len(answer) == length
    return tuple(prompt), answer, length


@pytest.mark.parametrize(
    ("name", "cache"), [*((name, "prefix") for name in GREEDY), ("generate_2", "none")]
)
def test_generate_as_published(name, cache, published, tensors):
    run = RUNS[name]
    prompt, answer, length = published_run(tensors, run)
    config = decoding_config(published, cache=cache, **fields(run, length))
    (found,) = fill(published, [Request(prompt)], config)
    assert list(found.tokens[: len(answer)]) == answer
    assert found.stopped_early or not run["stopped"]
    assert not run["stopped"] or answer[-1] == CASES["stop_token_id"]


@pytest.mark.parametrize("name", [name for name in GREEDY if not RUNS[name]["stopped"]])
def test_forwards_are_the_published_ones(name, published, tensors):
    run = RUNS[name]
    prompt, _, length = published_run(tensors, run)
    config = decoding_config(published, **fields(run, length - 1))
    (found,) = fill(published, [Request(prompt)], config)
    # The published loop prefills on its own, unless the first token needs that forward anyway,
    # and ends with a forward for the token after the last block.
    prefill = len(prompt) > 32 and len(prompt) % 32 > 0
    assert found.forwards + prefill + 1 == run["forwards"]


def test_a_sampled_run_as_published(published, tensors, monkeypatch):
    """Given the published draws: one exponential a word for each position of the sub-block."""
    run = RUNS["generate_7"]
    prompt, answer, length = published_run(tensors, run)

    def positions(self, rows):
        if rows.start_A[0] % 32 == 0:
            return step.Draws(), self.settings.greedy()
        return step.Draws(rows.position_AR % 8), self.settings

    def sample(probs_ARV, position_AR):
        noise_RV = torch.empty(8, probs_ARV.shape[-1]).exponential_(1)
        return (probs_ARV / noise_RV[position_AR]).argmax(-1)

    monkeypatch.setattr(batch.Batch, "_draws", positions)
    monkeypatch.setattr(step, "sample", sample)
    config = decoding_config(published, **fields(run, length))
    torch.manual_seed(run["torch_manual_seed"])
    (found,) = fill(published, [Request(prompt)], config)
    assert list(found.tokens) == answer
    greedy = decoding_config(published, **fields({**run, "temperature": 0.0}, length))
    assert fill(published, [Request(prompt)], greedy)[0].tokens != found.tokens


@pytest.mark.parametrize("name", [name for name in UNCACHED if name.startswith("mdm")])
def test_batch_sample_as_published(name, published, tensors):
    """Rows are padded on the right there and get different lengths; the tokens are the same."""
    run = RUNS[name]
    rows = zip(tensors["mdm_prompt"].tolist(), run["prompt_lengths"], strict=True)
    requests = [Request(tuple(ids[:size])) for ids, size in rows]
    answers = [
        [token for token in ids[len(request.prompt_ids) :] if token >= 0]
        for ids, request in zip(tensors[name].tolist(), requests, strict=True)
    ]
    assert [len(answer) for answer in answers] == [77, 52, 64]
    found = fill(published, requests, decoding_config(published, **fields(run, 77)))
    for answer, row in zip(answers, found, strict=True):
        assert list(row.tokens[: len(answer)]) == answer


def test_every_published_run_is_covered():
    left_out = {"generate_4", "mdm_1"}
    assert set(GREEDY) | {"generate_7"} | {"mdm_0", "mdm_2"} | left_out == set(RUNS)
    assert all(RUNS[name]["use_block_cache"] for name in left_out)


def assert_equals_reference(lm, requests, config):
    for request, found in zip(requests, decode(lm, requests, config), strict=True):
        canvas, steps = reference.shifted_blocks(lm, request, config)
        assert found.tokens == tuple(canvas)
        trace = found.trace
        commits = dict(zip(trace.position.tolist(), trace.step.tolist(), strict=True))
        assert commits == steps


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_a_ragged_batch_equals_the_plain_loop(cache, rule):
    config = decoding_config(**BLOCK | rule, cache=cache)
    assert_equals_reference(ShiftedLM(), REQUESTS, config)


@settings(max_examples=6, deadline=None)
@given(
    anchors=st.dictionaries(st.integers(0, 13), st.integers(3, 50), max_size=14),
    rule=st.sampled_from(RULES),
)
def test_anchors_also_at_a_blocks_first_place(anchors, rule):
    requests = [Request(PROMPTS[0], anchors=anchors), Request(PROMPTS[2], anchors={0: 9, 4: 8})]
    assert_equals_reference(ShiftedLM(), requests, decoding_config(**BLOCK | rule))


@pytest.mark.parametrize(
    "rule", [*RULES, {"temperature": 1.0, "top_k": 5}, {"temperature": 0.8, "remasking": "random"}]
)
def test_the_cache_is_exact_and_rows_do_not_depend_on_each_other(rule):
    lm = ShiftedLM()
    lm.family.cumulative_positions = True
    cached = decoding_config(**BLOCK | rule)
    whole = decode(lm, REQUESTS, cached.model_copy(update={"cache": "none"}))
    for request, one, two in zip(REQUESTS, decode(lm, REQUESTS, cached), whole, strict=True):
        alone = decode(lm, [request], cached)[0]
        assert one.tokens == two.tokens == alone.tokens
        assert one.forwards == two.forwards == alone.forwards
        assert sorted(one.trace.position.tolist()) == list(range(14))


def test_a_blocks_first_token_is_greedy_at_any_temperature():
    lm, request = ShiftedLM(), Request(PROMPTS[2], seed=3)
    hot = decode(lm, [request], decoding_config(**BLOCK, temperature=50.0))[0]
    ids = [*request.prompt_ids, *hot.tokens]
    for first in (4, 8, 12):
        row = lm.logits(torch.tensor([ids[:first]]), rows=torch.tensor([first]))[0, 0]
        row[MASK] = -torch.inf
        assert ids[first] == int(row.argmax())
        confidence = hot.trace.confidence[hot.trace.position.tolist().index(first - 4)]
        assert confidence == pytest.approx(float(row.softmax(-1).max()), abs=1e-5)


def test_each_position_goes_through_the_cache_once_when_it_is_final():
    lm = ShiftedLM()
    found = decode(lm, [Request(tuple(range(3, 43)))], decoding_config(**BLOCK | {"length": 8}))
    # The prompt gives the first token; its block is fed three times and once when it is full.
    assert found[0].forwards == 8
    assert lm.fed == 40 + 3 * 4 + 4 + 3 * 4


def test_a_row_stops_at_its_end_token():
    lm = ShiftedLM(bias={EOS: 5.0})
    full = decode(lm, REQUESTS, decoding_config(**BLOCK))
    short = decode(lm, REQUESTS, decoding_config(**BLOCK | {"early_stop": True}))
    assert any(part.stopped_early for part in short)
    assert [part.text for part in short] == [whole.text for whole in full]


class ReopenFirst(Hook):
    """Opens the first position of the second block again, once."""

    def __init__(self):
        self.done = False

    def may_remask(self, view):
        tokens_AL = torch.zeros_like(view.open_AL)
        if not self.done and not view.open_AL[0, 4:7].any() and view.open_AL[0, 7]:
            tokens_AL[0, 4] = self.done = True
        return tokens_AL


@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_a_hook_may_open_a_blocks_first_place_again(cache):
    lm, config = ShiftedLM(), decoding_config(**BLOCK | {"length": 8, "cache": cache})
    request = Request(PROMPTS[2], anchors={5: 7, 6: 8})
    hook = ReopenFirst()
    plain = decode(lm, [request], config)[0]
    again = decode(lm, [request], config, hooks=[hook])[0]
    assert hook.done
    assert again.tokens == plain.tokens
    assert again.forwards == plain.forwards + 1


def test_what_it_cannot_do_is_refused():
    with pytest.raises(MidspanError, match="editing_threshold: family tiny has a logit shift"):
        decode(ShiftedLM(), REQUESTS, decoding_config(**BLOCK, editing_threshold=0.5))
    with pytest.raises(MidspanError, match="sub_block_length=3 must divide block_length=4"):
        decoding_config(**BLOCK, sub_block_length=3)
    with pytest.raises(MidspanError, match="editing_threshold needs sub_block_length=None"):
        decoding_config(**BLOCK, sub_block_length=2, editing_threshold=0.5)
    with pytest.raises(MidspanError, match="sub_block_length: not a field of sampler 'llada'"):
        decoding_config(sub_block_length=2)


def test_the_keys_of_earlier_replies_hold():
    assert "sub_block_length" not in decoding_config(**BLOCK).model_dump()
    assert decoding_config(**BLOCK, sub_block_length=2).model_dump()["sub_block_length"] == 2
