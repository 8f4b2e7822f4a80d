"""All that midspan does with a model, done with Fast-dLLM v2 in blocks of 8."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from blocks_reference import write_checkpoint
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from midspan.alignment.objectives.sft import SftObjective
from midspan.alignment.policy import Policy
from midspan.decoding import ANCHOR_STEP, Request, decode, decoding_config
from midspan.models import load
from midspan.models.merging import merge, publish_adapter
from midspan.probes.activations import read_states
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient

IDS = torch.tensor([list(range(20, 40))])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "base", "fast_dllm_v2", bd_size=8)


def test_generate_with_anchors_and_a_trace(folder: Path) -> None:
    lm = load(folder, device="cpu")
    config = decoding_config(lm, length=20, early_stop=False)
    assert (config.sampler, config.block, config.sub_block_length, config.threshold) == (
        "block",
        8,
        8,
        0.95,
    )
    prompt = lm.encode_chat("write a poem")
    # The second request's canvas begins at a border, so its first places are 0, 8 and 16.
    requests = [
        Request(tuple(prompt), {3: 40, 9: 41}),
        Request(tuple(range(20, 28)), {0: 33, 8: 34}),
    ]
    for request, row in zip(requests, decode(lm, requests, config), strict=True):
        assert sorted(row.trace.position.tolist()) == list(range(20))
        assert [row.tokens[position] for position in request.anchors] == [*request.anchors.values()]
        anchored = row.trace.position[row.trace.step == ANCHOR_STEP]
        assert set(anchored.tolist()) == set(request.anchors)
        assert decode(lm, [request], config)[0].tokens == row.tokens
        assert lm.tokens.mask not in row.tokens


def test_generate_of_the_class(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.mask_token_id = 60
    fields = {"sub_block_length": 4, "threshold": 0.9, "early_stop": False}
    made = model.generate(IDS, max_new_tokens=12, **fields)
    lm = load(folder, device="cpu")
    request = Request(tuple(IDS[0].tolist()))
    found = decode(lm, [request], decoding_config(lm, length=12, **fields))[0]
    assert made[0].tolist() == [*request.prompt_ids, *found.tokens]


def test_alignment_reads_the_rows_that_decoding_reads(folder: Path) -> None:
    """A response that begins in the middle of a block and goes over a border; the first is done."""
    lm = load(folder, device="cpu")
    prompt, mask = [20, 21, 22, 23, 24], lm.tokens.mask
    response = [30, 31, 32, *[mask] * 8, *[mask] * 5]
    ids_BT = torch.tensor([[*prompt, *response]])
    masked = torch.tensor([response]) == mask
    batch = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT), "masked": masked}
    objective = SftObjective()
    states = Policy(lm, objective)._states(batch, objective)
    tokens = torch.arange(40, 56).view(1, 16, 1)
    found = states.score(masked, tokens).logp_BLK[0, :, 0].detach()
    # The border lies at the response's fourth token: all that predicts it is finished.
    with torch.no_grad():
        done = lm.base(ids_BT[:, :8]).logits[0, -1].log_softmax(-1)
        inside = lm.base(ids_BT[:, :16]).logits[0].log_softmax(-1)
    assert found[3] == pytest.approx(float(done[43]), abs=1e-4)
    for position in range(4, 11):
        row = inside[len(prompt) + position - 1]
        assert found[position] == pytest.approx(float(row[40 + position]), abs=1e-4)


def test_an_adapter_is_merged_and_published(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    lm = load(folder, device="cpu")
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=list(lm.family.lora_targets), init_lora_weights=False)
    get_peft_model(lm.model, lora).save_pretrained(tmp_path / "adapter")
    spec = f"{folder}+{tmp_path / 'adapter'}"
    adapted, plain = load(spec, device="cpu"), load(folder, device="cpu")
    merged = load(merge(spec, tmp_path / "merged"), device="cpu")
    assert (merged.family, merged.block_length) == (plain.family, 8)
    torch.testing.assert_close(merged.logits(IDS), adapted.logits(IDS), atol=2e-4, rtol=0)
    assert (merged.logits(IDS) - plain.logits(IDS)).abs().max() > 1e-2
    stored = [load_file(f / "model.safetensors").keys() for f in (folder, tmp_path / "merged")]
    assert stored[0] == stored[1]
    published = load(f"{folder}+{publish_adapter(spec, tmp_path / 'published')}", device="cpu")
    assert torch.equal(published.logits(IDS), adapted.logits(IDS))


def test_activations_are_those_of_one_row_alone(folder: Path) -> None:
    lm = load(folder, device="cpu")
    requests = [Request((20, 21, 22)), Request((23, 24))]
    canvases = [[lm.tokens.mask] * 16, [30, *[lm.tokens.mask] * 15]]
    context = SimpleNamespace(lm=lm, batch_size=2)
    both = read_states(context, requests, canvases, ([0, 2], [-1, 0, 5]))
    for row, request in enumerate(requests):
        alone = read_states(context, [request], [canvases[row]], ([0, 2], [-1, 0, 5]))
        torch.testing.assert_close(both[row : row + 1], alone, atol=2e-4, rtol=0)


def test_the_gradient_of_a_prompt_token_is_the_slope(folder: Path) -> None:
    lm = load(folder, device="cpu", dtype=torch.float64)
    # Over a border: the prompt's five tokens and the phrase's first three fill a block.
    goal, prompt, place = Goal((40, 41, 42, 43, 44), 0, 16), [20, 21, 22, 23, 24], 1
    gradient_V = token_gradient(lm, prompt, [place], goal)[0]
    embedding = lm.base.get_input_embeddings()
    direction = embedding.weight[50] - embedding.weight[prompt[place]]
    losses = []
    for size in (-1e-3, 1e-3):

        def moved(module, arguments, output, size=size):
            output[:, place] += size * direction
            return output

        handle = embedding.register_forward_hook(moved)
        losses.append(float(phrase_losses(lm, [prompt], [goal], 1)[0]))
        handle.remove()
    slope = (losses[1] - losses[0]) / 2e-3
    assert slope == pytest.approx(float(gradient_V[50] - gradient_V[prompt[place]]), rel=2e-2)
    assert abs(slope) > 1e-4
