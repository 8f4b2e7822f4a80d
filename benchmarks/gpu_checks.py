"""Whether a device computes what the published implementations did, and what midspan promises."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_adapters import random_adapter
from gpu_stages import Outcome, Stage
from random_weights import random_llada, trunk
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from midspan.alignment import AlignmentConfig, AlignmentData, MosaObjective, align
from midspan.decoding import Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM, families, load
from midspan.models.adapters import attach_adapter
from midspan.studies.training import TrainingData, load_training_data

PUBLISHED = Path(__file__).parents[1] / "tests" / "fixtures" / "published"
# Families whose bare forward gives the logits of the fixtures.
COMPARED = (
    "llada", "mmada", "dream", "lladamoe", "sdar", "llada2_moe", "a2d-qwen3", "a2d-qwen2",
    "a2d-llama",
)  # fmt: skip
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class _Stopped(Exception):
    """Raised in the midst of a training, as a kill would."""


def check_stages(device: str, tiny: bool) -> list[Stage]:
    """Published outputs first; guesses in seconds are a GPU's."""
    sizes = trunk(2, 64, 128, 512) if tiny else trunk(4, 512, 1408, 8192)
    model = partial(random_llada, sizes, device)
    found: list[tuple[str, float, Callable[[], Outcome]]] = []
    for name, dtype in PRECISIONS.items():
        found.append((f"published logits, {name}", 15, partial(logits, device, dtype)))
    found.append(("published samplers, float32", 30, lambda: samplers(device, 2 if tiny else None)))
    for name, dtype in PRECISIONS.items():
        found.append((f"batch against alone, {name}", 10, partial(_on, rows_alone, model, dtype)))
        found.append((f"adapter against merged, {name}", 8, partial(_on, merged, model, dtype)))
    found.append(("training resumed", 20, lambda: resumed(device)))
    return [Stage(name, "correctness", partial(float, s), run) for name, s, run in found]


def _on(check: Callable[[Any], Outcome], model: Callable[..., Any], dtype: torch.dtype) -> Outcome:
    return check(model(dtype))


def _published(name: str, device: str, dtype: torch.dtype) -> tuple[Any, dict[str, Tensor], Any]:
    folder = PUBLISHED / name
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)
    cases = json.loads((folder / "cases.json").read_text())
    return model, load_file(folder / "cases.safetensors", device=device), cases


@torch.no_grad()
def logits(device: str, dtype: torch.dtype) -> Outcome:
    """Distance to the published float32 logits, and how often the likeliest token is theirs."""
    values = {}
    for name in [family.name for family in families() if family.name in COMPARED]:
        model, tensors, _ = _published(name, device, dtype)
        mask = tensors["block_mask"].bool() if "block_mask" in tensors else None
        found_BTV = model(tensors["input_ids"], attention_mask=mask).logits.float()
        wanted_BTV = tensors["logits"].float()
        same = (found_BTV.argmax(-1) == wanted_BTV.argmax(-1)).float().mean()
        error = (found_BTV - wanted_BTV).abs().max() / wanted_BTV.std()
        values[name] = {"error": float(error), "same_token": float(same)}
    errors = {name: value["error"] for name, value in values.items()}
    worst = max(errors, key=errors.__getitem__)
    least = min(value["same_token"] for value in values.values())
    text = (
        f"{len(values)} families, largest error {errors[worst]:.1e} of the logits' deviation "
        f"({worst}), the published likeliest token at {100 * least:.1f} % of positions at least"
    )
    return Outcome(text, values)


def _fields(family: str, run: dict[str, Any]) -> dict[str, Any]:
    """The names here of a published run's settings; none where it draws at random."""
    if run["temperature"] or run.get("remasking") == "random":
        return {}
    if family == "dream":
        kept = {key: run[key] for key in ("steps", "eps", "temperature", "top_p", "alg_temp")}
        greedy = not run["alg_temp"] and run["alg"] != "origin"
        return {**kept, "length": run["max_new_tokens"], "remasking": run["alg"]} if greedy else {}
    policies = {
        "logits_eos_inf": "suppress_logits",
        "confidence_eos_eot_inf": "suppress_confidence",
    }
    policy = next((policies[key] for key in policies if run[key]), "model")
    kept = {key: run[key] for key in ("steps", "block_length", "temperature", "remasking")}
    return {**kept, "length": run["gen_length"], "guidance": run["cfg_scale"], "eos_policy": policy}


def samplers(device: str, most: int | None) -> Outcome:
    """Greedy runs of LLaDA's and Dream's published samplers, so many of either, by tokens."""
    counts: dict[str, list[bool]] = {}
    for family in ("llada", "dream"):
        model, tensors, cases = _published(family, device, torch.float32)
        model.config.mask_token_id = cases["mask_token_id"]
        model.config.eot_token_id = cases.get("eot_token_id")
        greedy = [(run, _fields(family, run)) for run in cases["runs"]]
        for run, fields in [pair for pair in greedy if pair[1]][:most]:
            found = model.generate(
                tensors["prompt"], tensors["prompt_mask"], early_stop=False, compatibility=True,
                **fields,
            )  # fmt: skip
            width = tensors["prompt"].shape[1]
            same = torch.equal(found[:, width:], tensors[run["output"]][:, width:])
            counts.setdefault(family, []).append(same)
    text = ", ".join(f"{name} {sum(runs)} of {len(runs)}" for name, runs in counts.items())
    return Outcome(f"greedy runs with the published tokens: {text}", {"same": counts})


def rows_alone(lm: DiffusionLM) -> Outcome:
    """Ragged requests in one batch and one by one."""
    generator = torch.Generator().manual_seed(1)
    requests = [
        Request(tuple(torch.randint(0, 500, (length,), generator=generator).tolist()))
        for length in (12, 31, 7, 24, 18, 40, 9, 28)
    ]
    config = decoding_config(length=32, block_length=16, steps=16, early_stop=False)
    together = fill(lm, requests, config, batch_size=len(requests))
    alone = [fill(lm, [request], config, batch_size=1)[0] for request in requests]
    pairs = [(list(row.tokens), list(own.tokens)) for row, own in zip(together, alone, strict=True)]
    same = sum(left == right for left, right in pairs)
    tokens = sum(a == b for pair in pairs for a, b in zip(*pair, strict=True))
    text = f"{same} of {len(pairs)} rows equal, {tokens} of {32 * len(pairs)} tokens"
    return Outcome(text, {"rows": len(pairs), "same_rows": same, "same_tokens": tokens})


@torch.no_grad()
def merged(lm: DiffusionLM) -> Outcome:
    """Logits with an adapter on, and with the same adapter merged into the weights."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 500, (4, 64), generator=generator).to(lm.device)
    base_BTV = lm.logits(ids).float()
    with tempfile.TemporaryDirectory() as folder:
        random_adapter(lm, Path(folder))
        adapted = attach_adapter(lm, folder)
    with_BTV = adapted.logits(ids).float()
    adapted.model = adapted.model.merge_and_unload(safe_merge=True)
    merged_BTV = adapted.logits(ids).float()
    moved = float((with_BTV - base_BTV).abs().max())
    error = float((with_BTV - merged_BTV).abs().max())
    same = float((with_BTV.argmax(-1) == merged_BTV.argmax(-1)).float().mean())
    text = (
        f"largest difference {error:.1e} where the adapter moves logits by {moved:.1e}, "
        f"same likeliest token at {100 * same:.1f} %"
    )
    return Outcome(text, {"difference": error, "moved": moved, "same_token": same})


def _train(device: str, data: AlignmentData, folder: Path, stop_at: int | None = None) -> Tensor:
    def progress(done: int, *_: Any) -> None:
        if done == stop_at:
            raise _Stopped

    lm = load("organism", device=device)
    config = AlignmentConfig(
        objective=MosaObjective(), num_prompts=4, batch_size=1, response_length=64,
        learning_rate=1e-3, lora_rank=4,
    )  # fmt: skip
    align(lm, data, config, folder, progress)
    tensors = load_file(folder / "adapter_model.safetensors")
    return torch.cat([tensors[key].flatten() for key in sorted(tensors)])


def resumed(device: str) -> Outcome:
    """The organism's adapter after a training that was stopped and one that was not."""
    data = load_training_data(TrainingData(), "organism")
    with tempfile.TemporaryDirectory() as folder:
        whole = _train(device, data, Path(folder) / "whole")
        with suppress(_Stopped):
            _train(device, data, Path(folder) / "stopped", stop_at=3)
        again = _train(device, data, Path(folder) / "stopped")
    difference = float((whole - again).norm() / whole.norm())
    text = "the same bits" if difference == 0 else f"differs by {difference:.1e} of its norm"
    return Outcome(f"adapter: {text}", {"difference": difference})
