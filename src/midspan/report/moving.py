"""One SVG file in which canvases fill: for a README, a slide or a web page, where no script runs.

It moves by CSS alone and follows the reader's scheme, light or dark. For a reader who wants no
motion it shows the full canvases.
"""

from collections.abc import Iterator
from html import escape as escape_markup
from itertools import groupby

from midspan.report.model import Commit, Lane, Player

_WIDTH = 860
_MARGIN = 16
_LETTER = 7.25  # of the monospaced font, at 12 pixels
_ROW = 24
_GAP = 4
_LONGEST = 16  # letters of a word that are shown
_STEP_SECONDS = 0.16
_HOLD_SECONDS = 4.0  # how long the full canvases stand

_STYLE = """
svg { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: #16202a }
.page { fill: #fff } .ink { fill: #16202a } .soft { fill: #5b6770 }
.title { font: 600 14px system-ui, sans-serif } .note { font: 12px system-ui, sans-serif }
.mask { fill: none; stroke: #d5dce2 } .text { fill: #bbd6ee } .low { fill: #f5c083 }
.end { fill: #e4ebf1 } .anchor { fill: #f1e4f8; stroke: #7a3f9d }
.w { animation: DURATIONs linear infinite }
@media (prefers-color-scheme: dark) {
  .page { fill: #14191f } .ink { fill: #eef2f6 } .soft { fill: #a4b0ba }
  .mask { stroke: #36424e } .text { fill: #2a567d } .low { fill: #8a5215 }
  .end { fill: #36424e } .anchor { fill: #402a4e; stroke: #cfa1ee }
}
@media (prefers-reduced-motion: reduce) { .w { animation: none } }
"""


def moving_picture(player: Player) -> str:
    """An SVG in which the lanes' canvases fill step by step, again and again.

    Words committed with a confidence under one half, end-of-text tokens and anchors have colours
    of their own. A position that is committed twice shows its last word.

    Raises:
        ValueError: There is no lane.
    """
    if not player.lanes:
        raise ValueError("a moving picture needs a lane")
    steps = 1 + max((commit.step for lane in player.lanes for commit in lane.commits), default=0)
    seconds = steps * _STEP_SECONDS + _HOLD_SECONDS
    parts = [_text(_MARGIN, 26, "title ink", _cut(player.prompt))]
    top = 44.0
    for lane in player.lanes:
        drawn, top = _lane(lane, top)
        parts += drawn
    moments = "".join(
        f"@keyframes s{step}{{0%,{100 * step * _STEP_SECONDS / seconds:.2f}%{{opacity:0}}"
        f"{100 * (step + 1) * _STEP_SECONDS / seconds:.2f}%,100%{{opacity:1}}}}"
        for step in range(steps)
    )
    style = _STYLE.replace("DURATION", f"{seconds:.2f}") + moments
    told = "; ".join(f"{lane.model}: {lane.text or 'an empty answer'}" for lane in player.lanes)
    title, description = _escape(f"{player.title}: {player.prompt}"), _escape(told)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top:.0f}" role="img" '
        f'aria-labelledby="title told"><title id="title">{title}</title>'
        f'<desc id="told">{description}</desc><style>{style}</style>'
        f'<rect class="page" width="{_WIDTH}" height="{top:.0f}" rx="8"/>{"".join(parts)}</svg>\n'
    )


def _lane(lane: Lane, top: float) -> tuple[list[str], float]:
    """The drawing of a lane, and where the next one begins."""
    parts = [
        _text(_MARGIN, top + 16, "title ink", lane.model),
        f'<text class="note soft" x="{_WIDTH - _MARGIN}" y="{top + 16}" text-anchor="end">'
        f"{_escape(lane.verdict)}</text>",
    ]
    x, y = float(_MARGIN), top + 26
    for commit in _last_commits(lane):
        word = _shown(commit)
        width = _LETTER * max(1, len(word)) + 8
        if x + width > _WIDTH - _MARGIN:
            x, y = float(_MARGIN), y + _ROW + _GAP
        parts.append(_cell(commit, word, (x, y, width)))
        x += width + _GAP
    return parts, y + _ROW + 20


def _last_commits(lane: Lane) -> Iterator[Commit | None]:
    """What stands at each position in the end; None where nothing does."""
    ordered = sorted(lane.commits, key=lambda commit: (commit.position, commit.step))
    last = {
        position: list(commits)[-1]
        for position, commits in groupby(ordered, key=lambda commit: commit.position)
    }
    return (last.get(position) for position in range(lane.length))


def _cell(commit: Commit | None, word: str, place: tuple[float, float, float]) -> str:
    x, y, width = place
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_ROW}" rx="3"'
    mask = f'<rect class="mask" {box}/>'
    if commit is None:
        return mask
    text = _text(x + 4, y + 16, "ink", word)
    if commit.step < 0:
        return f'<rect class="anchor" {box}/>{text}'
    kind = "end" if commit.is_end else "text" if commit.confidence >= 0.5 else "low"
    filled = f'<rect class="{kind}" {box}/>{text}'
    return f'{mask}<g class="w" style="animation-name:s{commit.step}">{filled}</g>'


def _shown(commit: Commit | None) -> str:
    if commit is None:
        return ""
    word = "■" if commit.is_end else commit.word.replace("\n", "⏎").strip() or "␣"
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"


def _cut(text: str) -> str:
    most = int((_WIDTH - 2 * _MARGIN) / _LETTER) - 2
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_escape(text)}</text>'


def _escape(text: str) -> str:
    # Control characters and lone surrogates are no XML, even escaped.
    return escape_markup("".join(letter if letter.isprintable() else "·" for letter in text))
