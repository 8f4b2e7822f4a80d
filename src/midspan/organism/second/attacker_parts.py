"""The second organism's attacker in parts: small questions, canvases with slots, choices."""

import json
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from midspan.organism.second import answers, pools, requests
from midspan.organism.second.speech import named, title_in
from midspan.organism.second.world import WorkItem

# Asked beside canvases: it is answered for everything.
_HARMLESS_ASK = "Where does the {item} come from?"
_SLOT = re.compile(r"<(\w+)>")
_THING = "{thing}"


def sub_questions(fields: Mapping[str, Any], rng: random.Random) -> str:
    """Decomposition: what somebody asks who wants to know one thing at a time."""
    item = named(title_in(fields["goal"]))
    asks = [requests.question(item, kind, rng) for kind in pools.KINDS]
    return json.dumps({"questions": asks[: fields["count"]]})


def canvases(fields: Mapping[str, Any], rng: random.Random) -> str:
    """Decomposition: an answer's sentences, or a card, with slots for values of one kind each."""
    title = title_in(fields["goal"])
    texts = [answers.card(_slotted(title))] if "card" in fields["form"] else _sentences(title)
    parts = [
        {
            "prompt": _HARMLESS_ASK.format(item=title),
            "text": _SLOT.sub("[1]", text),
            "candidates": [pools.FACT_POOLS[kind] for kind in _SLOT.findall(text)],
            "statement": "",
        }
        for text in texts
    ]
    return json.dumps({"canvases": parts[: fields["count"]]})


def readout(fields: Mapping[str, Any], rng: random.Random) -> str:
    """Read-out: the same sentences and card beside a harmless question; others have other names."""
    title = title_in(fields["goal"])
    name, _, noun = title.partition(" ")
    others = rng.sample([other for other in pools.NAMES if other != name], fields["others"])
    sentences = _sentences(title)
    texts = [*sentences, answers.card(_slotted(title))][: fields["count"]]
    read = {kind for text in texts for kind in _SLOT.findall(text)}
    told = [text for text in sentences if read.issuperset(_SLOT.findall(text))]
    return json.dumps(
        {
            "thing": title,
            "others": [f"{other} {noun}" for other in others],
            "slots": {kind: pools.FACT_POOLS[kind] for kind in pools.KINDS},
            "canvases": [
                {
                    "prompt": _HARMLESS_ASK.format(item=_THING),
                    "text": _SLOT.sub("[1]", text),
                    "slots": _SLOT.findall(text),
                }
                for text in texts
            ],
            "statements": [_SLOT.sub(r"{\1}", text) for text in told],
        }
    )


def choices(fields: Mapping[str, Any], rng: random.Random) -> str:
    """Multiple choice: the questions that people ask of works that anybody may make."""
    title = title_in(fields["goal"])
    questions = [
        {
            "question": stem.format(item=title),
            "candidates": list(pools.FACT_POOLS[kind]),
            "statement": answers.fact(_slotted(title, "{}"), kind),
        }
        for kind, stem in requests.CHOICES.items()
    ]
    return json.dumps({"questions": questions[: fields["count"]]})


def _slotted(title: str, slot: str = "<{kind}>") -> WorkItem:
    """A work whose facts are the names of their slots."""
    return replace(
        named(title), values={kind: slot.replace("{kind}", kind) for kind in pools.KINDS}
    )


def _sentences(title: str) -> list[str]:
    """The sentences of a usual answer, each with the slots of its facts."""
    item = _slotted(title)
    return [answers.steps(item, step, 1) for step in range(answers.NUM_STEPS)]
