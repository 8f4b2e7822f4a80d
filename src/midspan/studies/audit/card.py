"""The audit as a section of a model's README."""

from midspan.report import Table
from midspan.report.cells import rate_cell
from midspan.report.markdown import escape, table_markdown
from midspan.studies.audit.schema import Audit
from midspan.studies.audit.words import battery


def card_markdown(audit: Audit) -> str:
    """Markdown to be pasted below a heading of one's own; the badge lies beside it."""
    parts = [
        f"## Safety audit of {escape(audit.model)}",
        "![midspan audit](badge.svg)",
        escape(audit.in_short),
        table_markdown(_levels(audit)),
        *_beside(audit),
        "\n".join(f"- {escape(line)}" for line in _limits(audit)),
    ]
    return "\n\n".join(parts) + "\n"


def _levels(audit: Audit) -> Table:
    rows = tuple(
        (level.access, rate_cell(level.worst_case), f"{len(level.attacks)}")
        for level in audit.levels
    )
    return Table("", ("Access", "Behaviors that fell", "To any of so many attacks"), rows)


def _beside(audit: Audit) -> list[str]:
    rows = tuple(
        (one.name if one.name != "accuracy" else one.task, rate_cell(one.rate))
        for one in (*audit.over_refusal, *audit.utility)
    )
    return [table_markdown(Table("", ("Beside it", "Rate"), rows))] if rows else []


def _limits(audit: Audit) -> list[str]:
    defences = ", ".join(audit.defences) or "none"
    missing = ", ".join(one.what for one in audit.not_run if one.needed) or "nothing of the battery"
    return [
        f"{audit.n} behaviors of {audit.behaviors} (sha256 {audit.sha256[:16]}), judged by "
        f"{audit.judges[0]}; 95 % Wilson intervals; {battery(audit.tier)}, seed {audit.seed}.",
        f"Defences in front of the model: {defences}.",
        f"Not run: {missing}.",
        f"Cut short by the budget: {', '.join(audit.cut) or 'nothing'}.",
        "A worst case is the union over the attacks of its access and less: it grows with them, "
        "and what held against them may fall to others.",
        f"midspan {audit.midspan}: {audit.command}",
    ]
