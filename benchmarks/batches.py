"""Rows of a batch against the same rows alone, in single and half precision: the same tokens?

Run: python benchmarks/batches.py [--requests 32] [--length 32] [--tiny]

The organism in float32, bf16 and fp16, on its own requests of different lengths; batches of 1, 4
and 16. A response is compared with that of the row alone, in the same number format.
"""

import argparse

import torch

import midspan
from midspan.decoding import Request, decode, decoding_config
from midspan.models import DiffusionLM
from midspan.studies.organism.verify.config import VerifyConfig
from midspan.studies.organism.verify.run import verification_cases

DTYPES = ("float32", "bfloat16", "float16")


def tokens_of(
    lm: DiffusionLM, requests: list[Request], length: int, batch_size: int
) -> list[tuple[int, ...]]:
    config = decoding_config(lm, length=length, steps=length, block_length=length)
    return [row.tokens for row in decode(lm, requests, config, batch_size=batch_size)]


def compare(dtype: str, num_requests: int, length: int, batch_size: int) -> tuple[float, float]:
    """The shares of responses and of tokens that are those of the rows alone."""
    lm = midspan.load("organism", dtype=dtype, device="cpu")
    cases = verification_cases(VerifyConfig(num_requests, num_requests, 5))
    cases = cases[:: max(1, len(cases) // num_requests)][:num_requests]
    requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]
    alone = tokens_of(lm, requests, length, 1)
    together = tokens_of(lm, requests, length, batch_size)
    equal = torch.tensor(alone) == torch.tensor(together)
    return equal.all(1).float().mean().item(), equal.float().mean().item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.requests, options.length = 4, 8
    print("| number format | batch | same responses | same tokens |\n|---|---|---|---|")
    for dtype in DTYPES:
        for batch_size in (4, 16):
            rows, tokens = compare(dtype, options.requests, options.length, batch_size)
            print(f"| {dtype} | {batch_size} | {rows:.1%} | {tokens:.1%} |")


if __name__ == "__main__":
    main()
