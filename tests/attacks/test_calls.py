"""Every chat that an attack sends, against the table of docs/attacks/calls.md and its settings."""

import json
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest
from attack_cast import (
    ADVPREFIX,
    AOS,
    AVATAR,
    DIA,
    EPT,
    GOAL,
    NATIVE,
    PAL,
    SPEAKEASY,
    TAP,
    WORDS,
    Cast,
    name_of,
)
from test_resume import CHOOSER

from midspan.attacks import get_attack, list_attacks
from midspan.engine.attack import Asking
from midspan.engine.budget import Budget
from midspan.engine.calls import Chat
from midspan.engine.forecast import forecast
from midspan.errors import MidspanError

PROTOCOL = Path(__file__).parents[2] / "docs" / "attacks" / "calls.md"
HEAD = ["attack", "call", "asked", "temperature", "top-p", "tokens", "retries", "at most"]

BLOCKS = {"target": lambda call, rng: f" step {rng.random()}."}
LONG = {
    "target": "long" * 99,
    "advprefix.answer": lambda call, rng: "\n".join(f"{n} {rng.random()} a b c d" for n in "ab"),
}
SENTENCES = {"advprefix.answer": lambda call, rng: f"{rng.random()}. " * 40}
ASKED = [{"messages": [{"role": "user", "content": "?"}]}]
# What a table's row is of: the attack, what roles say, and fields that are not its defaults.
PLAYS = {
    "direct": ("direct", TAP, {}),
    "best_of_n": ("best_of_n", TAP, {}),
    "tap": ("tap", TAP, {"depth": 2}),
    "pair": ("pair", TAP, {}),
    "speakeasy": ("speakeasy", SPEAKEASY, {}),
    "avatar": ("avatar", AVATAR, {}),
    "templates": ("templates", TAP, {}),
    "encodings": ("encodings", TAP, {}),
    "bon": ("bon", WORDS, {"n": 70}),
    "pap": ("pap", WORDS, {}),
    "crescendo": ("crescendo", WORDS, {}),
    "renellm": ("renellm", WORDS, {"rounds": 2}),
    "replay": ("replay", TAP, {"cases": {GOAL: ASKED}}),
    "context_nesting": ("context_nesting", TAP, {}),
    "post_context": ("post_context", TAP, {}),
    "first_step_gcg": ("first_step_gcg", PAL, {"steps": 3}),
    "aos": ("aos", AOS, {"rounds": 2}),
    "dia I": ("dia", DIA, {}),
    "dia II": ("dia", DIA, {"variant": "II"}),
    "ept": ("ept", EPT | BLOCKS, {}),
    "pal": ("pal", PAL, {"steps": 3}),
    "advprefix": ("advprefix", ADVPREFIX | LONG, {"draws": (2,) * 4, "kept": 2}),
    "advprefix adaptive": (
        "advprefix", ADVPREFIX | LONG | SENTENCES, {"draws": (2,) * 4, "kept": 2, "adaptive": True},
    ),
    "prefill": ("prefill", TAP, {}),
    "pad": ("pad", TAP, {}),
    "anchoring": ("anchoring", NATIVE, {}),
    "trajhijack": ("trajhijack", TAP, {}),
    "dija": ("dija", TAP, {}),
    "dija helper": ("dija", NATIVE, {"shapes": ()}),
    "decode_sweep": ("decode_sweep", TAP, {}),
    "decompose": ("decompose", NATIVE, {}),
    "decompose infill": ("decompose", NATIVE, {"channel": "infill"}),
    "readout": ("readout", NATIVE, {"canvases": 2}),
    "multiple_choice": ("multiple_choice", NATIVE | CHOOSER, {}),
    "finetune": ("finetune", TAP, {"examples": "organism"}),
    "scale_adapter": ("scale_adapter", TAP, {}),
}  # fmt: skip
# Too many to be asked here, or without end: the budget's, or the formula's.
UNCOUNTED = {
    "tap", "aos", "ept", "pal", "advprefix", "advprefix adaptive",
    "bon", "crescendo", "renellm", "first_step_gcg",
}  # fmt: skip


def table() -> dict[str, Counter]:
    """The doc's rows by the attack: what is sent, and how often at most."""
    lines = PROTOCOL.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    start = next(place for place, row in enumerate(cells) if row[: len(HEAD)] == HEAD)
    rows: dict[str, Counter] = {}
    for attack, *sent, most, _published in takewhile(lambda row: len(row) > 1, cells[start + 2 :]):
        rows.setdefault(attack, Counter())[tuple(sent)] += int(most.replace(",", "") or 0)
    return rows


def row_of(call: Chat) -> tuple[str, ...]:
    """A call as the table has it."""
    values = (call.temperature, call.top_p, call.max_tokens, call.retries if call.parse else None)
    said = ("" if value is None else f"{value:g}" for value in values)
    return (name_of(call), call.role, *said)


def chats(play: str, folder: Path, **fields) -> list[Chat]:
    name, answers, own = PLAYS[play]
    attack = get_attack(name)
    cast = Cast(answers)
    budget = Budget(target=40) if name == "ept" else Budget()
    result = cast.play(attack, attack.config(**own | fields), folder / "journal.jsonl", budget)
    assert result.attempts
    return [call for call in cast.asked if isinstance(call, Chat)]


@pytest.mark.parametrize("play", PLAYS)
def test_every_chat_is_a_row_of_the_protocol(play, tmp_path):
    sent = Counter(map(row_of, chats(play, tmp_path)))
    rows = table()[play]
    assert set(sent) == set(rows)
    if play not in UNCOUNTED:
        assert sent == rows


@pytest.mark.parametrize(
    ("play", "fields"),
    [
        ("tap", {"adaptive": True}),
        ("ept", {"adaptive": True}),
        ("advprefix", {"delivery": "prefill"}),
        ("advprefix", {"delivery": "gcg", "steps": 2, "width": 2, "check_every": 1}),
        ("pal", {"mode": "chain"}),
        ("context_nesting", {"channel": "response"}),
        ("post_context", {"prefix": False}),
    ],
)
def test_variants_send_the_same_chats(play, fields, tmp_path):
    assert set(map(row_of, chats(play, tmp_path, **fields))) == set(table()[play])


def test_the_protocol_has_every_attack_and_nothing_else():
    assert set(table()) == set(PLAYS)
    assert {name for name, _, _ in PLAYS.values()} == set(list_attacks())


def test_what_is_too_much_to_be_asked_here_is_the_formulas():
    for play in UNCOUNTED - {"ept"}:
        name, _, fields = PLAYS[play]
        attack = get_attack(name)
        config = attack.config(adaptive=True) if "adaptive" in fields else attack.config()
        cost = forecast(attack, config, Budget())
        by_role: Counter = Counter()
        for (_, role, *_), most in table()[play].items():
            by_role[role] += most
        assert by_role["target"] == cost.generations
        for role in by_role.keys() - {"target"}:
            assert by_role[role] == cost.helpers[role].expected


def asked_by_role(config) -> dict[str, Asking]:
    return {name: value for name, value in config if isinstance(value, Asking)}


@pytest.mark.parametrize("play", PLAYS)
def test_how_helpers_are_asked_is_a_setting(play, tmp_path):
    """Each of a config's ways to ask, changed alone, changes calls of helpers and no others."""
    name, _, own = PLAYS[play]
    default = get_attack(name).config(**own)
    before = Counter(map(row_of, chats(play, tmp_path / "before")))
    changed_rows = set()
    for name, asking in asked_by_role(default).items():
        strange = {"temperature": 0.375, "top_p": 0.625, "max_tokens": 77, "retries": 1}
        after = chats(play, tmp_path / name, **{name: strange})
        changed = [call for call in after if row_of(call) not in before]
        if play == "dia I" and name == "attacker":
            assert {call.kind for call in changed} == {"dia.begin"}
        assert bool(changed) == any("." in kind for kind, *_ in before), name
        for call in changed:
            greedy = call.kind == "advprefix.answer" and call.temperature == 0
            longer = call.kind == "advprefix.answer" and "adaptive" in play
            assert call.temperature == (0 if greedy else 0.375)
            assert (call.top_p, call.retries) == (0.625, 1)
            assert call.max_tokens == (128 if longer else 77)
        changed_rows |= {call.kind for call in changed}
        assert asking != Asking(**strange)
    helpers = {name for name, *_ in before if "." in name}
    assert changed_rows == helpers


def test_a_part_of_how_a_helper_is_asked_leaves_the_rest_as_published():
    config = get_attack("tap").config(attacker={"max_tokens": 300})
    assert config.attacker == Asking(temperature=1.0, top_p=0.9, max_tokens=300, retries=4)
    assert json.loads(config.model_dump_json())["attacker"]["max_tokens"] == 300
    with pytest.raises(MidspanError, match=r"attacker is how it is asked.* helpers"):
        get_attack("tap").config(attacker="openai:some-model")
    with pytest.raises(MidspanError, match=r"attacker\.top_p"):
        get_attack("tap").config(attacker={"top_p": 2})
    given = get_attack("tap").config(attacker=Asking(max_tokens=300))
    assert given.attacker == Asking(max_tokens=300)
