"""A step of Dream's sampler at its published defaults, against the published filter's whole sort.

Run: python benchmarks/nucleus.py [--rows 128] [--vocabulary 152064] [--repeat 3]

Both take the same logits, temper and filter them, sample and rank by entropy. `spread` is the
standard deviation of random logits after tempering: the nucleus of 0.95 then holds the tokens that
the table says. Logits are rounded to bf16 before, as a bf16 head's are, so that many are equal.
"""

import argparse
import time
from collections.abc import Callable

import torch
from machine import describe_machine, peak_memory
from torch import Tensor

from midspan.decoding import decoding_config
from midspan.decoding.draws import hashed_uniform
from midspan.decoding.step import Candidates, Draws, StepSettings, sample, step
from midspan.models.family import SpecialTokens

TOP_P, TEMPERATURE = 0.95, 0.2


def whole_sort(logits_NV: Tensor, uniform_N: Tensor) -> Candidates:
    """The same step with every row sorted, all rows at once, as published."""
    tempered_NV = logits_NV / TEMPERATURE
    sorted_NV, order_NV = tempered_NV.sort(dim=-1, descending=True, stable=True)
    probs_NV = sorted_NV.softmax(-1)
    out_NV = probs_NV.cumsum(-1) - probs_NV > TOP_P
    out_NV = torch.zeros_like(out_NV).scatter(-1, order_NV, out_NV)
    tempered_NV = tempered_NV.masked_fill(out_NV, -torch.inf)
    token_N = sample(tempered_NV.softmax(-1), uniform_N)
    probability_N = tempered_NV.softmax(-1).gather(-1, token_N[:, None])[:, 0]
    score_N = -torch.special.entr(tempered_NV.softmax(-1)).sum(-1)
    return Candidates(token_N, probability_N, score_N)


def in_parts(logits_NV: Tensor, uniform_N: Tensor) -> Candidates:
    """The step as midspan takes it."""
    config = decoding_config(
        sampler="dream", length=len(logits_NV), remasking="entropy", temperature=TEMPERATURE,
        top_p=TOP_P,
    )  # fmt: skip
    settings = StepSettings.of(config, SpecialTokens(mask=None, bos=None, eos=0, eot=None, pad=0))
    open_AR = torch.ones(1, len(logits_NV), dtype=torch.bool)
    draws = Draws(token_AR=uniform_N[None])
    return step(logits_NV[None], open_AR, torch.ones(1, dtype=torch.long), draws, settings)[0]


def measure(
    run: Callable[[Tensor, Tensor], Candidates], given: tuple[Tensor, Tensor], repeat: int
) -> tuple[float, float, Tensor]:
    """CPU seconds (the least of the repeats), peak memory in MiB, and the tokens."""
    best, peaks = float("inf"), []
    for _ in range(repeat):
        with peak_memory() as peak:
            start = time.process_time()
            tokens = run(*given).token_AR.flatten()
            best = min(best, time.process_time() - start)
        peaks.append(peak.mebibytes)
    return best, min(peaks), tokens


def nucleus_size(logits_NV: Tensor) -> int:
    """The median number of tokens in the nucleus."""
    sorted_NV = (logits_NV / TEMPERATURE).softmax(-1).sort(descending=True).values
    return int((sorted_NV.cumsum(-1) - sorted_NV <= TOP_P).sum(-1).median())


@torch.inference_mode()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=152_064)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    print(describe_machine())
    print("| spread | nucleus | filter | CPU s | faster | memory over the logits | same tokens |")
    print("|---|---|---|---|---|---|---|")
    generator = torch.Generator().manual_seed(0)
    position_AR = torch.arange(options.rows)[None]
    uniform_N = hashed_uniform(torch.zeros(1).long(), torch.zeros(1).long(), position_AR)[0]
    for spread in (6.0, 3.0, 0.5):
        logits_NV = torch.randn(options.rows, options.vocabulary, generator=generator)
        logits_NV = (logits_NV * (spread * TEMPERATURE)).bfloat16().float()
        given, size = (logits_NV, uniform_N), nucleus_size(logits_NV)
        weight = logits_NV.numel() * 4 / 2**20
        base_s, base_mib, expected_N = measure(whole_sort, given, options.repeat)
        seconds, mib, token_N = measure(in_parts, given, options.repeat)
        same = (token_N == expected_N).float().mean().item()
        print(f"| {spread} | {size} | whole sort | {base_s:.2f} | 1 | {base_mib / weight:.2f} | |")
        print(
            f"| | | in parts | {seconds:.2f} | {base_s / seconds:.1f} | {mib / weight:.2f} "
            f"| {same:.1%} |"
        )


if __name__ == "__main__":
    main()
