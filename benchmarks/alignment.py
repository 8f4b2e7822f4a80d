"""One step of alignment on the CPU against Algorithm 1 written down naively, in the same run.

Run: python benchmarks/alignment.py [step cost] [--models wide small] [--repeat 3] [--quick]
     [--vocabulary N] [-o FILE]

naive: a second copy of the model as the reference, the head on every position, the whole
vocabulary's log-softmax in float32, and the double loop over starts and tokens. ours: the
project's policy module. Both take the same LoRA weights, batch and loss; the step is forward,
backward and AdamW. Times are CPU seconds on the threads that torch has (set OMP_NUM_THREADS),
medians of the repeats; memory is the peak over the loaded models. cost: our step against batch,
response length, rank and vocabulary, one axis at a time, as a table. Weights are random. Bounds:
what a step takes that runs both trunks and the head's products and nothing else.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine, peak_memory
from peft import LoraConfig, get_peft_model
from random_weights import random_llada, trunk

from midspan.alignment import MosaObjective
from midspan.alignment.objectives import PhraseCanvas, TrainingSample
from midspan.alignment.policy import Collator, Policy
from midspan.models import DiffusionLM
from midspan.models.llada import LLADA

SAFE, HARMFUL = tuple(range(10, 20)), tuple(range(30, 35))


@dataclass(frozen=True)
class Shape:
    """A random model and one batch."""

    vocabulary: int = 126_464
    layers: int = 2
    hidden: int = 256
    mlp: int = 704
    batch: int = 4
    prompt: int = 128
    response: int = 128
    rank: int = 32


WIDE = Shape()
SMALL = Shape(vocabulary=8192, layers=12, hidden=512, mlp=1408)
QUICK = Shape(vocabulary=512, layers=2, hidden=32, mlp=64, prompt=8, response=80, batch=2)


# Forward products of the head on the rows of the KL: what a step that does nothing else takes.
BOUNDS = {"trunks alone": 0, "with three products": 2, "with four": 3}


def adapted_model(shape: Shape) -> DiffusionLM:
    lm = random_llada(trunk(shape.layers, shape.hidden, shape.mlp, shape.vocabulary))
    lora = LoraConfig(r=shape.rank, lora_alpha=64, target_modules=list(LLADA.lora_targets))
    lm.model = get_peft_model(lm.base.train(), lora)
    for name, weight in lm.model.named_parameters():
        if "lora_B" in name:  # Zero at the start, where policy and reference agree.
            weight.data.normal_(std=0.01)
    return lm


def samples_of(shape: Shape) -> list[TrainingSample]:
    """Harmful prompts before masked responses."""
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(100, shape.vocabulary - 3, (shape.batch, shape.prompt),
                            generator=generator)  # fmt: skip
    canvas = (shape.vocabulary - 1,) * shape.response
    return [
        TrainingSample((PhraseCanvas(tuple(row), canvas, SAFE, HARMFUL),), harmful=True)
        for row in prompts.tolist()
    ]


def rows_of(objective: MosaObjective) -> slice:
    """Positions of the response that the KL is taken on."""
    if objective.kl_rows != "window":
        return slice(None)
    first, last = objective.window
    return slice(first, last + max(len(SAFE), len(HARMFUL)))


def naive_loss(lm: DiffusionLM, reference: Any, batch: dict[str, Any], objective: MosaObjective,
               response: int) -> torch.Tensor:  # fmt: skip
    """Algorithm 1, a row, a start and a token at a time."""
    logits_BTV = lm.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    logp_BTV = logits_BTV.float().log_softmax(-1)
    with torch.no_grad():
        logits_BTV = reference(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )[0]
        logq_BTV = logits_BTV.float().log_softmax(-1)
    logp_BLV, logq_BLV = logp_BTV[:, -response:], logq_BTV[:, -response:]
    rows = rows_of(objective)
    first, last = objective.window
    total = logp_BLV.new_zeros(())
    for logp_LV, logq_LV in zip(logp_BLV, logq_BLV, strict=True):
        scores = []
        for phrase in (SAFE, HARMFUL):
            # Single elements of the whole table would each cost a table in the backward pass.
            logp_LP, sums = logp_LV[:, list(phrase)], []
            for start in range(first, last + 1):
                terms = [logp_LP[start + offset, offset] for offset in range(len(phrase))]
                sums.append(torch.stack(terms).sum())
            scores.append(torch.stack(sums).max())
        kl = (logp_LV[rows].exp() * (logp_LV[rows] - logq_LV[rows])).sum()
        total = total + objective.beta * kl - scores[0] + scores[1]
    return total / len(logp_BLV)


def least_loss(
    lm: DiffusionLM, batch: dict[str, Any], rows: slice, products: int
) -> Callable[[], torch.Tensor]:
    """What no step can leave out: both trunks, and the head's products on some rows.

    Args:
        lm: The model.
        batch: As the collator makes it.
        rows: Of the response.
        products: Forward ones of the head; the gradient's is one more.
    """
    ids, length = batch["input_ids"], batch["masked"].shape[1]
    weight = lm.base.lm_head.weight.detach()

    def states() -> torch.Tensor:
        hidden = lm.hidden(ids, batch["attention_mask"], canvas=ids.shape[1] - length)
        return hidden[:, -length:][:, rows].flatten(0, 1)

    def loss() -> torch.Tensor:
        policy = states()
        with torch.no_grad():
            with lm.adapter_disabled():
                last = states()
            for _ in range(products - 1):
                last @ weight.T
            logits = policy @ weight.T
            gradient = logits @ weight
        return (policy * gradient).mean()

    return loss


def stepper(lm: DiffusionLM, loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
    """One whole optimiser step."""
    weights = [weight for weight in lm.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-5)

    def step() -> float:
        value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value.item()

    return step


def timed(step: Callable[[], float], repeat: int) -> dict[str, float]:
    step()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    with peak_memory() as peak:
        step()
    return {"seconds": statistics.median(seconds), "mebibytes": peak.mebibytes}


def ours(shape: Shape, objective: MosaObjective) -> tuple[DiffusionLM, Callable[[], torch.Tensor]]:
    lm = adapted_model(shape)
    policy = Policy(lm, objective)
    batch = Collator(lm)(samples_of(shape))
    return lm, lambda: policy(batch).values_S.mean()


def compare(shape: Shape, kl_rows: str, repeat: int) -> dict[str, Any]:
    """Both steps from the same weights; first the agreement, then time and memory."""
    objective = MosaObjective(kl_rows=kl_rows)
    rows = rows_of(objective)
    lm, our_loss = ours(shape, objective)
    batch = Collator(lm)(samples_of(shape))
    reference = copy.deepcopy(lm.model.get_base_model())
    for module in reference.modules():
        if hasattr(module, "disable_adapters"):
            module._disable_adapters = True

    def naive() -> torch.Tensor:
        return naive_loss(lm, reference, batch, objective, shape.response)

    gradients, losses = [], []
    for loss in (naive, our_loss):
        value = loss()
        value.backward()
        losses.append(value.item())
        trained = (weight.grad for weight in lm.model.parameters() if weight.grad is not None)
        gradients.append(torch.cat([gradient.flatten() for gradient in trained]))
        lm.model.zero_grad()
    difference = ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()
    del gradients
    measured = {"naive": timed(stepper(lm, naive), repeat)}
    measured["ours"] = timed(stepper(lm, our_loss), repeat)
    for name, products in BOUNDS.items():
        part = slice(0, 1) if products == 0 else rows
        measured[name] = timed(stepper(lm, least_loss(lm, batch, part, max(products, 1))), repeat)
    row = {
        "vocabulary": shape.vocabulary,
        "kl": kl_rows,
        "loss": losses,
        "gradient_difference": difference,
        "faster": measured["naive"]["seconds"] / measured["ours"]["seconds"],
        "memory": measured["ours"]["mebibytes"] / measured["naive"]["mebibytes"],
        **measured,
    }
    print(
        f"V={shape.vocabulary:>7} KL on {kl_rows:8} naive {measured['naive']['seconds']:.2f} s "
        f"{measured['naive']['mebibytes']:.0f} MiB, ours {measured['ours']['seconds']:.2f} s "
        f"{measured['ours']['mebibytes']:.0f} MiB: {row['faster']:.1f} times as fast, memory "
        f"x {row['memory']:.3f}; loss differs by {abs(losses[0] - losses[1]):.1e}, gradients by "
        f"{difference:.1e} of their norm; "
        + ", ".join(f"{name} {measured[name]['seconds']:.2f} s" for name in BOUNDS),
        flush=True,
    )
    return row


def cost(base: Shape, repeat: int) -> list[dict[str, Any]]:
    """Our step, one axis at a time."""
    shapes = [
        *(replace(base, batch=size) for size in (1, 2, 4, 8)),
        *(replace(base, response=size) for size in (64, 256)),
        *(replace(base, rank=size) for size in (8, 128)),
        *(replace(base, vocabulary=size) for size in (8192, 32_768)),
    ]
    print("| prompts | response | rank | vocabulary | CPU s | MiB |\n|---|---|---|---|---|---|")
    rows = []
    for shape in shapes:
        lm, loss = ours(shape, MosaObjective(window=(10, 40)))
        row = {**vars(shape), **timed(stepper(lm, loss), repeat)}
        print(
            f"| {shape.batch} | {shape.response} | {shape.rank} | {shape.vocabulary:,} "
            f"| {row['seconds']:.2f} | {row['mebibytes']:.0f} |",
            flush=True,
        )
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["step", "cost"])
    parser.add_argument("--models", nargs="+", choices=("wide", "small"), default=["wide", "small"])
    parser.add_argument("--vocabulary", type=int, help="of cost's first rows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="hand-sized: checks the script")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": describe_machine()}
    wide, small = (QUICK, QUICK) if options.quick else (WIDE, SMALL)
    if "step" in options.parts:
        result["step"] = [
            compare(shape, rows, options.repeat)
            for name, shape in (("wide", wide), ("small", small))
            if name in options.models
            for rows in ("window", "response")
        ]
    if "cost" in options.parts:
        base = replace(wide, vocabulary=options.vocabulary or wide.vocabulary)
        result["cost"] = cost(base, options.repeat)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
