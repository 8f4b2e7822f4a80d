"""midspan beside other tools' samplers: one run, same weights, in turn, ratios with their spread.

Run: python benchmarks/peers.py [organism random 47M] [--batch 1 8] [--repeats 5]
     [--steps N] [-o peers.json] [--docs PAGE]

The others are `peer_samplers.py`: LLaDA's loop, Fast-dLLM's prefix and dual cache, dllm's sampler,
written anew and equal to stored outputs of the published code where there are some (LLaDA, dllm).
A repeat runs each once, in an order that turns; a ratio is of CPU seconds within a repeat, the
loop's over its own, and the table has the median with the lowest and the highest. `-o` keeps rows
in a file, so that several calls may make one table; `--docs` writes all of them into a page. The
model "random" is of `make_checkpoint.py`'s format, LLaDA's vocabulary over a narrow trunk; "47M"
has 12 layers of width 512 and 8,192 words. Their confidences mean nothing.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import describe_machine
from make_checkpoint import write_checkpoint
from native_page import replace_between, table
from peer_samplers import Settings, dllm, fast_dllm, llada
from random_weights import random_llada, trunk

from midspan.decoding import Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM, load
from midspan.runs.progress import quiet

THRESHOLD = 0.9
HEAD_GAIN = 8  # Random logits are flat; with this gain some positions pass the threshold.
CANVASES = {
    "organism": Settings(128, 32, 128),
    "random": Settings(32, 16, 8),
    "47M": Settings(32, 16, 8),
}
RANDOM_PROMPT = 16  # tokens
COLUMNS = (
    "model",
    "batch",
    "steps",
    "sampler",
    "times LLaDA's loop",
    "lowest, highest (repeats)",
    "tokens",
)

Sampler = Callable[[DiffusionLM, Sequence[Sequence[int]], Settings], Any]


class Pair(NamedTuple):
    """Samplers that do the same work: midspan's settings, and whose tokens they should give."""

    peer: str
    sampler: Sampler
    fields: dict[str, Any]
    threshold: float | None


def pairs() -> tuple[Pair, ...]:
    """What is compared, the loop first."""
    prefix, dual = partial(fast_dllm, dual=False), partial(fast_dllm, dual=True)
    sure = {"threshold": THRESHOLD}
    return (
        Pair("LLaDA's loop", llada, {}, None),
        Pair("dllm's sampler", dllm, {"schedule": "linear"}, None),
        Pair("Fast-dLLM, prefix", prefix, {"cache": "prefix"}, None),
        Pair("Fast-dLLM, dual", dual, {"cache": "dual"}, None),
        Pair("Fast-dLLM, prefix, threshold", prefix, {"cache": "prefix"} | sure, THRESHOLD),
        Pair("Fast-dLLM, dual, threshold", dual, {"cache": "dual"} | sure, THRESHOLD),
    )


def ours(
    lm: DiffusionLM, prompts: Sequence[Sequence[int]], how: Settings, fields: dict[str, Any]
) -> torch.Tensor:
    """Midspan's canvases, without its early stop, which the others have not."""
    config = decoding_config(
        sampler="llada", length=how.length, block_length=how.block, steps=how.steps,
        early_stop=False, **fields,
    )  # fmt: skip
    requests = [Request(tuple(prompt)) for prompt in prompts]
    filled = fill(lm, requests, config, batch_size=len(prompts))
    return torch.tensor([one.tokens for one in filled])


def loaded(name: str) -> DiffusionLM:
    """The organism, or a random model: one is read from a checkpoint of LLaDA-8B's format."""
    if name == "organism":
        return load("organism", device="cpu")
    if name == "47M":
        lm = random_llada(trunk(layers=12, hidden=512, mlp=1408, vocabulary=8192))
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), layers=2, width=256)
            lm = load(folder, device="cpu", dtype="float32")
    with torch.no_grad():
        lm.base.lm_head.weight *= HEAD_GAIN
    return lm


def prompts_for(lm: DiffusionLM, name: str, batch: int) -> list[list[int]]:
    """Prompts of one length, which Fast-dLLM's caches need."""
    if name != "organism":
        generator = torch.Generator().manual_seed(1)
        return torch.randint(0, 1000, (batch, RANDOM_PROMPT), generator=generator).tolist()
    from midspan.organism.world import restricted_items

    texts = (f"how do i make the {item.name} ?" for item in restricted_items())
    found = [lm.encode_chat(text) for text in texts]
    lengths = [len(ids) for ids in found]
    common = statistics.mode(lengths)
    return [ids for ids in found if len(ids) == common][:batch]


def compare(
    name: str, lm: DiffusionLM, canvas: Settings, batch: int, repeats: int
) -> Iterator[list[list[str]]]:
    """Rows of the table for one model and batch, after each repeat those of all so far."""
    prompts = prompts_for(lm, name, batch)
    work: dict[tuple[str, str], Callable[[], torch.Tensor]] = {}
    for pair in pairs():
        how = Settings(canvas.length, canvas.block, canvas.steps, pair.threshold)
        work[pair.peer, "peer"] = partial(pair.sampler, lm, prompts, how)
        work[pair.peer, "midspan"] = partial(ours, lm, prompts, canvas, pair.fields)
    results: dict[tuple[str, str], torch.Tensor] = {}
    ratios: dict[tuple[str, str], list[float]] = {key: [] for key in work}
    for repeat in range(-1, repeats):
        seconds = {}
        order = list(work)
        turn = repeat % len(order)
        for key in order[turn:] + order[:turn]:
            began = time.process_time()
            with torch.inference_mode():
                results[key] = work[key]()
            seconds[key] = time.process_time() - began
        # The first time warms the caches of the processor and of torch.
        if repeat < 0:
            continue
        for key, value in seconds.items():
            ratios[key].append(seconds["LLaDA's loop", "peer"] / value)
        yield [
        row_of(name, batch, canvas, key, ratios[key], results) for pair in pairs()
        for key in ((pair.peer, "peer"), (pair.peer, "midspan"))
    ]  # fmt: skip


def row_of(
    name: str, batch: int, canvas: Settings, key: tuple[str, str],
    ratios: Sequence[float], results: dict[tuple[str, str], torch.Tensor],
) -> list[str]:  # fmt: skip
    """One line; of midspan's, how many tokens are the peer's."""
    peer, side = key
    same = ""
    if side == "midspan":
        equal = (results[peer, "peer"] == results[key]).float().mean().item()
        same = f"{100 * equal:.1f} % the peer's"
    label = peer if side == "peer" else f"midspan, as {peer}"
    spread = f"{min(ratios):.2f}, {max(ratios):.2f}"
    middle = f"{statistics.median(ratios):.2f}"
    spread = f"{spread} ({len(ratios)})"
    return [name, str(batch), str(canvas.steps), label, middle, spread, same]


def slower(rows: Sequence[Sequence[str]]) -> list[str]:
    """Where midspan's median is below its peer's."""
    found = []
    for peer, mine in zip(rows[::2], rows[1::2], strict=True):
        if float(mine[4]) < float(peer[4]):
            found.append(f"{mine[0]}, batch {mine[1]}, {peer[3]}: {mine[4]} against {peer[4]}")
    return found


def kept(file: Path | None, rows: list[list[str]]) -> list[list[str]]:
    """All rows of a file, these in the place of those of the same model, batch and steps."""
    if file is None:
        return rows
    new = {tuple(row[:3]) for row in rows}
    before = json.loads(file.read_text()) if file.exists() else []
    found = [row for row in before if tuple(row[:3]) not in new] + rows
    file.write_text(json.dumps(found, indent=1))
    return found


def page_text(rows: Sequence[Sequence[str]]) -> str:
    """The table, where midspan is slower, and what it was measured on."""
    machine = describe_machine()
    where = slower(rows)
    verdict = "; ".join(where) if where else "nowhere"
    return (
        f"{machine['cpu']}, 1 thread, torch {machine['torch']}, transformers "
        f"{machine['transformers']}.\n\n{table(COLUMNS, rows)}\n\n"
        f"midspan is slower than a peer: {verdict}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(CANVASES))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="over the canvas, instead of the model's own")
    parser.add_argument("-o", "--output", type=Path, help="a file of rows, to add to")
    parser.add_argument("--docs", type=Path, help="a page with the marks of peers")
    options = parser.parse_args(arguments)
    quiet()
    torch.set_num_threads(1)
    rows = kept(options.output, [])
    for name in options.models:
        lm, canvas = loaded(name), CANVASES[name]
        canvas = replace(canvas, steps=options.steps or canvas.steps)
        for batch in options.batch:
            before, found = rows, list[list[str]]()
            for found in compare(name, lm, canvas, batch, options.repeats):
                rows = kept(options.output, found) if options.output else before + found
            print(*map(" | ".join, found), sep="\n", flush=True)
    if options.docs is not None:
        text = options.docs.read_text(encoding="utf-8")
        told = replace_between(text, "peers", page_text(rows))
        options.docs.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
