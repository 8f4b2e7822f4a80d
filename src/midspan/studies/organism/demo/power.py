"""The rates that the demo's hypotheses are expected to meet, and so how likely each is decided.

The Original's are from a pilot on requests of another seed, the defences' from a run on an earlier
training of it, moved towards the new one; PSA's are a guess.
"""

from collections.abc import Mapping

from midspan.studies.organism.demo.cases import ATTEMPTS
from midspan.studies.organism.demo.claims import (
    GUARDED,
    JUDGED,
    MIDDLE_GAIN,
    RIVALS,
    false_refusals,
    gained,
    usefulness,
)
from midspan.studies.power import Assumed, Pairs, Rate, Shares

_COST = Rate(0.01)
_KEPT = Pairs(first=0.89, second=0.92, both=0.87)
_ORIGINAL, _INITIAL, _MOSA, _PSA = 0.70, 0.45, 0.25, 0.20
_RATES = ((_ORIGINAL, _MOSA), (_ORIGINAL, _PSA), (_ORIGINAL, _INITIAL), (_INITIAL, _MOSA))
ASSUMED: Mapping[str, Assumed] = {
    GUARDED: Pairs(first=0.10, second=0.90, both=0.10),
    MIDDLE_GAIN: Shares((0.20, 0.18), (0.18,), correlation=0),
    **{
        gained(*pair): Shares((first,) * ATTEMPTS, (second,) * ATTEMPTS)
        for pair, (first, second) in zip(RIVALS, _RATES, strict=True)
    },
    **{false_refusals(model): _COST for model in JUDGED},
    **{usefulness(model): _KEPT for model in JUDGED},
}
