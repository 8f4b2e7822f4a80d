"""LLaDA's published loop against fast settings: CPU seconds, forwards and equal verdicts.

Run: python benchmarks/fast.py [-n 300] [--minutes 3] [--settings FILE] [-o FOLDER]

The organism's held-out requests, batch 8, canvas 128, blocks of 32, 128 steps of the loop. They go
in shards of 32: in each the loop first, then every mode, so that all meet the same machine. Shards
are kept in the folder, and the same command goes on; --minutes ends a run after the shard at hand.
Verdicts are success, refusal and the facts stated, by the exact judge. --settings is a file of
`midspan probe fidelity organism --choose`; its requests are others (other seed, no shared prompt).
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from decoding import published_batches, timed
from midspan.decoding import Request, decoding_config
from midspan.decoding.decoder import fill
from midspan.statistics import wilson

SHARD, BATCH = 32, 8
SETTINGS: dict[str, Any] = {"length": 128, "block_length": 32, "steps": 128}
_TRIMMED: dict[str, Any] = {"cache": "dual", "trim": True, "refresh_blocks": 4}
MODES: dict[str, dict[str, Any]] = {
    "dual, trimmed, renewed every 4 blocks, threshold 0.95": {**_TRIMMED, "threshold": 0.95},
    **{
        f"the same windows, doubt {doubt}, revised below {least}": {
            **_TRIMMED, "doubt": doubt, "revise": least,
        }
        for doubt, least in ((0.2, 0.95), (0.3, 0.98))
    },
}  # fmt: skip


def held_out(n: int) -> list[Any]:
    """Requests that no choice with the usual seeds has seen."""
    from midspan.probes.choice import ChoiceConfig
    from midspan.studies.choice.asked import organism_cases

    search = ChoiceConfig()
    known = organism_cases(search.n, 0, frozenset())
    return organism_cases(n, 2_000_003, frozenset(case.prompt for case in known))


def shard(lm: Any, cases: Sequence[Any], modes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One shard: seconds, forwards and verdicts of the loop and of every mode."""
    requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]

    def verdicts(canvases: Sequence[Sequence[int]]) -> list[list[Any]]:
        found = [
            case.verdict(lm.decode_text(tokens))
            for case, tokens in zip(cases, canvases, strict=True)
        ]
        return [[one["success"], one["refusal"], one["facts_stated"]] for one in found]

    base = decoding_config(**SETTINGS)
    canvases, seconds, _ = timed(lambda: published_batches(lm, requests, base, BATCH))
    rows = {
        "published loop": {
            "seconds": seconds, "forwards": SETTINGS["steps"] * len(cases),
            "verdicts": verdicts(canvases),
        }
    }  # fmt: skip
    for name, fields in modes.items():
        config = decoding_config(**SETTINGS, **fields)
        filled, seconds, _ = timed(partial(fill, lm, requests, config, batch_size=BATCH))
        rows[name] = {
            "seconds": seconds, "forwards": sum(one.forwards for one in filled),
            "verdicts": verdicts([one.tokens for one in filled]),
        }  # fmt: skip
    return rows


def table(shards: Sequence[dict[str, Any]]) -> str:
    """The Markdown table of the shards that have been run."""
    base = [part["published loop"] for part in shards]
    expected = [verdict for part in base for verdict in part["verdicts"]]
    lines = [
        "| mode | forwards | CPU s a response | times the loop | by shard | same verdicts |",
        "|---|---|---|---|---|---|",
    ]
    for name in shards[0]:
        parts = [part[name] for part in shards]
        ratios = [b["seconds"] / p["seconds"] for b, p in zip(base, parts, strict=True)]
        found = [verdict for part in parts for verdict in part["verdicts"]]
        same = wilson(sum(a == b for a, b in zip(expected, found, strict=True)), len(expected))
        seconds = sum(part["seconds"] for part in parts)
        forwards = sum(part["forwards"] for part in parts) / len(expected)
        ratio = sum(part["seconds"] for part in base) / seconds
        lines.append(
            f"| {name} | {forwards:.1f} | {seconds / len(expected):.3f} | {ratio:.1f} "
            f"| {min(ratios):.1f} to {max(ratios):.1f} | {same.successes}: {same} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    import torch

    from midspan.organism.weights import load_organism

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=320, help="requests, a multiple of the shard")
    parser.add_argument("--minutes", type=float, default=60, help="begin no shard after so many")
    parser.add_argument("--settings", type=Path, help="a file of chosen settings, as a mode too")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/benchmark-fast"))
    given = parser.parse_args(arguments)
    modes = dict(MODES)
    if given.settings is not None:
        from midspan.studies.choice.stored import read_settings

        modes["chosen"] = read_settings(given.settings).decoding
    torch.set_num_threads(1)
    lm, cases, began = load_organism(), held_out(given.n), time.monotonic()
    given.output.mkdir(parents=True, exist_ok=True)
    fill(lm, [Request(tuple(lm.encode_chat("hello .")))], decoding_config(**SETTINGS))
    shards = []
    for first in range(0, len(cases), SHARD):
        file = given.output / f"shard-{first}.json"
        if not file.is_file():
            if time.monotonic() - began > 60 * given.minutes:
                break
            file.write_text(json.dumps(shard(lm, cases[first : first + SHARD], modes)))
        shards.append(json.loads(file.read_text()))
    if not shards:
        raise SystemExit("no shard was run; give more --minutes")
    done = sum(len(part["published loop"]["verdicts"]) for part in shards)
    print(f"{done} of {given.n} requests\n\n{table(shards)}")


if __name__ == "__main__":
    main()
