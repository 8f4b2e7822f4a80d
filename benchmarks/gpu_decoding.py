"""Decoding on an NVIDIA GPU, on random weights in LLaDA-8B's shape: speed, share of peak, memory.

Run: python benchmarks/gpu_decoding.py [--batch 1 8 32] [--steps 32] [--compile] [-o FILE]
     python benchmarks/gpu_decoding.py --tiny   (hand-sized, on any device: checks the script)

Needs 20 GB of GPU memory. The peak is that of a large bf16 matrix product measured in the same run,
not the data sheet's. Operations are counted from shapes: 2 for each weight and each position,
those of attention, and the head on the rows that went through it.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from random_weights import random_llada

from midspan.decoding import DecodingConfig, Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM

LLADA_8B = {
    "vocab_size": 126_464, "hidden_size": 4096, "intermediate_size": 12_288,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
}  # fmt: skip
TINY = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip
MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "prefix": {"cache": "prefix"},
    "dual": {"cache": "dual"},
}


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_peak(device: str, size: int) -> float:
    """Operations a second of a square bf16 product, the best of ten."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(12):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(left, right)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


class Counter:
    """Operations of all forwards, from the shapes that go through trunk and head."""

    def __init__(self, lm: DiffusionLM) -> None:
        self.clear()
        config = lm.model.config
        layer = sum(weight.numel() for weight in lm.model.model.layers[0].parameters())
        self._weights = layer * config.num_hidden_layers
        self._head = lm.model.lm_head.weight.numel()
        self._attention = 4 * config.num_hidden_layers * config.hidden_size
        lm.model.model.register_forward_pre_hook(self._trunk, with_kwargs=True)
        lm.model.lm_head.register_forward_pre_hook(self._rows)

    def clear(self) -> None:
        """Count from zero."""
        self.operations = self.forwards = 0

    def _trunk(self, module: Any, args: Any, kwargs: Any) -> None:
        rows, queries = kwargs["input_ids"].shape
        cache = kwargs.get("past_key_values")
        keys = queries if cache is None else cache.window.shown
        self.forwards += 1
        self.operations += rows * queries * (2 * self._weights + self._attention * keys)

    def _rows(self, module: Any, args: Any) -> None:
        self.operations += 2 * self._head * args[0].shape[:-1].numel()


def measure(
    lm: DiffusionLM, counter: Counter, config: DecodingConfig, batch: int, prompt: int
) -> dict[str, float]:
    """One run after a warm-up of two steps a block, which meets all kinds of forwards."""
    device, size = str(lm.device.type), lm.model.config.vocab_size
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, size - 3, (batch, prompt), generator=generator).tolist()
    requests = [Request(tuple(row)) for row in ids]
    short = config.model_copy(update={"steps": 2 * config.num_blocks})
    fill(lm, requests, short, batch_size=batch)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    counter.clear()
    synchronize(device)
    start = time.perf_counter()
    fill(lm, requests, config, batch_size=batch)
    synchronize(device)
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    return {
        "seconds": seconds,
        "tokens_per_second": batch * config.length / seconds,
        "forwards_per_second": counter.forwards / seconds,
        "operations_per_second": counter.operations / seconds,
        "memory_gib": memory,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--compile", action="store_true", help="fuse norms and feed-forwards")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        parser.error("no GPU here; --tiny checks the script on the CPU")
    peak = matmul_peak(device, 256 if options.tiny else 8192)
    print(f"bf16 matrix product: {peak / 1e12:.3f} TFLOP/s")
    lm, rows = random_llada(TINY if options.tiny else LLADA_8B, device, torch.bfloat16), []
    if options.compile:
        lm.compile()
    counter = Counter(lm)
    for batch in options.batch:
        for mode, fields in MODES.items():
            config = decoding_config(
                length=options.length, block_length=32, steps=options.steps, early_stop=False,
                **fields,
            )  # fmt: skip
            row = {"batch": batch, "mode": mode, "compiled": options.compile}
            row |= measure(lm, counter, config, batch, options.prompt)
            row["share_of_peak"] = row["operations_per_second"] / peak
            rows.append(row)
            print(
                f"B={batch:<3} {mode:7} {row['tokens_per_second']:9.1f} tok/s "
                f"{row['forwards_per_second']:7.1f} forwards/s {100 * row['share_of_peak']:5.1f} % "
                f"of peak {row['memory_gib']:6.1f} GiB",
                flush=True,
            )
    if options.output:
        written = {"machine": describe_machine(), "peak": peak, "rows": rows}
        options.output.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
