"""Decoding on the CPU against LLaDA's published loop: same weights, same settings, same run.

Run: python benchmarks/decoding.py [small wide organism cost] [--batch 1 8] [--quick] [-o FOLDER]

small: 47M parameters, 8k vocabulary. wide: a narrow trunk under LLaDA's vocabulary of 126,464.
organism: the trained tiny model, with the verdicts of its judge. cost: seconds a token against
length, batch and vocabulary, beside the bound that the forward passes alone set. Times are CPU
seconds of one run on one thread; memory is the peak over the loaded model. Weights of small and
wide are random: their ratios of time at equal forwards mean something, their confidences do not.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, peak_memory
from random_weights import random_llada, trunk

from midspan.decoding import DecodingConfig, Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.models import DiffusionLM

HEAD_GAIN = 8  # Random logits are flat; with this gain, some positions pass a threshold of 0.9.
MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "prefix": {"cache": "prefix"},
    "dual": {"cache": "dual"},
    "threshold": {"threshold": 0.9},
    "dual + threshold": {"cache": "dual", "threshold": 0.9},
}
# What the organism's settings are chosen from.
CANDIDATES: dict[str, dict[str, Any]] = {
    **{f"{cache}, threshold {p}": {"cache": cache, "threshold": p}
       for cache in ("none", "prefix", "dual") for p in (0.9, 0.95, 0.97, 0.98, 0.99)},
    "dual": {"cache": "dual"},
    "dual, factor 1": {"cache": "dual", "factor": 1.0},
    "dual, factor 0.5": {"cache": "dual", "factor": 0.5},
}  # fmt: skip
AGREEMENT = 0.99


@dataclass(frozen=True)
class Shape:
    """A random model and what it decodes."""

    layers: int
    hidden: int
    mlp: int
    vocabulary: int
    prompt: int = 64
    length: int = 128
    block: int = 32
    steps: int = 64


SMALL = Shape(layers=12, hidden=512, mlp=1408, vocabulary=8192)
WIDE = Shape(layers=2, hidden=256, mlp=704, vocabulary=126_464, steps=32)
QUICK = Shape(layers=2, hidden=64, mlp=128, vocabulary=512, prompt=8, length=16, block=8, steps=8)


def random_model(shape: Shape) -> DiffusionLM:
    lm = random_llada(trunk(shape.layers, shape.hidden, shape.mlp, shape.vocabulary))
    with torch.no_grad():
        lm.base.lm_head.weight *= HEAD_GAIN
    return lm


@torch.inference_mode()
def published_loop(
    lm: DiffusionLM, prompts: Sequence[Sequence[int]], config: DecodingConfig
) -> list[list[int]]:
    """generate.py of ML-GSAI/LLaDA at temperature 0: logits and softmax of every position."""
    mask, width = lm.tokens.mask, max(map(len, prompts))
    ids_BT = torch.full((len(prompts), width + config.length), mask)
    attention_BT = torch.ones_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, : width - len(prompt)] = lm.tokens.pad
        attention_BT[row, : width - len(prompt)] = 0
        ids_BT[row, width - len(prompt) : width] = torch.tensor(prompt)
    given = None if attention_BT.all() else attention_BT
    for start in range(width, width + config.length, config.block):
        end, steps = start + config.block, config.steps_per_block
        masks_B1 = (ids_BT[:, start:end] == mask).sum(1, keepdim=True)
        counts_BS = masks_B1 // steps + (torch.arange(steps) < masks_B1 % steps)
        for step in range(steps):
            open_BT = ids_BT == mask
            logits_BTV = lm.model(input_ids=ids_BT, attention_mask=given).logits
            token_BT = logits_BTV.argmax(-1)
            probs_BTV = logits_BTV.softmax(-1)
            confidence_BT = probs_BTV.gather(-1, token_BT[..., None])[..., 0]
            confidence_BT[:, end:] = -torch.inf
            confidence_BT = torch.where(open_BT, confidence_BT, -torch.inf)
            token_BT = torch.where(open_BT, token_BT, ids_BT)
            chosen_BT = torch.zeros_like(open_BT)
            for row in range(len(prompts)):
                count = int(counts_BS[row, step])
                chosen_BT[row, confidence_BT[row].topk(count).indices] = True
            ids_BT[chosen_BT] = token_BT[chosen_BT]
    return ids_BT[:, width:].tolist()


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, CPU seconds and peak MiB."""
    with peak_memory() as peak:
        start = time.process_time()
        result = work()
        seconds = time.process_time() - start
    return result, seconds, peak.mebibytes


def against_baseline(name: str, shape: Shape, batch: int) -> list[dict[str, Any]]:
    """All modes on one random model."""
    lm = random_model(shape)
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(0, shape.vocabulary - 3, (batch, shape.prompt), generator=generator)
    requests = [Request(tuple(prompt)) for prompt in prompts.tolist()]
    settings = {
        "length": shape.length, "block_length": shape.block, "steps": shape.steps,
        "early_stop": False,
    }  # fmt: skip
    fill(lm, requests[:1], decoding_config(**settings | {"steps": shape.length // shape.block}))
    expected, base_seconds, base_peak = timed(
        lambda: published_loop(lm, prompts.tolist(), decoding_config(**settings))
    )
    total = batch * shape.length
    rows = [row_of(name, batch, "published loop", base_seconds, base_peak, total)]
    rows[0] |= {"forwards": shape.steps, "speedup": 1.0, "memory": 1.0, "same_tokens": 1.0}
    show(rows[0])
    for mode, fields in MODES.items():
        config = decoding_config(**settings, **fields)
        filled, seconds, peak = timed(partial(fill, lm, requests, config, batch_size=batch))
        same = np.mean(np.array([one.tokens for one in filled]) == np.array(expected))
        row = row_of(name, batch, mode, seconds, peak, total) | {
            "forwards": sum(one.forwards for one in filled) / batch,
            "speedup": base_seconds / seconds,
            "memory": peak / base_peak,
            "same_tokens": float(same),
        }
        rows.append(row)
        show(row)
    return rows


def row_of(
    model: str, batch: int, mode: str, seconds: float, peak: float, tokens: int
) -> dict[str, Any]:
    return {
        "model": model, "batch": batch, "mode": mode, "seconds": seconds, "peak_mib": peak,
        "tokens_per_second": tokens / seconds,
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(
        f"{row['model']:9} B={row['batch']:<2} {row['mode']:18} {row['seconds']:8.1f} s "
        f"{row['tokens_per_second']:8.1f} tok/s {row['forwards']:6.1f} forwards "
        f"x{row['speedup']:5.2f} {row['peak_mib']:7.1f} MiB (x{row['memory']:.3f}) "
        f"same {row['same_tokens']:.3f}",
        flush=True,
    )


def organism(n: int, steps: int, batch: int = 8) -> list[dict[str, Any]]:
    """The trained model, with its judge: settings chosen on some cases, reported on others."""
    from midspan.organism.weights import load_organism

    lm, settings = load_organism(), {"length": 128, "block_length": 32, "steps": steps}
    held_in = organism_cases(n, 5, frozenset())
    rows = on_cases(lm, held_in, settings, CANDIDATES, batch)
    good = [row for row in rows[1:] if row["same_verdicts"] >= AGREEMENT * row["n"]]
    chosen = max(good, key=lambda row: row["speedup"], default=rows[1])["mode"]
    print(f"chosen on held-in cases: {chosen}", flush=True)
    held_out = organism_cases(2 * n, 6, frozenset(case.prompt for case in held_in))
    judged = {name: CANDIDATES[name] for name in dict.fromkeys((chosen, "dual"))}
    judging = on_cases(lm, held_out, settings, {"exact": {}} | judged, batch)
    return [
        row | {"cases": name}
        for name, part in (("held-in", rows), ("held-out", judging))
        for row in part
    ]


def organism_cases(n: int, seed: int, without: frozenset[str]) -> list[Any]:
    """Benign, plain and wrapped requests, none of them a prompt of `without`."""
    from midspan.studies.organism.verify.config import VerifyConfig
    from midspan.studies.organism.verify.run import verification_cases

    cases = [case for case in verification_cases(VerifyConfig(n, n, seed)) if case.question is None]
    cases = [case for case in cases if case.prompt not in without]
    return cases[:: len(cases) // n][:n]


def on_cases(
    lm: DiffusionLM, cases: Sequence[Any], settings: dict[str, Any],
    modes: dict[str, dict[str, Any]], batch: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """The published loop and all modes, with the verdicts that are the same."""
    requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]

    def verdicts(canvases: Sequence[Sequence[int]]) -> list[tuple[bool, bool]]:
        texts = [lm.decode_text(tokens) for tokens in canvases]
        records = [case.verdict(text) for case, text in zip(cases, texts, strict=True)]
        return [(verdict["success"], verdict["refusal"]) for verdict in records]

    canvases, base_seconds, base_peak = timed(
        lambda: published_batches(lm, requests, decoding_config(**settings), batch)
    )
    expected, total = verdicts(canvases), len(cases) * settings["length"]
    common = {"n": len(cases), "same_tokens": float("nan")}
    rows = [row_of("organism", batch, "published loop", base_seconds, base_peak, total) | common]
    rows[0] |= {"forwards": settings["steps"], "speedup": 1.0, "memory": 1.0}
    show(rows[0])
    for mode, fields in modes.items():
        config = decoding_config(**settings, **fields)
        filled, seconds, peak = timed(partial(fill, lm, requests, config, batch_size=batch))
        judged = verdicts([one.tokens for one in filled])
        row = row_of("organism", batch, mode, seconds, peak, total) | common
        row["forwards"] = sum(one.forwards for one in filled) / len(filled)
        row |= {"speedup": base_seconds / seconds, "memory": peak / base_peak}
        row["same_verdicts"] = sum(a == b for a, b in zip(expected, judged, strict=True))
        rows.append(row)
        show(row)
        print(f"{'':14}same verdicts {row['same_verdicts']}/{len(cases)}", flush=True)
    return rows


def published_batches(
    lm: DiffusionLM, requests: Sequence[Request], config: DecodingConfig, batch: int
) -> list[list[int]]:
    """The published loop over batches of similar length."""
    order = sorted(range(len(requests)), key=lambda row: -len(requests[row].prompt_ids))
    canvases: dict[int, list[int]] = {}
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        prompts = [requests[row].prompt_ids for row in rows]
        canvases |= dict(zip(rows, published_loop(lm, prompts, config), strict=True))
    return [canvases[row] for row in range(len(requests))]


def cost(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Milliseconds a token, beside the bound: the trunk's forward passes alone."""
    lengths, batches, vocabularies = [64, 128, 256], [1, 2, 4, 8], [8192, 32_768, 126_464]
    if quick:
        lengths, batches, vocabularies = [16, 32], [1, 2], [512, 1024]
    middle = (lengths[-2], batches[-2], vocabularies[0])
    points = [(n, middle[1], middle[2]) for n in lengths]
    points += [(middle[0], b, middle[2]) for b in batches]
    points += [(middle[0], middle[1], v) for v in vocabularies]
    rows = []
    for length, batch, vocabulary in dict.fromkeys(points):
        rows.append(cost_of(length, batch, vocabulary))
        print("  ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
    plot_cost(rows, middle, folder / "decoding_cost.svg")
    return rows


def cost_of(length: int, batch: int, vocabulary: int) -> dict[str, Any]:
    """One token a step in sixteen steps of a canvas of `length`, on a narrow trunk."""
    shape = Shape(layers=4, hidden=256, mlp=704, vocabulary=vocabulary, prompt=32, length=length)
    lm = random_model(shape)
    # All but sixteen positions are anchors, so that every mode takes the same sixteen forwards.
    anchors = dict.fromkeys(range(16, length), 5)
    requests = [Request(tuple(range(6, 38)), anchors=anchors) for _ in range(batch)]
    settings = {"length": length, "block_length": 16, "steps": length, "early_stop": False}
    result: dict[str, Any] = {"length": length, "batch": batch, "vocabulary": vocabulary}
    for mode in ("exact", "dual"):
        config = decoding_config(**settings, **MODES[mode])
        fill(lm, requests, config)
        _, seconds, _ = timed(partial(fill, lm, requests, config))
        result[f"{mode}_ms"] = 1000 * seconds / (16 * batch)
    ids_BT = torch.full((batch, 32 + length), 5)
    with torch.inference_mode():
        _, trunk, _ = timed(lambda: [lm.hidden(ids_BT) for _ in range(16)])
        _, full, _ = timed(lambda: [lm.model(input_ids=ids_BT).logits.softmax(-1).max(-1)
                                    for _ in range(16)])  # fmt: skip
    result["bound_ms"] = 1000 * trunk / (16 * batch)
    result["full_logits_ms"] = 1000 * full / (16 * batch)
    return result


def plot_cost(rows: list[dict[str, Any]], middle: tuple[int, int, int], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = ("length", "batch", "vocabulary")
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    for index, (name, axis) in enumerate(zip(names, axes, strict=True)):
        others = [i for i in range(3) if i != index]
        line = [r for r in rows if all(r[names[i]] == middle[i] for i in others)]
        line.sort(key=lambda row: row[name])
        for key, style in (("full_logits_ms", "s-"), ("exact_ms", "o-"), ("dual_ms", "^-"),
                           ("bound_ms", "k--")):  # fmt: skip
            label = key.removesuffix("_ms").replace("_", " ")
            axis.plot([r[name] for r in line], [r[key] for r in line], style, label=label)
        axis.set(xscale="log", yscale="log", xlabel=name)
        measured = [r[name] for r in line]
        axis.minorticks_off()
        axis.set_xticks(measured, [f"{value:,}" for value in measured])
    axes[0].set_ylabel("CPU ms a token")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["small", "wide", "organism", "cost"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=128, help="of the organism's baseline")
    parser.add_argument(
        "-n", type=int, default=150, help="requests to choose the organism's settings on"
    )
    parser.add_argument("--quick", action="store_true", help="hand-sized models, seconds")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/benchmark-decoding"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        if part == "organism":
            rows = organism(8 if options.quick else options.n, options.steps)
        elif part == "cost":
            rows = cost(options.output, options.quick)
        else:
            shape = QUICK if options.quick else {"small": SMALL, "wide": WIDE}[part]
            rows = [row for b in options.batch for row in against_baseline(part, shape, b)]
        written = {"machine": describe_machine(), "rows": rows}
        (options.output / f"{part}.json").write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
