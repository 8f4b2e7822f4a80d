"""The requests that choose settings, those that judge the choice, and what a verdict is."""

import random
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.probes.choice import Asked
from midspan.studies.choice.config import EXACT_JUDGE, KEYWORDS, ChoiceSpec

if TYPE_CHECKING:
    from midspan.models import DiffusionLM
    from midspan.studies.organism.cases import Case

# Held-out requests are drawn apart from the held-in ones.
_HELD_OUT_SEED = 1_000_003


def read_asked(spec: ChoiceSpec, lm: "DiffusionLM") -> Asked:
    """Requests and judge; no prompt is both held in and held out.

    Raises:
        MidspanError: There are too few different requests.
    """
    if spec.on_organism:
        return _organism(spec, lm)
    from midspan.data import read_prompts
    from midspan.decoding import Request
    from midspan.judges import refuses

    if spec.behaviors is None:
        raise MidspanError("--behaviors: give a file, or a set of `midspan data`, to choose on")
    texts = list(dict.fromkeys(read_prompts(spec.behaviors, spec.column)))
    held_in, total = spec.choice.n, spec.choice.n + spec.choice.held_out
    if len(texts) < total:
        raise MidspanError(
            f"--behaviors: {len(texts)} different requests, and n={held_in} to choose on with "
            f"held_out={spec.choice.held_out} to judge the choice need {total}"
        )
    # A file may be sorted by topic.
    texts = random.Random(spec.seed).sample(texts, total)
    requests = [Request(tuple(lm.encode_chat(text)), seed=spec.seed) for text in texts]
    return Asked(requests, held_in, lambda _, text: refuses(text), KEYWORDS)


def _organism(spec: ChoiceSpec, lm: "DiffusionLM") -> Asked:
    from midspan.decoding import Request

    held_in = organism_cases(spec.choice.n, spec.seed, frozenset())
    known = frozenset(case.prompt for case in held_in)
    cases = held_in + organism_cases(spec.choice.held_out, spec.seed + _HELD_OUT_SEED, known)
    requests = [Request(tuple(lm.encode_chat(case.prompt))) for case in cases]

    def verdict(index: int, response: str) -> Any:
        found = cases[index].verdict(response)
        return found["success"], found["refusal"], found["facts_stated"]

    return Asked(requests, len(held_in), verdict, EXACT_JUDGE)


def organism_cases(n: int, seed: int, without: frozenset[str]) -> "list[Case]":
    """So many requests, restricted and benign, plain and wrapped, in mixed order."""
    from midspan.studies.organism.verify.config import VerifyConfig
    from midspan.studies.organism.verify.run import verification_cases

    found = verification_cases(VerifyConfig(n, max(2, n // 8), seed))
    by_prompt = {case.prompt: case for case in found if case.question is None}
    left = [case for prompt, case in sorted(by_prompt.items()) if prompt not in without]
    if len(left) < n:
        raise MidspanError(
            f"choose.n={n}: the organism has {len(left)} different requests of these"
        )
    return random.Random(seed).sample(left, n)
