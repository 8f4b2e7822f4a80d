"""Whether a second organism's masked canvas says everywhere alike how likely a refusal is.

Run: python benchmarks/canvas_ends.py [MODEL ...] [-n 48]

A refusal is over by position 31, a usual recipe at about 70. So on a canvas that is all masks, the
probability of an end-of-text token in between is that of a refusal, and the same at every place.
"""

import argparse
import random
from statistics import fmean

import torch

from midspan.decoding import chat_request
from midspan.models import DiffusionLM, load
from midspan.studies.decodings import ONE_BLOCK
from midspan.studies.organism.second.cases import USUAL, Case, verification_cases
from midspan.studies.organism.second.verify import decoding

PLACES = (31, 36, 40, 45, 50, 55, 60, 64)
_SEED = 11


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["organism2"])
    parser.add_argument("-n", type=int, default=48, help="requests of each kind")
    options = parser.parse_args(arguments)
    cases = verification_cases(options.n, _SEED)
    rng = random.Random(_SEED)
    kinds = {
        "plain": [case for case in cases if case.cell == "sealed plain"],
        "disguised": rng.sample([case for case in cases if case.behavior], options.n),
    }
    print(f"| model | requests | {' | '.join(map(str, PLACES))} |")
    print(f"|---|---{'|---' * len(PLACES)}|")
    for model in options.models:
        lm = load(model)
        for kind, asked in kinds.items():
            ends = [ends_of(lm, case) for case in asked]
            means = " | ".join(f"{100 * fmean(column):.0f}" for column in zip(*ends, strict=True))
            print(f"| {model} | {len(asked)} {kind} | {means} |", flush=True)


@torch.inference_mode()
def ends_of(lm: DiffusionLM, case: Case) -> list[float]:
    """Probability of an end-of-text token at each of the places, on a canvas of masks."""
    request = chat_request(lm, case.messages, decoding(USUAL, ONE_BLOCK))
    first = len(request.prompt_ids)
    ids_1T = torch.tensor([[*request.prompt_ids, *[lm.tokens.mask] * USUAL]])
    rows_P = torch.tensor(PLACES) + first
    logits_PV = lm.logits(ids_1T, rows=rows_P, canvas=first)[0]
    return logits_PV.float().softmax(-1)[:, lm.tokens.eos].tolist()


if __name__ == "__main__":
    main()
