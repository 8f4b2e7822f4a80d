"""Placement of weights: a GPU a process, the CPU under FSDP; which attention reads them."""

from pathlib import Path

import pytest
import torch
from models_reference import DREAM, LLADA, write_checkpoint

from midspan.errors import MidspanError
from midspan.models import family_for, load, placement

LAUNCHER = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_CPU", "ACCELERATE_USE_FSDP")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Four pretended GPUs; the list holds the current one at its end."""
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What transformers was asked for; the weights land on the CPU all the same."""
    asked: dict = {}
    llada = family_for("llada").model_class
    original = llada.from_pretrained

    def record(*args, device_map, **kwargs):
        asked.update(kwargs, device_map=device_map)
        return original(*args, **kwargs)

    monkeypatch.setattr(llada, "from_pretrained", record)
    return asked


@pytest.mark.parametrize("device", [None, "cuda", torch.device("cuda")])
def test_each_process_of_a_launcher_loads_onto_its_own_gpu(
    llada: Path, gpus, asked, monkeypatch, device
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    load(llada, device=device)
    assert asked["device_map"] == {"": "cuda:3"}
    # Kernels and libraries that say "cuda" mean it too.
    assert gpus[-1] == 3


def test_without_a_launcher_the_current_gpu_is_taken(llada: Path, gpus, asked) -> None:
    load(llada)
    assert asked["device_map"] == {"": "cuda:1"}


@pytest.mark.parametrize("device", ["cuda:2", "cpu"])
def test_a_named_device_wins(llada: Path, gpus, asked, monkeypatch, device) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    load(llada, device=device)
    assert asked["device_map"] == {"": device}


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_a_named_gpu_that_is_not_there_is_refused(llada: Path, asked, monkeypatch, device) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MidspanError, match="device='cuda.*no usable GPU.*leave device out"):
        load(llada, device=device)
    assert not asked
    load(llada)
    assert asked["device_map"] == {"": "cpu"}


def test_the_launchers_cpu_option_stands_for_a_gpu(llada: Path, asked, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    load(llada, device="cuda")
    assert asked["device_map"] == {"": "cpu"}


def test_the_launchers_cpu_option_wins_over_gpus(llada: Path, gpus, asked, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    load(llada)
    assert asked["device_map"] == {"": "cpu"}


def test_more_processes_than_gpus_are_refused(llada: Path, gpus, asked, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(MidspanError, match=r"LOCAL_RANK=4.*4 GPU"):
        load(llada)
    assert not asked


def test_fsdp_loads_on_the_cpu(llada: Path, gpus, asked, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    load(llada)
    assert asked["device_map"] == {"": "cpu"} and placement.is_sharded()
    with pytest.raises(MidspanError, match=r"quantization='4bit'.*FSDP"):
        load(llada, quantization="4bit")


def test_fsdp_without_gpus_is_no_fsdp(monkeypatch) -> None:
    """As in accelerate, which then trains unsharded."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not placement.is_sharded()


def test_processes_of_one_machine_do_not_spread_over_the_same_gpus(
    llada: Path, gpus, asked, monkeypatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(MidspanError, match="device_map='auto'.*one process a machine"):
        load(llada, device_map="auto")
    load(llada, device_map={"": 0})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    load(llada, device_map="auto")
    assert asked["device_map"] == "auto"


def test_attention_can_be_chosen(llada: Path) -> None:
    ids = torch.tensor([[5, 60, 9, 11]])
    usual = load(llada)
    for name in ("sdpa", "eager", "flex_attention"):
        lm = load(llada, attn_implementation=name)
        assert lm.model.config._attn_implementation == name
        with torch.no_grad():
            torch.testing.assert_close(lm.logits(ids), usual.logits(ids), atol=1e-5, rtol=0)
        assert (lm.fingerprint == usual.fingerprint) == (name == "sdpa")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("flash", "attn_implementation: must be one of sdpa, eager, .*got 'flash'"),
        ("flash_attention_2", "needs flash_attn, which is not installed"),
        ("flash_attention_3", "needs flash_attn_interface, which is not installed"),
    ],
)
def test_an_attention_that_cannot_run_is_refused(llada: Path, asked, monkeypatch, name, match):
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MidspanError, match=match):
        load(llada, attn_implementation=name)
    assert not asked


@pytest.mark.parametrize("name", ["flex_attention", "flash_attention_2"])
def test_an_attention_without_block_causal_masks_is_refused(monkeypatch, name) -> None:
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: True)
    with pytest.raises(MidspanError, match="takes no block-causal mask.*use sdpa or eager"):
        placement.check_attention(name, family_for("sdar"))
    placement.check_attention(name, family_for("llada"))


@pytest.mark.parametrize("name", ["llada", "dream"])
@pytest.mark.parametrize("padded", [False, True])
def test_flash_attention_is_not_causal(tmp_path: Path, monkeypatch, name, padded) -> None:
    """The kernel is given no mask of its own: what it is told is what the config says."""
    from transformers.integrations import flash_attention

    told = []

    def naive(query, key, value, mask, query_length, is_causal, softmax_scale=None, **_):
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        groups = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
        scores = query @ key.transpose(2, 3) * (softmax_scale or query.shape[-1] ** -0.5)
        told.append(is_causal)
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool)
        seen = seen.tril() if is_causal else seen
        if mask is not None:
            seen = seen & mask[:, None, None].bool()
        scores = scores.masked_fill(~seen, -1e9)
        return (scores.softmax(-1) @ value).transpose(1, 2)

    monkeypatch.setattr(flash_attention, "_flash_attention_forward", naive)
    lm = load(write_checkpoint(tmp_path / name, {"llada": LLADA, "dream": DREAM}[name]))
    ids = torch.tensor([[1, 5, 60, 9, 11], [4, 7, 60, 60, 3]])
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]) if padded else None
    expected = lm.logits(ids, mask)
    lm.model.config._attn_implementation = "flash_attention_2"
    found = lm.logits(ids, mask)
    assert told and not any(told)
    real = slice(1, None) if padded else slice(None)
    torch.testing.assert_close(found[:, real], expected[:, real], atol=1e-5, rtol=0)
