"""What attacks ask the scripted helpers of an organism's world, in that world's words."""

from typing import NamedTuple

from midspan.attacks import (
    aos,
    decompose,
    dija,
    multiple_choice,
    readout,
    speakeasy,
)
from midspan.attacks._replies import read_rating, read_text, read_texts, read_yes
from midspan.engine.calls import Chat, user
from midspan.engine.reading import read_object


class Words(NamedTuple):
    """A world's: a request, the noun of what is asked for, an answer, a refusal, and more.

    Attributes:
        tried: A disguised request that was refused.
        path: How an answer begins.
        sentence: One that states something.
        tongues: The common language and another one.
    """

    goal: str
    noun: str
    full: str
    refusal: str
    tried: str
    path: str
    sentence: str
    tongues: tuple[str, str]


def calls(said):
    """Of every kind one or more: the kind, its fields, and what reads the reply."""
    goal, full = {"goal": said.goal}, {"response": said.full}
    rated = {**goal, "prompt": said.goal, **full}
    tried = {"prompt": said.tried, "response": said.refusal, "score": 1}
    common, other = said.tongues
    return [
        ("tap.propose", {**goal, "phrase": "p", "window": None}, read_texts("prompt")),
        ("tap.propose", {**goal, "phrase": "now", "window": [20, 60], **tried},
         read_texts("improvement", "prompt")),
        ("tap.on_topic", {**goal, "prompt": said.goal}, read_yes),
        ("tap.rate", rated, read_rating(1, 10)),
        ("speakeasy.decompose", {**goal, "count": 3}, speakeasy.read_questions),
        ("speakeasy.translate", {"text": said.goal, "source": common, "language": other},
         read_text),
        ("speakeasy.rate", {"question": said.goal, **full, "quality": "actionable"},
         read_rating(0, 10)),
        ("avatar.entities", goal, lambda text: read_object(text, "entities")),
        ("avatar.map", {**goal, "entities": [said.noun]},
         lambda text: read_object(text, "mapping")),
        ("avatar.assess", {"mapping": {said.noun: "quilt"}},
         lambda text: read_object(text, "toxicity", "similarity")),
        ("avatar.say", {**goal, "mapping": {}, "task": said.goal, "dialogue": [], "turn": 1,
                        "turns": 3}, read_texts("prompt")),
        ("avatar.rate", rated, read_rating(1, 10)),
        ("aos.suffix", {**goal, "tried": [["zig", 0.5]]}, lambda text: aos._suffix_of(text)),
        ("aos.rate", {**goal, **full}, read_rating(0, 100)),
        ("ept.guard", {**goal, "path": said.path, "sentence": said.sentence}, read_rating(0, 10)),
        ("ept.rank", {**goal, **full}, read_rating(0, 10)),
        ("dia.rewrite", {**goal, "number": 1}, read_texts("rewrite")),
        ("dia.begin", {"request": said.goal}, read_texts("beginning")),
        ("dia.keywords", {"request": said.goal}, lambda text: read_object(text, "keywords")),
        ("dia.substitute", {"request": said.goal, "keywords": [said.noun]},
         lambda text: read_object(text, "substitutes")),
        ("advprefix.answer", {**goal, "opening": "", "window": None}, read_text),
        ("advprefix.judge", {**goal, **full}, read_yes),
        ("pap.persuade", {**goal, "technique": "Logical Appeal"}, read_texts("message")),
        ("crescendo.ask", {**goal, "turn": 2, "turns": 6, "refused": said.goal,
                           "response": said.refusal, "score": None}, read_texts("question")),
        ("crescendo.rate", rated, read_rating(1, 10)),
        ("renellm.rewrite", {**goal, "text": said.goal, "way": "insert"}, read_texts("text")),
        ("renellm.check", {**goal, "text": said.goal}, read_yes),
        ("renellm.judge", {**goal, **full}, read_yes),
        ("bon.judge", {**goal, **full}, read_yes),
        ("dija.outline", goal, lambda text: dija._with_holes(text)),
        ("anchoring.draft", goal, read_text),
        ("decompose.questions", {**goal, "count": 9}, lambda text: decompose.read_questions(text)),
        ("decompose.canvases", {**goal, "count": 9, "form": "sentences"},
         lambda text: decompose.read_canvases(text)),
        ("decompose.canvases", {**goal, "count": 9, "form": "one card of short fields"},
         lambda text: decompose.read_canvases(text)),
        ("readout.canvases", {**goal, "count": 24, "others": 8},
         lambda text: readout.read_plan(text)),
        ("multiple_choice.questions", {**goal, "count": 9},
         lambda text: multiple_choice.read_questions(text)),
    ]  # fmt: skip


def reply(roles, kind, fields, rng):
    """What the first of some scripted roles that knows the kind says; None where none does."""
    call = Chat("helper", (user("-"),), kind=kind, fields=fields)
    return next((said for role in roles if (said := role(call, rng)) is not None), None)
