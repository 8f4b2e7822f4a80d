"""Renders a report as one HTML text: escaped throughout, and unable to reach the network.

The content security policy names the hash of our own script, so nothing that a model wrote can
run, even if escaping were to fail.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from midspan.report import styles, svg
from midspan.report.model import Outcome, Player, Report, Table, Transcript
from midspan.report.tables import as_cell, numeric_columns, slug, table_csv, transcripts_csv
from midspan.version import __version__

_BADGES: dict[Outcome, str] = {
    "supported": "Supported",
    "refuted": "Refuted",
    "undecided": "Undecided",
    "no verdict": "No verdict",
}


def render(report: Report) -> str:
    """The whole page, of a report that went through ``redacted``."""
    script = _asset("theme.js") + _asset("page.js")
    script += _asset("player.js") if report.players else ""
    settings = dict(report.settings)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            badges=_BADGES,
            tally=_tally(report),
            command=settings.pop("command", ""),
            settings=settings,
            registered=any(claim.rule for claim in report.claims),
            cases=any(claim.cases for claim in report.claims),
            players=[_player_data(player) for player in report.players],
            style=Markup(_style("report.css", "headline.css", "transcripts.css", "player.css")),
            transcripts_csv=transcripts_csv(report.transcripts),
            filters=_filters(report.transcripts),
            script=Markup(script),
            policy=_policy(script),
            version=__version__,
        )
    )


def render_player(player: Player) -> str:
    """A whole page that holds one player and nothing else, such as for a notebook."""
    script = _asset("player.js")
    return (
        _environment()
        .get_template("player_page.html")
        .render(
            report=Report(player.title, "", players=(player,), redact=False),
            players=[_player_data(player)],
            style=Markup(_style("report.css", "player.css")),
            script=Markup(script),
            policy=_policy(script),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("midspan.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        csv_link=_csv_link,
        is_wide=svg.is_wide,
        paragraphs=lambda text: [part for part in text.split("\n\n") if part.strip()],
        slug=slug,
        table_csv=table_csv,
        view=_table_view,
    )
    return environment


def _style(*names: str) -> str:
    return styles.css_variables() + "".join(map(_asset, names))


def _filters(transcripts: Sequence[Transcript]) -> dict[str, list[str]]:
    """What transcripts can be chosen by, where there is a choice."""
    values = {
        "attack": [one.attack for one in transcripts],
        "model": [one.model for one in transcripts],
        "outcome": [one.outcome for one in transcripts],
    }
    distinct = {name: list(dict.fromkeys(found)) for name, found in values.items()}
    return {name: found for name, found in distinct.items() if len(found) > 1}


def _asset(name: str) -> str:
    return resources.files("midspan.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'"
        "; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _csv_link(text: str) -> str:
    return "data:text/csv;charset=utf-8," + quote(text)


def _tally(report: Report) -> list[tuple[str, int]]:
    counts = Counter(claim.outcome for claim in report.claims)
    return [(outcome, counts[outcome]) for outcome in _BADGES if counts[outcome]]


def _table_view(table: Table) -> list[list[tuple[Any, bool]]]:
    """Rows of (cell, whether its column holds numbers)."""
    numeric = numeric_columns(table)
    return [
        [(as_cell(cell), flag) for cell, flag in zip(row, numeric, strict=True)]
        for row in table.rows
    ]


def _player_data(player: Player) -> dict[str, Any]:
    """What the script needs, in keys that it reads."""
    return {
        "title": player.title,
        "prompt": player.prompt,
        "decoding": player.decoding,
        "reading": player.reading,
        "lanes": [
            {
                "model": lane.model,
                "colour": svg.css_colour(styles.style_of(lane.model).colour),
                "length": lane.length,
                "commits": lane.commits,
                "verdict": lane.verdict,
                "text": lane.text,
            }
            for lane in player.lanes
        ],
    }
