"""What is found of a model: nothing of a sound one, and each fault by its name."""

import contextlib
import dataclasses
import time
from pathlib import Path

import pytest
import torch
from doctor_checkpoints import CHATML, edit, write
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from midspan.doctor import Finding, examine, numbers, place, steps
from midspan.doctor.examine import CHECKS
from midspan.models import DiffusionLM, load


def findings(spec, **options) -> dict[str, Finding]:
    found = list(examine(spec, **options))
    checks = [check.name for check in CHECKS]
    assert [finding.name for finding in found] in (["loading"], ["loading", *checks])
    assert all("\n" not in str(finding) for finding in found)
    assert all(finding.remedy for finding in found[1:] if finding.status == "fault")
    return {finding.name: finding for finding in found}


def not_ok(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in found.items() if finding.status != "ok"}


@pytest.fixture
def dream(tmp_path: Path) -> Path:
    return write(tmp_path / "dream", "dream", CHATML)


@pytest.fixture
def sdar(tmp_path: Path) -> Path:
    return write(tmp_path / "sdar", "sdar", CHATML)


@pytest.mark.parametrize("spec", ["organism", "organism:mosa-stable"])
def test_the_organism_is_sound(spec: str) -> None:
    assert not_ok(findings(spec)) == {}


@pytest.mark.parametrize("family", ["llada", "dream", "sdar"])
def test_a_sound_model_has_no_fault_in_either_number_format(family: str, tmp_path: Path) -> None:
    folder = write(tmp_path / family, family, None if family == "llada" else CHATML)
    found = findings(folder)
    assert not_ok(found) == {}
    assert "8 of them without a token" in found["rows and tokens"].detail
    assert "begin with their space" in found["placed phrases"].detail
    if family != "llada":
        assert found["chat template"].detail == "followed in 5 conversations"
    half = findings(folder, dtype="bfloat16")
    assert "fault" not in not_ok(half).values()
    assert "in bfloat16" in half["batch against alone"].detail


def test_a_phrase_of_bytes_is_cut_to_what_the_canvas_holds(tmp_path: Path) -> None:
    folder = write(tmp_path / "llada", "llada", merges=())
    assert len(load(folder).encode_text("the next step is")) == numbers.CANVAS
    scored = findings(folder)["scoring"]
    assert scored.status == "ok" and scored.detail.endswith(" nats for 12 tokens")


def broken_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"][7] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})


def more_tokens_than_rows(folder: Path) -> None:
    tokenizer = load(folder).tokenizer
    tokenizer.add_tokens([f"<own{i}>" for i in range(20)])
    tokenizer.save_pretrained(folder)


def another_mask_in_generation_config(folder: Path) -> None:
    edit(folder / "generation_config.json", mask_token_id=499)


def a_lost_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


BROKEN = [
    (broken_weights, "logits", "not finite"),
    (broken_weights, "batch against alone", "differ by up to nan"),
    (more_tokens_than_rows, "rows and tokens", "ids up to 523, the model 512 rows"),
    (another_mask_in_generation_config, "mask and stop tokens", "mask_token_id=499"),
    (a_lost_tensor, "loading", "1 tensors are missing, among them model.layers.1.mlp.up_proj"),
]


@pytest.mark.parametrize(("spoil", "name", "detail"), BROKEN, ids=[case[1] for case in BROKEN])
def test_a_broken_folder_is_named(dream: Path, spoil, name: str, detail: str) -> None:
    spoil(dream)
    found = findings(dream)
    assert found[name].status == "fault"
    assert detail in found[name].detail


def no_attention_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusionLM.hidden
    monkeypatch.setattr(
        DiffusionLM, "hidden", lambda lm, ids, mask=None, *rest: right(lm, ids, None, *rest)
    )


def another_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusionLM.encode_chat
    monkeypatch.setattr(DiffusionLM, "encode_chat", lambda lm, chat: [9, *right(lm, chat)])


def slow_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusionLM.encode_chat

    def encode_chat(lm, chat):
        time.sleep(0.01)
        return right(lm, chat)

    monkeypatch.setattr(DiffusionLM, "encode_chat", encode_chat)


def forgotten_text(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusionLM.decode_text
    monkeypatch.setattr(DiffusionLM, "decode_text", lambda lm, ids: right(lm, ids)[:-1])


def special_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        DiffusionLM, "encode_text", lambda lm, text: lm.tokenizer(text)["input_ids"]
    )


def glued_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusionLM.encode_text
    monkeypatch.setattr(DiffusionLM, "encode_text", lambda lm, text: right(lm, text.strip()))


def another_score(monkeypatch: pytest.MonkeyPatch) -> None:
    right = numbers.phrase_score

    def phrase_score(*arguments):
        score = right(*arguments)
        return dataclasses.replace(score, value=score.value - 1)

    monkeypatch.setattr(numbers, "phrase_score", phrase_score)


def a_token_without_text(monkeypatch: pytest.MonkeyPatch) -> None:
    right = steps.decode

    def decode(*arguments):
        (made,) = right(*arguments)
        return [dataclasses.replace(made, tokens=[511, *made.tokens[1:]])]

    monkeypatch.setattr(steps, "decode", decode)


def a_stale_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    right = steps.decode

    def decode(lm, requests, config):
        (made,) = right(lm, requests, config)
        if config.cache == "none":
            return [made]
        return [dataclasses.replace(made, tokens=[*made.tokens[:-1], 10])]

    monkeypatch.setattr(steps, "decode", decode)


def a_failing_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*arguments):
        raise RuntimeError("CUDA error:\nan illegal memory access")

    monkeypatch.setattr(steps, "decode", decode)


def no_such_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments):
        from midspan.errors import MidspanError

        raise MidspanError("attention implementation 'odd' takes no block-causal mask")

    monkeypatch.setattr(place, "for_attention", refuse)


def an_idle_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


WRONG = [
    (no_attention_mask, "batch against alone", "fault", "logits differ by up to"),
    (another_prompt, "chat template", "fault", "not followed for one turn, three turns"),
    (slow_prompts, "encode_chat", "note", "ms a prompt"),
    (forgotten_text, "plain text", "fault", "comes back as"),
    (special_text, "plain text", "fault", "becomes the token <|"),
    (glued_phrases, "placed phrases", "note", "split otherwise"),
    (another_score, "scoring", "fault", "from the logits"),
    (a_token_without_text, "decoding", "fault", "token 511 was committed"),
    (a_stale_cache, "decoding", "fault", "15 of 16 tokens agree"),
    (a_failing_kernel, "decoding", "fault", "CUDA error: an illegal memory access"),
    (no_such_attention, "attention", "fault", "'odd' takes no block-causal mask"),
    (an_idle_gpu, "device", "note", "cpu; 0.00 GiB of weights"),
]


@pytest.mark.parametrize(
    ("spoil", "name", "status", "detail"), WRONG, ids=[case[0].__name__ for case in WRONG]
)
def test_a_wrong_result_is_named(
    sdar: Path, monkeypatch: pytest.MonkeyPatch, spoil, name: str, status: str, detail: str
) -> None:
    assert findings(sdar)[name].status == "ok"
    device = {"device": "cpu"}  # a GPU is pretended in one case
    spoil(monkeypatch)
    found = findings(sdar, **device)
    assert found[name].status == status
    assert detail in found[name].detail


def test_another_end_in_generation_config_is_worth_knowing(dream: Path) -> None:
    edit(dream / "generation_config.json", eos_token_id=[503, 501], pad_token_id=7)
    found = findings(dream)["mask and stop tokens"]
    assert found.status == "note" and "pad_token_id=7, the tokenizer 501" in found.detail


@pytest.mark.parametrize(("normalizer", "status"), [("Lowercase", "note"), ("NFKD", "fault")])
def test_a_tokenizer_that_changes_text(tmp_path: Path, normalizer: str, status: str) -> None:
    found = findings(write(tmp_path / "dream", "dream", CHATML, normalizer))
    assert found["plain text"].status == status


def test_a_process_on_another_ones_gpu(sdar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(sdar, device="cpu")
    subject = place.Subject(lm, ("sdar",), sdar)
    monkeypatch.setattr(DiffusionLM, "device", torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert place.device(subject)[0] == "fault"
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert place.device(subject)[0] == "ok"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**20, 2**31))
    assert place.device(subject)[0] == "note"


def lora(folder: Path, output: Path, **options) -> Path:
    model = get_peft_model(load(folder).model, LoraConfig(target_modules=["q_proj"], **options))
    model.save_pretrained(output)
    return output


def test_an_adapter_is_looked_at(
    dream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    trained = lora(dream, tmp_path / "trained", init_lora_weights=False)
    assert not_ok(findings(dream, adapter=trained)) == {}
    assert findings(f"{dream}+{lora(dream, tmp_path / 'fresh')}")["adapter"].status == "note"
    edit(trained / "adapter_config.json", base_model_name_or_path="models/another")
    found = findings(dream, adapter=trained)
    assert not_ok(found) == {"adapter's base": "note"}
    assert "'models/another'" in found["adapter's base"].detail

    @contextlib.contextmanager
    def merged_wrongly(lm):
        with torch.no_grad():
            lm.base.lm_head.weight.mul_(1.1)
        yield

    monkeypatch.setattr(DiffusionLM, "adapter_merged", merged_wrongly)
    assert findings(dream, adapter=trained)["adapter"].status == "fault"


def test_checks_of_masked_logits_are_left_out_where_there_are_none(
    dream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midspan.models import family_for

    uniform = dataclasses.replace(family_for("Dream"), noise="uniform")
    monkeypatch.setattr("midspan.models.loading.family_of", lambda config: uniform)
    found = findings(dream)
    left_out = {check.name: "note" for check in CHECKS if check.of_masks}
    assert not_ok(found) == left_out
    assert "its sampler is its own" in found["logits"].detail
