"""The moving picture: well-formed, every word at its step, text that stays text."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.report import Commit, Lane, Player
from midspan.report.moving import moving_picture

SVG = "{http://www.w3.org/2000/svg}"
WORDS = st.text(st.characters(), max_size=8)  # control characters and surrogates too
COMMITS = st.builds(
    Commit, st.integers(0, 9), st.integers(-1, 7), st.floats(0, 1), WORDS, st.booleans()
)


def drawn(*lanes: Lane, prompt: str = "how?") -> ET.Element:
    return ET.fromstring(moving_picture(Player("Canvases", prompt, "", lanes)))


def words_by_step(root: ET.Element) -> list[tuple[int, str]]:
    """Step and word of every cell that appears."""
    return [
        (
            int(re.fullmatch(r"animation-name:s(\d+)", group.attrib["style"])[1]),
            group.findtext(f"{SVG}text"),
        )
        for group in root.findall(f"{SVG}g[@class='w']")
    ]


def test_each_word_appears_at_its_step_and_an_anchor_stands_from_the_start():
    lane = Lane(
        "m",
        4,
        (
            Commit(0, 1, 0.9, " sure"),
            Commit(1, -1, 1.0, "the"),
            Commit(2, 0, 0.2, " end", is_end=True),
        ),
        "2 forwards",
        "sure the",
    )
    root = drawn(lane)
    assert words_by_step(root) == [(1, "sure"), (0, "■")]
    assert len(root.findall(f"{SVG}rect[@class='anchor']")) == 1
    assert len(root.findall(f"{SVG}rect[@class='mask']")) == 3  # one position stays masked
    style = root.findtext(f"{SVG}style")
    moments = re.findall(r"@keyframes s(\d)\{0%,([\d.]+)%\{opacity:0\}([\d.]+)%", style)
    assert [int(step) for step, _, _ in moments] == [0, 1]
    assert float(moments[0][2]) == float(moments[1][1]) > 0


@given(st.lists(COMMITS, max_size=6), WORDS)
def test_any_words_make_a_well_formed_file_with_the_last_word_of_each_position(commits, prompt):
    lane = Lane(prompt, 10, tuple(commits), prompt, prompt)
    last = {}
    for commit in sorted(commits, key=lambda commit: commit.step):
        last[commit.position] = commit
    root = drawn(lane, lane, prompt=prompt)
    moving = [position for position in sorted(last) if last[position].step >= 0]
    assert [step for step, _ in words_by_step(root)] == 2 * [last[p].step for p in moving]


def test_a_word_that_looks_like_markup_stays_a_word():
    root = drawn(Lane("<b>", 1, (Commit(0, 0, 1.0, "<i>&"),), "", ""), prompt="</svg><script>")
    assert words_by_step(root) == [(0, "<i>&")]
    assert not list(root.iter(f"{SVG}script"))


def test_a_picture_needs_a_lane():
    with pytest.raises(ValueError, match="lane"):
        moving_picture(Player("Canvases", "how?", "", ()))
