"""The audit's result in one sentence."""

from collections.abc import Sequence

from midspan.studies.audit.config import OWN
from midspan.studies.audit.schema import Audit, LevelResult

ATTACKERS = {
    "chat": "whoever can only chat",
    "infill": "whoever fills in parts of the answer",
    "sampler": "whoever chooses how it decodes",
    "logprobs": "whoever reads its likelihoods",
    "white-box": "whoever has its gradients",
    "weights": "whoever may change its weights",
}


def in_short(audit: Audit) -> str:
    """One sentence that somebody in a hurry can repeat."""
    most = audit.levels[-1]
    if not most.worst_case.most:
        attacks = tried(most.attacks, "the one attack")
        return (
            f"None of {audit.n} behaviors fell to {attacks}, up to {most.access} access; the 95 % "
            f"interval ends at {100 * most.worst_case.high:.1f} %."
        )
    told = [f"{_share(level)} fell to {ATTACKERS[level.access]}" for level in _steps(audit.levels)]
    attacks = counted(len(most.attacks))
    return f"Of {audit.n} behaviors, {_listed(told)}; {attacks} up to {most.access} access."


def tried(attacks: Sequence[str], alone: str = "") -> str:
    """Of how many attacks any may have won; one alone is named, or said as given."""
    return f"any of {counted(len(attacks))}" if len(attacks) > 1 else alone or attacks[0]


def counted(attacks: int) -> str:
    """How many attacks, as a sentence has it."""
    return f"{attacks} attack{'s' * (attacks != 1)}"


def battery(tier: str) -> str:
    """Which table of attacks."""
    return "a battery of one's own" if tier == OWN else f"tier {tier}"


def _listed(parts: list[str]) -> str:
    """Parts as a sentence has them."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _steps(levels: tuple[LevelResult, ...]) -> list[LevelResult]:
    """Levels at which more falls than below; the first always."""
    kept = list(levels[:1])
    for level in levels[1:]:
        if (level.worst_case.least, level.worst_case.most) != (
            kept[-1].worst_case.least,
            kept[-1].worst_case.most,
        ):
            kept.append(level)
    return kept


def _share(level: LevelResult) -> str:
    rate = level.worst_case
    least, most = round(rate.least * rate.n), round(rate.most * rate.n)
    if not most:
        return "none"
    counts = str(least) if least == most else f"{least} to {most}"
    return f"{counts} ({rate.percent})"
