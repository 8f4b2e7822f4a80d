"""How full forwards are on ragged requests, and whether rows get what they get alone.

Run: python benchmarks/fill.py [-n 64] [--batch 8] [--length 128] [--modes MODE ...] [--quick]

The organism on its own requests, without a cache and with each. "block" is the organism under the
attention mask of block diffusion: not what it was trained for, but its blocks end raggedly as a
trained model's do. Fill is rows a forward over the batch size. "positions" is what went through the
model over what the same rows need alone: rows of shorter windows ride along with longer ones.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from decoding import organism_cases
from midspan.decoding import Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM
from midspan.organism.weights import load_organism

BLOCK = 32
MODES: dict[str, dict[str, Any]] = {
    "threshold 0.9": {"threshold": 0.9},
    "prefix, threshold 0.95": {"cache": "prefix", "threshold": 0.95},
    "dual, threshold 0.95": {"cache": "dual", "threshold": 0.95},
    "dual, schedule": {"cache": "dual"},
    "block, threshold 0.95": {"sampler": "block", "threshold": 0.95},
}


@contextmanager
def fed(lm: DiffusionLM) -> Iterator[list[tuple[int, int]]]:
    """Rows and positions of every forward within the context.

    A hook on the model's modules would keep the bare trunk from running.
    """
    shapes: list[tuple[int, int]] = []
    hidden = lm.hidden

    def noted(ids_BQ: Any, *others: Any, **named: Any) -> Any:
        shapes.append(tuple(ids_BQ.shape))
        return hidden(ids_BQ, *others, **named)

    with mock.patch.object(lm, "hidden", noted):
        yield shapes


def measure(
    lm: DiffusionLM,
    requests: Sequence[Request],
    fields: dict[str, Any],
    batch: int,
    length: int,
    is_compared: bool,
) -> dict[str, float]:
    """Fill, positions over those alone, share of responses that are those alone, CPU seconds."""
    settings = {"length": length, "block_length": min(BLOCK, length), "steps": length}
    if fields.get("sampler") == "block":
        family = replace(lm.family, attention="block_causal")
        lm = replace(lm, family=family, block_length=settings["block_length"])
    config = decoding_config(**settings, **fields)
    with fed(lm) as together:
        start = time.process_time()
        found = fill(lm, requests, config, batch_size=batch)
        seconds = time.process_time() - start
    measured = {
        "forwards": len(together),
        "fill": sum(rows for rows, _ in together) / (len(together) * batch),
        "positions": float("nan"),
        "same": float("nan"),
        "seconds": seconds,
    }
    if not is_compared:
        return measured
    with fed(lm) as single:
        alone = [fill(lm, [request], config)[0] for request in requests]
    positions, needed = (sum(a * q for a, q in shapes) for shapes in (together, single))
    same = sum(one.tokens == two.tokens for one, two in zip(found, alone, strict=True))
    return measured | {"positions": positions / needed, "same": same / len(alone)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=64, help="requests")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128, help="of a canvas")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--quick", action="store_true", help="do not decode each row alone too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lm = load_organism()
    requests = [
        Request(tuple(lm.encode_chat(case.prompt)), seed=seed)
        for seed, case in enumerate(organism_cases(options.n, 5, frozenset()))
    ]
    print("| mode | forwards | fill | positions, times those alone | same as alone | CPU s |")
    print("|---|---|---|---|---|---|")
    for mode in options.modes:
        size = (options.batch, options.length)
        row = measure(lm, requests, MODES[mode], *size, not options.quick)
        print(
            f"| {mode} | {row['forwards']} | {row['fill']:.1%} | {row['positions']:.3f} "
            f"| {row['same']:.1%} | {row['seconds']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
