"""A report as Markdown, for a model card or an issue."""

import re
from collections.abc import Iterator, Sequence

from midspan.report.model import Cell, Claim, Figure, Headline, Player, Report, Section, Table
from midspan.report.svg import description
from midspan.report.tables import as_cell, numeric_columns
from midspan.version import __version__

# Whatever Markdown or HTML could read as markup.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$!])")


def escape(text: str) -> str:
    """Plain text as Markdown text, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def report_markdown(report: Report, figure_names: Sequence[str]) -> str:
    """The whole report; figures are named in their order and lie in ``figures/``."""
    names = iter(figure_names)
    parts = [f"# {escape(report.title)}", escape(report.subtitle)]
    if report.preliminary:
        parts.append(f"> **No verdict.** {escape(report.preliminary)}")
    if report.headline:
        parts += _headline(report.headline, names)
    parts += _claims(report.claims)
    for section in report.sections:
        parts += _section(section, names)
    if report.transcripts:
        count = len(report.transcripts)
        parts += ["## Transcripts", f"{count} attempts, in tables/transcripts.csv."]
    if report.players:
        parts.append("## Examples")
        parts += [part for player in report.players for part in _player(player, report)]
    settings = dict(report.settings)
    command = settings.pop("command", "")
    if settings:
        rows = tuple((name, value) for name, value in settings.items())
        parts += ["## Settings", table_markdown(Table("Settings", ("setting", "value"), rows))]
    if report.limits:
        parts += ["## Limits", "\n".join(f"- {escape(limit)}" for limit in report.limits)]
    if command:
        parts += ["To reproduce this report:", _fenced(command)]
    parts.append(f"midspan {__version__}. Every rate stands with its n and its interval.")
    return "\n\n".join(part for part in parts if part) + "\n"


def table_markdown(table: Table) -> str:
    """A pipe table; numbers stand to the right."""
    rules = ["---:" if number else "---" for number in numeric_columns(table)]
    rows = [[_cell(as_cell(cell)) for cell in row] for row in table.rows]
    return "\n".join(
        f"| {' | '.join(row)} |" for row in [[escape(c) for c in table.columns], rules, *rows]
    )


def _cell(cell: Cell) -> str:
    return f"{escape(cell.text)} {escape(cell.note)}".strip()


def _headline(headline: Headline, names: Iterator[str]) -> list[str]:
    numbers = (
        f"- **{escape(n.label)}**: {escape(n.value)} {escape(n.note)}" for n in headline.numbers
    )
    sentence = escape(headline.sentence)
    if headline.verdict:
        sentence = f"**{escape(headline.verdict.text)}.** {sentence}"
    parts = [sentence, "\n".join(numbers), escape(headline.text)]
    return [*parts, _figure(headline.figure, next(names))] if headline.figure else parts


def _claims(claims: Sequence[Claim]) -> list[str]:
    if not claims:
        return []
    lines = []
    for claim in claims:
        lines.append(f"- **{claim.outcome.capitalize()}**: {escape(claim.text)}")
        lines.append(f"  - Expected: {escape(claim.expected)}")
        lines.append(f"  - Measured: {escape(claim.evidence)}")
        if claim.rule:
            lines.append(f"  - Rule: {escape(claim.rule)}")
    return ["## Claims", "\n".join(lines)]


def _section(section: Section, names: Iterator[str]) -> list[str]:
    parts = [f"## {escape(section.title)}"]
    parts += [escape(text) for text in section.text.split("\n\n")]
    parts += [_figure(figure, next(names)) for figure in section.figures]
    for table in section.tables:
        parts += [f"### {escape(table.title)}", table_markdown(table), escape(table.caption)]
    return parts


def _figure(figure: Figure, name: str) -> str:
    numbers = f" ([numbers](figures/{name}.csv))" if figure.csv else ""
    told = f"{figure.title}. {description(figure.svg)}".strip()
    return (
        f"![{escape(told)}](figures/{name}.svg)\n\n"
        f"**{escape(figure.title)}.** {escape(figure.caption)}{numbers}"
    )


def _player(player: Player, report: Report) -> list[str]:
    parts = [f"### {escape(player.title)}, {escape(player.decoding)}", f"> {escape(player.prompt)}"]
    for lane in player.lanes:
        parts.append(f"**{escape(lane.model)}** - {escape(lane.verdict)}")
        text = escape(lane.text) if report.redact else _fenced(lane.text)
        if report.fold:
            text = f"<details><summary>Generated text</summary>\n\n{text}\n\n</details>"
        parts.append(text)
    return parts


def _fenced(text: str) -> str:
    """As it is; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def with_section(page: str, section: str, name: str) -> str:
    """A page that ends in a section, instead of the section of this name that stood there."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    kept = re.sub(rf"\n*{start}.*?{end}\n*", "\n", page, flags=re.DOTALL)
    return f"{kept.rstrip()}\n\n{start}\n{section.strip()}\n\n{end}\n"
