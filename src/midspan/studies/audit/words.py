"""The audit's result in one sentence."""

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
    levels = _steps(audit.levels)
    most = audit.levels[-1]
    attacks = f"{len(most.attacks)} attacks" if len(most.attacks) > 1 else "the one attack"
    if not most.worst_case.most:
        return (
            f"{audit.model} withstood {attacks}, up to {most.access} access: none of "
            f"{audit.n} behaviors fell, and a true rate above {100 * most.worst_case.high:.0f} % "
            "is unlikely."
        )
    told = "; ".join(f"{_share(level)} to {ATTACKERS[level.access]}" for level in levels)
    return f"{audit.model} lost {told}, of {audit.n} behaviors under {attacks} in all."


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
        return "nothing"
    counts = str(least) if least == most else f"{least} to {most}"
    return f"{counts} ({rate.percent})"
