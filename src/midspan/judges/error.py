"""How far a judge can be trusted, and rates with its errors taken out."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from midspan.statistics import Estimate, wilson

# Label and verdict, in the order of a confusion's counts.
_CELLS = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True)
class Confusion:
    """A judge against labels.

    Attributes:
        sensitivity: Share of the labelled successes that it calls so.
        specificity: Share of the labelled failures that it calls so.
        kappa: Cohen's kappa with the labels.
    """

    sensitivity: Estimate
    specificity: Estimate
    kappa: float

    @classmethod
    def of(cls, labels: Sequence[bool], verdicts: Sequence[bool]) -> "Confusion":
        """Compare verdicts with labels, item by item."""
        cells = Counter(zip(labels, verdicts, strict=True))
        return cls.of_counts(*(cells[cell] for cell in _CELLS))

    @classmethod
    def of_counts(cls, hits: int, misses: int, false_alarms: int, rejections: int) -> "Confusion":
        """From how many items have label and verdict, label alone, verdict alone, and neither."""
        positive, negative, called = hits + misses, false_alarms + rejections, hits + false_alarms
        n = positive + negative
        kappa = math.nan
        if n:
            agreed = (hits + rejections) / n
            chance = (positive * called + negative * (n - called)) / n**2
            kappa = (agreed - chance) / (1 - chance) if chance < 1 else math.nan
        return cls(wilson(hits, positive), wilson(rejections, negative), kappa)


@dataclass(frozen=True)
class Corrected:
    """A rate with a judge's errors taken out, between 0 and 1."""

    rate: float
    low: float
    high: float


def rogan_gladen(
    observed: Estimate, sensitivity: Estimate, specificity: Estimate, confidence: float = 0.95
) -> Corrected:
    """The true rate behind an observed one, given a judge's errors as measured on labelled items.

    The estimate is Rogan and Gladen's (1978), cut to [0, 1]; the interval, which also knows that
    the errors were measured on few items, Lang and Reiczigel's (2014). A judge no better than
    chance says nothing: ``nan`` and [0, 1].
    """
    youden = sensitivity.rate + specificity.rate - 1
    if observed.n == 0 or not youden > 0:
        return Corrected(math.nan, 0.0, 1.0)
    rate = (observed.rate + specificity.rate - 1) / youden
    low, high = _interval(observed, _shrunk(sensitivity, 1), _shrunk(specificity, 1), confidence)
    return Corrected(_clip(rate), low, high)


def any_of_bounds(
    observed: Estimate, sensitivity: Estimate, specificity: Estimate, verdicts: int
) -> tuple[Corrected, Corrected]:
    """From where to where the true rate may lie, where any of several verdicts makes a success.

    Errors of verdicts on one behavior depend on each other in a way that nobody knows, so there is
    no one rate to correct to. Whatever they are, a behavior without a true success is called one
    with a probability of at most `verdicts` false alarms, and one with a true success is missed
    with that of one miss at most. Rogan and Gladen's correction by either alone gives the two ends.

    Args:
        observed: Behaviors with a verdict of success among theirs.
        sensitivity: Of a single verdict.
        specificity: Of a single verdict.
        verdicts: Verdicts a behavior, at most.

    Returns:
        The least and the most. The lower end of the first interval and the upper end of the second
        hold the true rate at least as often as 95 % says.
    """
    if observed.n == 0:
        return Corrected(math.nan, 0.0, 1.0), Corrected(math.nan, 0.0, 1.0)
    alarms = verdicts * (1 - specificity.rate)
    rate = _clip((observed.rate - alarms) / (1 - alarms)) if alarms < 1 else 0.0
    shrunk, error = _shrunk(specificity, 1)
    kept = (1 - verdicts * (1 - shrunk), verdicts**2 * error)
    least = Corrected(rate, *_interval(observed, (1.0, 0.0), kept))
    rate = _clip(observed.rate / sensitivity.rate) if sensitivity.successes else 1.0
    most = Corrected(rate, *_interval(observed, _shrunk(sensitivity, 1), (1.0, 0.0)))
    return least, most


def _interval(
    observed: Estimate,
    sensitivity: tuple[float, float],
    specificity: tuple[float, float],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Lang and Reiczigel's interval, from a judge's rates with their squared errors."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, p_error = _shrunk(observed, z * z / 2)
    (se, se_error), (sp, sp_error) = sensitivity, specificity
    slope = se + sp - 1
    if slope <= 0:
        return 0.0, 1.0
    centre = (p + sp - 1) / slope
    shift = 2 * z * z * (centre * se_error - (1 - centre) * sp_error)
    spread = p_error + centre**2 * se_error + (1 - centre) ** 2 * sp_error
    half = z * math.sqrt(spread) / slope
    return _clip(centre + shift - half), _clip(centre + shift + half)


def _shrunk(estimate: Estimate, added: float) -> tuple[float, float]:
    """Rate and squared error with `added` successes and as many failures more."""
    n = estimate.n + 2 * added
    rate = (estimate.successes + added) / n
    return rate, rate * (1 - rate) / n


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
