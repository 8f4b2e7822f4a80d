"""Steps of MOSA on random weights: seconds, peak memory and share of the matrix-product peak.

Fully masked canvases of 128 tokens behind prompts of 40 to 120 tokens, LoRA of rank 32, AdamW,
gradient norm clipped at 0.01. Operations are counted from shapes: policy and reference forward, and
the backward pass through frozen weights, which costs one forward; recomputation is not counted, so
that a share with checkpointing is one of useful work.
"""

import importlib.util
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from gpu_adapters import lora
from gpu_stages import (
    Outcome,
    Skip,
    peak_memory_gib,
    reset_peak_memory,
    shown_memory,
    synchronize,
)
from peft import get_peft_model

from midspan.alignment import MosaObjective
from midspan.alignment.objectives import PhraseCanvas, TrainingSample
from midspan.alignment.policy import Collator, Policy
from midspan.models import DiffusionLM

RESPONSE, WARM_UP, PROMPTS = 128, 2, 3000


@dataclass(frozen=True)
class Recipe:
    """How a batch goes through the model.

    Attributes:
        rows: Prompts of a batch, which is one forward pass.
        steps: Timed ones.
    """

    name: str
    rows: int
    checkpointing: bool = False
    four_bit: bool = False
    steps: int = 12

    @property
    def operations(self) -> float:
        """Of a step of LLaDA-8B, roughly, for an estimate of its time."""
        passes = 4 if self.checkpointing else 3
        return 2 * 6.5e9 * passes * self.rows * (RESPONSE + 80) + 4 * 2 * 0.5e9 * self.rows * 60


RECIPES = (
    Recipe("8 prompts a pass, 16 bits", 8),
    Recipe("2 prompts a pass, 16 bits", 2),
    Recipe("24 GB card: 2 prompts a pass, 16 bits, checkpointing", 2, checkpointing=True),
    Recipe("16 GB card: 2 prompts a pass, 4 bits, checkpointing", 2, True, four_bit=True),
)


def samples_of(lm: DiffusionLM, count: int) -> list[TrainingSample]:
    rng = random.Random(0)
    size = lm.base.config.vocab_size
    safe, harmful = tuple(range(10, 20)), tuple(range(30, 35))
    assert lm.tokens.mask is not None
    masked = (lm.tokens.mask,) * RESPONSE
    samples = []
    for _ in range(count):
        prompt = tuple(rng.randrange(100, size - 3) for _ in range(rng.randint(40, 120)))
        canvas = PhraseCanvas(prompt, masked, safe, harmful)
        samples.append(TrainingSample((canvas,), harmful=True))
    return samples


def quantise(model: Any) -> None:
    """Linear layers of the trunk in nf4, as loading with 4 bits leaves them."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Skip("bitsandbytes is not installed")
    import bitsandbytes as bnb

    # By which PEFT knows to put its own layers over them.
    model.is_loaded_in_4bit = True
    for name, layer in list(model.model.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            new = bnb.nn.Linear4bit(
                layer.in_features, layer.out_features, bias=False,
                compute_dtype=torch.bfloat16, quant_type="nf4",
            )  # fmt: skip
            new.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
            parent, _, child = name.rpartition(".")
            setattr(model.model.get_submodule(parent), child, new.to(layer.weight.device))


@contextmanager
def policy_of(lm: DiffusionLM, checkpointing: bool) -> Iterator[Policy]:
    """The model under a fresh adapter; afterwards it is as it was."""
    base = lm.model
    if checkpointing:
        base.activation_checkpointing_enable()
    lm.model = get_peft_model(base.train(), lora(lm))
    try:
        yield Policy(lm, MosaObjective())
    finally:
        lm.model.unload()
        lm.model = base.eval()
        if checkpointing:
            base.activation_checkpointing_disable()


def train(policy: Policy, recipe: Recipe, device: str) -> tuple[list[float], int]:
    """Seconds of every timed step, and the tokens of all of them."""
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-5)
    collate, seconds, tokens = Collator(policy.lm), [], 0
    samples = samples_of(policy.lm, recipe.rows * recipe.steps)
    for step in range(-WARM_UP, recipe.steps):
        start = time.perf_counter()
        inputs = collate(samples[max(0, step) * recipe.rows :][: recipe.rows])
        count = inputs["input_ids"].numel()
        inputs = {k: v.to(device) if torch.is_tensor(v) else v for k, v in inputs.items()}
        with torch.autocast(device, torch.bfloat16):
            losses = policy(inputs)
        (losses.values_S.sum() / recipe.rows).backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.01)
        optimizer.step()
        optimizer.zero_grad()
        synchronize(device)
        if step >= 0:
            seconds.append(time.perf_counter() - start)
            tokens += count
    return seconds, tokens


def align(lm: DiffusionLM, recipe: Recipe, peak: float) -> Outcome:
    """One recipe; the model's linear layers stay quantised where it is one of 4 bits."""
    device, config = str(lm.device.type), lm.base.config
    layer = sum(weight.numel() for weight in lm.base.model.layers[0].parameters())
    if recipe.four_bit:
        quantise(lm.base)
    reset_peak_memory(device)
    with policy_of(lm, recipe.checkpointing) as policy:
        seconds, tokens = train(policy, recipe, device)
        memory = peak_memory_gib(device)
    trunk = layer * config.num_hidden_layers * tokens
    head = lm.base.lm_head.weight.numel() * len(seconds) * recipe.rows * RESPONSE
    # Policy and reference forward, and back; the head twice for either.
    share = 2 * (3 * trunk + 4 * head) / sum(seconds) / peak
    a_step = sorted(seconds)[len(seconds) // 2]
    minutes = a_step * PROMPTS / recipe.rows / 60
    text = (
        f"{a_step:.3f} s a step{shown_memory(memory)}, {100 * share:.1f} % of the peak; "
        f"{PROMPTS:,} prompts would take {minutes:.1f} min (extrapolated from {len(seconds)} steps)"
    )
    values = {
        "seconds_a_step": a_step, "steps": len(seconds), "rows": recipe.rows, "tokens": tokens,
        "memory_gib": memory, "share_of_peak": share, "minutes_for_3000_prompts": minutes,
    }  # fmt: skip
    return Outcome(text, values)
