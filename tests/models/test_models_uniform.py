"""DiffusionGemma: loading, its own sampler with traces and anchors, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models_reference import word_tokenizer
from safetensors.torch import load_file, save_file
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from midspan.alignment import AlignmentData, align, mosa_stable
from midspan.data import Behavior, Example, english_phrases
from midspan.decoding import ANCHOR_STEP, BrokenRowsError, Request, decode, decoding_config
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.calls import Chat, user
from midspan.engine.local import LocalRole
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.models import DiffusionLM, load
from midspan.models.uniform_noise import UniformRequest, generate_uniform

TEXT = {
    **{"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 16},
    **{"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    **{"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 16},
    **{"max_position_embeddings": 64, "initializer_range": 0.2},
}
VISION = {
    **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "patch_size": 4},
}
PROMPT = (2, 5, 6, 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma")
    torch.manual_seed(0)
    config = DiffusionGemmaConfig(text_config=TEXT, vision_config=VISION, canvas_length=8)
    DiffusionGemmaForBlockDiffusion(config).save_pretrained(folder)
    tokenizer = word_tokenizer("diffusion_gemma")
    tokenizer.add_tokens(["w63"])  # so that no row of the model is without a token
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lm(folder: Path) -> DiffusionLM:
    return load(folder, device="cpu")


def test_it_loads_without_a_mask_token(lm: DiffusionLM) -> None:
    assert lm.tokens.mask is None
    assert (lm.tokens.stop, lm.tokens.pad, lm.max_length) == ({1, 4}, 0, 64)
    assert (lm.family.name, lm.family.noise) == ("diffusion_gemma", "uniform")
    assert len(lm.fingerprint) == 16


def test_an_incomplete_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = "model.decoder.layers.1.self_attn.q_proj.weight"
    kept = {key: weights[key] for key in weights if key != lost}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MidspanError, match=f"missing, among them {lost}"):
        load(tmp_path)


def test_chat_is_gemmas(lm: DiffusionLM) -> None:
    names = lm.tokenizer.convert_ids_to_tokens(lm.encode_chat(" write a poem "))
    user = ["<bos>", "<|turn>", "user", "write", "a", "poem", "<turn|>"]
    assert names == [*user, "<|turn>", "model"]


def test_tokens_are_those_of_the_class(lm: DiffusionLM) -> None:
    drafts: list[list[int]] = []
    request = UniformRequest(PROMPT, length=16, steps=8, seed=3)
    made = generate_uniform(lm, request, lambda step, draft: drafts.append(draft))
    torch.manual_seed(3)
    native = lm.base.generate(
        torch.tensor([PROMPT]), max_new_tokens=16, max_denoising_steps=4, eos_token_id=[1, 4]
    ).sequences[0, 4:].tolist()  # fmt: skip
    assert made.tokens == native
    assert len(drafts) == made.forwards
    assert drafts[-1] == made.tokens
    for position, step in enumerate(made.steps):
        kept = [draft[position] for draft in drafts[step:]]
        assert set(kept) == {made.tokens[position]}
        if step and len(drafts[step - 1]) > position:
            assert drafts[step - 1][position] != made.tokens[position]
    assert all(0 < confidence <= 1 for confidence in made.confidences)
    assert len(set(made.steps)) > 1


def test_a_row_without_a_token_is_never_chosen(lm: DiffusionLM) -> None:
    def eager(module: object, arguments: object, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, torch.tensor([63]), 99.0)

    short = replace(lm, tokenizer=word_tokenizer("diffusion_gemma"))
    assert (lm.unspelled, short.unspelled) == ((), (range(63, 64),))
    handle = lm.base.lm_head.register_forward_hook(eager)
    try:
        chosen = [
            set(generate_uniform(one, UniformRequest(PROMPT, 8, 4, {3: 11})).tokens)
            for one in (lm, short)
        ]
    finally:
        handle.remove()
    assert chosen[0] == {11, 63}
    assert 63 not in chosen[1] and len(chosen[1]) > 1


def test_logits_that_are_not_finite_are_no_answer(lm: DiffusionLM) -> None:
    def broken(module: object, arguments: object, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, torch.tensor([63]), float("nan"))

    handle = lm.base.lm_head.register_forward_hook(broken)
    try:
        with pytest.raises(BrokenRowsError) as found:
            decode(lm, [Request(PROMPT)], decoding_config(lm, length=8, steps=4, block_length=8))
    finally:
        handle.remove()
    assert [one.is_broken for one in found.value.generations] == [True]


def test_confidence_is_the_models_at_temperature_one(lm: DiffusionLM) -> None:
    """One step from a known canvas: nothing but the model's own forward is left."""
    made = generate_uniform(lm, UniformRequest(PROMPT, 8, 1, {3: 11}, seed=1))
    torch.manual_seed(1)
    canvas = torch.randint(64, (1, 8))
    canvas[0, 3] = 11
    with torch.no_grad():
        logits = lm.base(input_ids=torch.tensor([PROMPT]), decoder_input_ids=canvas).logits[0]
    probability, token = logits.softmax(-1).max(-1)
    free = [position for position in range(8) if position != 3]
    assert [made.tokens[i] for i in free] == token[free].tolist()
    assert made.tokens[3] == 11 != token[3]
    confidence = torch.tensor(made.confidences)
    torch.testing.assert_close(confidence[free], probability[free], atol=1e-5, rtol=1e-4)


def test_decode_gives_traces_and_keeps_anchors(lm: DiffusionLM) -> None:
    config = decoding_config(lm, length=8, steps=6, block_length=8)
    anchored = Request(PROMPT, {2: 11, 5: 12}, seed=4)
    views = []
    requests = [anchored, Request(PROMPT, seed=4), anchored]
    first, free, again = decode(lm, requests, config, on_step=views.append)
    assert (first.tokens[2], first.tokens[5]) == (11, 12)
    assert first.tokens == again.tokens
    assert (free.tokens[2], free.tokens[5]) != (11, 12)
    steps = dict(zip(first.trace.position.tolist(), first.trace.step.tolist(), strict=True))
    assert (steps[2], steps[5]) == (ANCHOR_STEP, ANCHOR_STEP)
    assert sorted(steps) == list(range(8))
    assert [view.step for view in views if view.rows == (0,)] == list(range(first.forwards))
    assert all(view.tokens_BL[0, 2] == 11 for view in views if view.rows != (1,))
    alone = decode(lm, [anchored], config)[0]
    assert (alone.tokens, alone.text) == (first.tokens, first.text)


def test_an_end_token_ends_the_response(lm: DiffusionLM) -> None:
    request = Request(PROMPT, {1: lm.tokens.eos})
    config = decoding_config(lm, length=24, steps=6, block_length=8)
    made = decode(lm, [request], config)[0]
    assert made.stopped_early
    assert made.tokens[8:] == (lm.tokens.pad,) * 16
    assert len(made.trace) == 8
    assert made.text == lm.decode_text(made.tokens[:1])


def test_torchs_random_state_is_left_alone(lm: DiffusionLM) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    generate_uniform(lm, UniformRequest(PROMPT, 8, 2))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_ids": ()}, "prompt_ids is empty"),
        ({"prompt_ids": (64,)}, "outside the vocabulary of 64"),
        ({"length": 12}, "length=12 must be a multiple of the 8 tokens"),
        ({"length": 64, "steps": 8}, "exceeds the model's 64"),
        ({"length": 16, "steps": 3}, "steps=3 must be a multiple of the 2 canvases"),
        ({"length": 16, "anchors": {8: 5}}, "position 8 is outside the first canvas.*draws later"),
        ({"anchors": {-1: 5}}, "position -1"),
        ({"anchors": {1: 64}}, "token 64 is outside"),
    ],
)
def test_what_the_sampler_cannot_do_is_refused(lm: DiffusionLM, change, message: str) -> None:
    fields = {"prompt_ids": PROMPT, "length": 8, "steps": 2, **change}
    with pytest.raises(MidspanError, match=message):
        generate_uniform(lm, UniformRequest(**fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.5}, "decoding.temperature=0.5 has no meaning for diffusion_gemma"),
        ({"guidance": 1.0}, "decoding.guidance"),
        ({"eos_policy": "suppress_logits"}, "decoding.eos_policy"),
        ({"block_length": 4}, "decoding.block_length=4 must be diffusion_gemma's canvas of 8"),
    ],
)
def test_decoding_settings_of_masked_models_are_refused(lm, change, message: str) -> None:
    config = decoding_config(**{"length": 8, "steps": 8, **change})
    with pytest.raises(MidspanError, match=message):
        decode(lm, [Request(PROMPT)], config)
    with pytest.raises(MidspanError, match=r"requests\[1\].prompt_ids is empty"):
        decode(lm, [Request(PROMPT), Request(())], decoding_config(length=8, steps=8))
    with pytest.raises(MidspanError, match="hooks: .*diffusion_gemma takes no hooks"):
        decode(lm, [Request(PROMPT)], decoding_config(length=8, steps=8), hooks=[object()])


def test_masked_logits_do_not_exist(lm: DiffusionLM) -> None:
    with pytest.raises(MidspanError, match="diffusion_gemma has no logits of a masked sequence"):
        lm.logits(torch.tensor([PROMPT]))


def test_alignment_is_refused_with_the_reason(lm: DiffusionLM, tmp_path: Path) -> None:
    data = AlignmentData((Example("write a poem", None),), (), english_phrases())
    with pytest.raises(MidspanError, match="diffusion_gemma cannot be aligned.*no mask token"):
        align(lm, data, mosa_stable(), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_a_lone_text_config_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["text_config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MidspanError, match="part of diffusion_gemma"):
        load(tmp_path)


def test_as_a_role_it_draws_at_its_own_temperatures(lm: DiffusionLM, tmp_path: Path) -> None:
    """So samples differ, an answer not as asked is worth another try, and no call's own fail."""
    asked = Chat("target", (user("write a poem"),), temperature=0.0, top_p=0.5)
    unreadable = replace(asked, parse=int)
    found = []

    def attack(state: AttackState, config: AttackConfig) -> Steps:
        found.extend((yield [asked, asked, replace(asked, temperature=1.0), unreadable]))
        return "exhausted"

    role = LocalRole(lm, decoding_config(length=8, steps=4), 2)
    behavior = Behavior("b", "x")
    job = AttackJob(
        Attack("ask", attack, AttackConfig, counts="any"),
        AttackConfig(),
        behavior,
        {"target": role},
    )
    with Journal(tmp_path / "j") as journal:
        (result,) = run_attacks([job], journal)
        texts = [journal[key]["raw"] for key in journal]
    assert [reply.failure for reply in found] == [None, None, None, "unparseable"]
    assert result.usage["target"].calls == len(texts) == 6
    assert len(set(texts)) == 6
