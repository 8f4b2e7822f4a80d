"""What makes the whole of a study doubtful: a role that never answered, code that raised."""

from collections import Counter
from collections.abc import Iterable, Sequence

from midspan.engine.outcomes import silent_roles
from midspan.files import Record

_OF_ONE_MODEL = ("target", "proxy")


def problems(records: Sequence[Record]) -> list[str]:
    """A line each; none where every role answered something and no code raised.

    Args:
        records: Of attacks.
    """
    found = [silence(role, reason) for role, reason in sorted(_silent(records).items())]
    errors = [reason for record in records if (reason := _error(record)) is not None]
    return [*found, *([error_line(errors, "behaviors")] if errors else [])]


def _silent(records: Sequence[Record]) -> dict[str, str]:
    """Who never answered: a model under attack, or a helper or judge of all of them."""
    by_model: dict[str, list[Record]] = {}
    for record in records:
        by_model.setdefault(record["model"], []).append(record)
    of_all = silent_roles(records)
    found = {role: reason for role, reason in of_all.items() if role not in _OF_ONE_MODEL}
    for model, rows in by_model.items():
        silent = silent_roles(rows)
        found |= {f"{role} {model}": silent[role] for role in _OF_ONE_MODEL if role in silent}
    return found


def silence(role: str, reason: str) -> str:
    """The line of a role of which not one answer came."""
    return f"{role}: not one answer came ({reason}); mend it and give the same command again"


def error_line(reasons: Sequence[str], what: str) -> str:
    """The line of errors in code, with the first of their reasons."""
    return (
        f"{len(reasons)} {what} met an error in the code of an attack, task or judge "
        f"({reasons[0]}); the run folder has the tracebacks, and the same command tries them again"
    )


def unjudged_line(reasons: Sequence[str]) -> str:
    """The line of verdicts that did not come, with the first of their reasons."""
    return (
        f"{len(reasons)} responses have no verdict, since the judge did not answer "
        f"({reasons[0]}); the same command asks it again"
    )


def lost_tokens(records: Iterable[Record]) -> str:
    """A sentence on what tries that brought nothing may cost; empty where there were none."""
    lost: Counter[str] = Counter()
    for record in records:
        lost.update(record.get("lost_tokens", {}))
    told = ", ".join(f"{count:,} tokens of the {role}" for role, count in sorted(lost.items()))
    return f" Late and unreadable replies may cost {told} more, an estimate." if told else ""


def _error(record: Record) -> str | None:
    """Why code raised on a behavior; None where it did not."""
    if record.get("traceback"):
        return str(record["reason"])
    verdicts = (v for attempt in record["attempts"] for v in attempt["verdicts"].values())
    return next((str(v["reason"]) for v in verdicts if v.get("failure") == "error"), None)
