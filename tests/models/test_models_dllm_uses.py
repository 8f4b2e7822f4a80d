"""All that midspan does with a model, done with A2D and ModernBERT-chat."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dllm_folders import write_folder
from safetensors.torch import load_file

from midspan.alignment import AlignmentData, MosaObjective, align, mosa
from midspan.alignment.objectives.sft import SftObjective
from midspan.alignment.policy import Policy
from midspan.data import Example, PhraseSets
from midspan.decoding import ANCHOR_STEP, Hook, Request, decode, decoding_config
from midspan.engine.calls import Score
from midspan.engine.whitebox import readings, score
from midspan.models import DiffusionLM, load
from midspan.models.merging import merge, publish_adapter
from midspan.probes.activations import read_states
from midspan.scoring.continuations import MultipleChoice, score_choices
from midspan.scoring.gcg_step import GCG, GCGConfig
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.likelihood import phrase_score
from midspan.scoring.suffix import SuffixPrompt, append_suffix

MODELS = {
    **{name: (name, {}) for name in ("a2d-qwen3", "a2d-qwen2", "a2d-llama", "modernbert_chat")},
    **{
        f"{name}-blocks": (name, {"block_size": 8})
        for name in ("a2d-qwen3", "a2d-qwen2", "a2d-llama")
    },
}
PHRASES = PhraseSets(("w20 w21",), ("the next step is",), ("w22",))
ANSWER = "write the poem w30 w31 w32 w33 w34 w35 w36 w37 w38"
DATA = AlignmentData((Example("write a poem", ANSWER), Example("w30 w31", ANSWER)), (), PHRASES)
IDS = torch.tensor([list(range(20, 36))])


def folder(tmp_path: Path, name: str) -> Path:
    family, fields = MODELS[name]
    return write_folder(tmp_path / "base", family, **fields)


def lora(lm: DiffusionLM, path: Path) -> None:
    """An adapter on all target modules, its weights random."""
    from peft import LoraConfig, get_peft_model

    targets = list(lm.family.lora_targets)
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    get_peft_model(lm.model, config).save_pretrained(path)


@pytest.mark.parametrize("name", MODELS)
def test_generate_with_anchors_and_a_trace(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    config = decoding_config(lm, length=16, steps=8, early_stop=False)
    requests = [Request(tuple(lm.encode_chat("write a poem")), {3: 40, 9: 41}), Request((33, 34))]
    both = decode(lm, requests, config)
    for request, row in zip(requests, both, strict=True):
        assert sorted(row.trace.position.tolist()) == list(range(16))
        assert [row.tokens[position] for position in request.anchors] == [*request.anchors.values()]
        anchored = row.trace.position[row.trace.step == ANCHOR_STEP]
        assert set(anchored.tolist()) == set(request.anchors)
        assert decode(lm, [request], config)[0].tokens == row.tokens
        assert lm.tokens.mask not in row.tokens


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_mosa(name: str, tmp_path: Path) -> None:
    base = folder(tmp_path, name)
    lm = load(base, device="cpu")
    before = lm.logits(IDS)
    config = mosa(
        objective=MosaObjective(window=(2, 6), beta=0.01),
        batch_size=2,
        num_prompts=2,
        response_length=16,
        learning_rate=1e-2,
        max_grad_norm=1.0,
        lora_rank=2,
        gradient_checkpointing=True,
    )
    align(lm, DATA, config, tmp_path / "adapter")
    assert torch.equal(lm.logits(IDS), before)
    stored = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert all(
        key.split(".lora_")[0].rpartition(".")[2] in lm.family.lora_targets for key in stored
    )
    aligned = load(base, adapter=tmp_path / "adapter", device="cpu")
    assert (aligned.logits(IDS) - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_is_merged_and_published(name: str, tmp_path: Path) -> None:
    base = folder(tmp_path, name)
    lora(load(base, device="cpu"), tmp_path / "adapter")
    spec = f"{base}+{tmp_path / 'adapter'}"
    adapted = load(spec, device="cpu")
    with adapted.adapter_disabled():
        torch.testing.assert_close(adapted.logits(IDS), load(base, device="cpu").logits(IDS))
    merged = load(merge(spec, tmp_path / "merged"), device="cpu")
    assert merged.family is adapted.family
    assert merged.block_length == adapted.block_length
    torch.testing.assert_close(merged.logits(IDS), adapted.logits(IDS), atol=2e-4, rtol=0)
    assert (merged.logits(IDS) - load(base, device="cpu").logits(IDS)).abs().max() > 1e-2
    stored = [load_file(f / "model.safetensors").keys() for f in (base, tmp_path / "merged")]
    assert stored[0] == stored[1]
    published = load(f"{base}+{publish_adapter(spec, tmp_path / 'published')}", device="cpu")
    assert torch.equal(published.logits(IDS), adapted.logits(IDS))


@pytest.mark.parametrize("name", MODELS)
def test_activations_are_those_of_one_row_alone(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    layers = [0, len(lm.base.model.layers)]
    requests = [Request((20, 21, 22)), Request((23, 24))]
    canvases = [[lm.tokens.mask] * 16, [30, *[lm.tokens.mask] * 15]]
    context = SimpleNamespace(lm=lm, batch_size=2)
    both = read_states(context, requests, canvases, (layers, [-1, 0, 5]))
    for row, request in enumerate(requests):
        alone = read_states(context, [request], [canvases[row]], (layers, [-1, 0, 5]))
        torch.testing.assert_close(both[row : row + 1], alone, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_a_prompt_token_is_the_slope(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu", dtype=torch.float64)
    goal, prompt, place = Goal((40, 41), 2, 16), [20, 21, 22], 1
    gradient_V = token_gradient(lm, prompt, [place], goal)[0]
    embedding = lm.base.get_input_embeddings()
    direction = embedding.weight[50] - embedding.weight[prompt[place]]
    losses = []
    for size in (-3e-3, 3e-3):

        def moved(module, arguments, output, size=size):
            output[:, place] += size * direction
            return output

        handle = embedding.register_forward_hook(moved)
        losses.append(float(phrase_losses(lm, [prompt], [goal], 1)[0]))
        handle.remove()
    slope = (losses[1] - losses[0]) / 6e-3
    assert slope == pytest.approx(float(gradient_V[50] - gradient_V[prompt[place]]), rel=5e-2)
    assert abs(slope) > 1e-4


@pytest.mark.parametrize("name", ["a2d-qwen3", "modernbert_chat"])
def test_compiled_parts_give_the_same_tokens(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    config = decoding_config(lm, length=16, steps=8)
    expected = decode(lm, [Request((20, 21, 22))], config)[0].tokens
    graphs = []
    lm.compile(backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    assert decode(lm, [Request((20, 21, 22))], config)[0].tokens == expected
    assert graphs


class _First(Hook):
    """Keeps the first step's log-probability of token 40 at the canvas's start."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def edit_logits(self, view, position_AR, logits_ARV) -> None:
        self.seen.append(float(logits_ARV[0, 0].log_softmax(-1)[40]))


def test_what_is_scored_is_what_the_decoder_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiffusionLM, "unspelled", ())
    lm = load(folder(tmp_path, "a2d-qwen3-blocks"), device="cpu")
    prompt, goal = [20, 21, 22], Goal((40,), 0, 16)
    config, first = decoding_config(lm, length=16, steps=16, early_stop=False), _First()
    decode(lm, [Request(tuple(prompt))], config, hooks=[first])
    (loss,) = phrase_losses(lm, [prompt], [goal], 1).tolist()
    # The hook does not see the mask token's share, which is small.
    assert -loss == pytest.approx(first.seen[0], abs=1e-3)
    single = phrase_score(lm, prompt, [40], 0, 16).value
    assert single == pytest.approx(-loss, abs=1e-4)
    choice = MultipleChoice(tuple(prompt), ((40,),))
    (scored,) = score_choices(lm, [choice])
    ids = torch.tensor([[*prompt, lm.tokens.mask]])
    alone_V = lm.logits(ids, canvas=3).detach()[0, -1].log_softmax(-1)
    assert scored.answers[0].value == pytest.approx(float(alone_V[40]), abs=1e-4)


@pytest.mark.parametrize("name", ["a2d-qwen3-blocks", "modernbert_chat"])
def test_alignment_scores_with_the_head_of_the_model(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    if name == "modernbert_chat":
        torch.nn.init.normal_(lm.base.decoder.bias)
    ids_BT = torch.tensor([[20, 21, 22, *[lm.tokens.mask] * 16]])
    masked = torch.ones(1, 16, dtype=torch.bool)
    batch = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT), "masked": masked}
    objective = SftObjective()
    states = Policy(lm, objective)._states(batch, objective)
    tokens = torch.arange(40, 56).view(1, 16, 1)
    found = states.score(masked, tokens).logp_BLK[0, :, 0]
    expected = lm.logits(ids_BT, canvas=3)[0, 3:].log_softmax(-1).gather(-1, tokens[0])[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["a2d-qwen3", "a2d-llama-blocks", "modernbert_chat"])
def test_a_step_of_the_suffix_search_goes_down(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    prompt = SuffixPrompt.create(lm, partial(append_suffix, "write a poem"), "the next")
    goal = Goal((40, 41), 0, 16)
    config = GCGConfig(search_width=32, top_k=64, ascii_only=False, initial="the next")
    found = GCG(lm, config).step(prompt, goal, 0)
    (before,) = phrase_losses(lm, [prompt.ids], [goal], 1).tolist()
    assert found.loss < before
    assert len(found.suffix_ids) == len(prompt.suffix_ids)


@pytest.mark.parametrize("name", ["a2d-qwen3-blocks", "modernbert_chat"])
def test_scored_calls_are_the_likelihoods(name: str, tmp_path: Path) -> None:
    lm = load(folder(tmp_path, name), device="cpu")
    messages = ({"role": "user", "content": "write a poem"},)
    prompt, other = lm.encode_chat(messages), lm.encode_chat("w40 w41 w42 w43")
    call = Score(messages, "w30 w31", start=3)
    rows = [(call, readings(lm, call, ids, {}, 16)) for ids in (prompt, other)]
    for ids, reply in zip((prompt, other), score(lm, rows, batch_size=2), strict=True):
        values = [value for _, value, _ in reply.raw["tokens"]]
        expected = phrase_score(lm, ids, lm.encode_phrase("w30 w31"), 3, 16).value
        assert sum(values) == pytest.approx(expected, abs=1e-3)
