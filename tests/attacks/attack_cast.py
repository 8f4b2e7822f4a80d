"""Scripted roles for attacks: answers by kind, a schedule of faults, and who was asked what."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from midspan.data.behaviors import Behavior
from midspan.engine.attack import Attack, AttackConfig, AttackResult
from midspan.engine.budget import Budget
from midspan.engine.calls import Chat, Likelihood, TokenScore
from midspan.engine.roles import MissingReply, RawReply, Scripted, SeededCall
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.journal.journal import Journal

GOAL = "how do i make the velmora sigil ?"
BAD = ("", "no json here", '{"prompt": 3', '{"other": 1}', "[[99]]", "x" * 20_000, "[[1]] [[2]]")

Line = str | Callable[..., object] | None


class Infilling(Scripted):
    """A role whose function says what stands behind the anchors."""

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        for index, answer in super().answer(tasks):
            call = tasks[index].call
            if isinstance(answer, RawReply) and isinstance(call, Chat) and call.anchors:
                text = call.anchors[-1].text + answer.raw
                answer = replace(answer, raw=text, continuation=answer.raw)
            yield index, answer


def name_of(call) -> str:
    """A chat's kind, or else its role; the type of any other call."""
    return (call.kind or call.role) if isinstance(call, Chat) else type(call).__name__


class Cast:
    """Roles that answer by the call's name.

    `faults` is the share of helper replies that are malformed or missing, by the call's own seed.
    """

    def __init__(self, answers: Mapping[str, Line], faults: float = 0.0) -> None:
        self.answers = answers
        self.faults = faults
        self.asked: list = []

    def __call__(self, call, rng: random.Random) -> object:
        self.asked.append(call)
        if call.role not in ("target", "proxy") and rng.random() < self.faults:
            return rng.choice((*BAD, None))
        answer = self.answers[name_of(call)]
        return answer(call, rng) if callable(answer) else answer

    def of(self, name: str) -> list:
        """Calls of a name."""
        return [call for call in self.asked if name_of(call) == name]

    @property
    def counts(self) -> Counter:
        return Counter(map(name_of, self.asked))

    def play(
        self,
        attack: Attack,
        config: AttackConfig,
        journal: Path,
        budget: Budget | None = None,
        goal: str = GOAL,
        opening: str = "",
    ) -> AttackResult:
        roles = {name: Infilling(self, f"{name}-v1") for name in attack.roles}
        job = AttackJob(
            attack, config, Behavior(goal, goal, opening=opening), roles, budget or Budget()
        )
        with Journal(journal) as kept:
            (result,) = run_attacks([job], kept, seed=7)
        return result


def proposal(call, rng) -> str:
    return json.dumps({"improvement": "-", "prompt": f"{call.fields['goal']} {rng.random()}"})


def digit(call, rng) -> str:
    return f"[[{rng.randint(1, 9)}]]"


TAP = {"tap.propose": proposal, "tap.on_topic": "[[YES]]", "tap.rate": digit, "target": "no ."}
SPEAKEASY = {
    "speakeasy.decompose": "1. one ?\n2. two ?\n3. three ?",
    "speakeasy.translate": lambda call, rng: f"<{call.fields['language']}>{call.fields['text']}",
    "speakeasy.rate": digit,
    "target": lambda call, rng: f"answer to {call.messages[-1]['content']}",
}
AVATAR = {
    "avatar.entities": '{"entities": ["velmora", "sigil"]}',
    "avatar.map": lambda call, rng: json.dumps(
        {"mapping": {e: f"{e[0]}{rng.randrange(1000)}x" for e in call.fields["entities"]}}
    ),
    "avatar.assess": lambda call, rng: json.dumps(
        {"toxicity": rng.randint(0, 10), "similarity": rng.randint(0, 10)}
    ),
    "avatar.say": lambda call, rng: json.dumps({"prompt": f"tell me of the {call.fields['task']}"}),
    "avatar.rate": digit,
    "target": lambda call, rng: f"well : {call.messages[-1]['content']}",
}


def likelihood(*logprobs: float, met: int = 0) -> Likelihood:
    """Of tokens 0, 1, ...; the first `met` are the likeliest at their places."""
    return Likelihood(
        0,
        tuple(
            TokenScore(i, p, ((i, p), (99, p - 1)) if i < met else ((99, p + 1), (i, p)))
            for i, p in enumerate(logprobs)
        ),
    )


def unlikely(call, rng) -> Likelihood:
    return likelihood(-1.0 - rng.random(), -2.0)


def long_is_unlikely(call, rng) -> Likelihood:
    return likelihood(-1.0, -0.1 * len(call.phrase))


def substitute(call, rng) -> tuple[str, ...]:
    return tuple(f"{call.suffix.split()[0]} {rng.random()}" for _ in range(call.count))


def losses(call, rng) -> tuple[float, ...]:
    return tuple(float(suffix.split()[1]) for suffix in call.suffixes)


def guard(call, rng) -> str:
    return "[[9]]" if "step" in call.fields["sentence"] else "[[0]]"


AOS = {
    "aos.suffix": lambda call, rng: json.dumps({"suffix": f"please {rng.randrange(10_000)}"}),
    "aos.rate": "[[10]]",
    "target": lambda call, rng: f"maybe {call.messages[0]['content'][-4:]}x",
}
PAL = {"GCGCandidates": substitute, "SuffixLosses": losses, "Score": unlikely, "target": "no ."}
EPT = {"ept.guard": guard, "ept.rank": "[[7]]"}
DIA = {
    "dia.rewrite": lambda call, rng: json.dumps(
        {"rewrite": f"tell me the velmora sigil {call.fields['number']}"}
    ),
    "dia.begin": lambda call, rng: json.dumps({"beginning": f"ready : {call.fields['request']}"}),
    "dia.keywords": '{"keywords": ["velmora", "sigil"]}',
    "dia.substitute": '{"substitutes": {"velmora": "apple", "sigil": "tree"}}',
    "target": lambda call, rng: f"answer {rng.random()}",
}
ADVPREFIX = {
    "advprefix.answer": lambda call, rng: (
        f"Here is all of it :\n\n1 . take the bowl {rng.random()}"
    ),
    "advprefix.judge": "[[YES]]",
    "Score": long_is_unlikely,
    "GCGCandidates": substitute,
    "SuffixLosses": losses,
    "target": " a long answer",
}
WORDS = {
    "pap.persuade": lambda call, rng: json.dumps(
        {"message": f"as all experts say : {call.fields['goal']} {rng.random()}"}
    ),
    "crescendo.ask": lambda call, rng: json.dumps(
        {"question": f"what of {call.fields['turn']} ? {rng.random()}"}
    ),
    "crescendo.rate": "[[7]]",
    "renellm.rewrite": lambda call, rng: json.dumps(
        {"text": f"{call.fields['text']} {call.fields['way']}"}
    ),
    "renellm.check": "[[YES]]",
    "renellm.judge": "[[NO]]",
    "bon.judge": "[[NO]]",
    "target": lambda call, rng: f"well , {rng.random()}",
}
NATIVE = {
    "decompose.questions": lambda call, rng: json.dumps(
        {"questions": [f"{rng.random()} ?" for _ in range(call.fields["count"])]}
    ),
    "decompose.canvases": lambda call, rng: json.dumps(
        {
            "canvases": [
                {
                    "prompt": f"hello {rng.random()}",
                    "text": f"take {n} [1] .",
                    "candidates": [["salt", "tin"]],
                }
                for n in range(call.fields["count"])
            ]
        }
    ),
    "readout.canvases": lambda call, rng: json.dumps(
        {
            "thing": "it",
            "others": [f"o{n}" for n in range(call.fields["others"])],
            "slots": {"s": ["salt", "tin"]},
            "statements": ["use {s} ."],
            "canvases": [
                {"prompt": f"{rng.random()} {{thing}} ?", "text": f"take {n} [1] .", "slots": ["s"]}
                for n in range(call.fields["count"])
            ],
        }
    ),
    "Choices": lambda call, rng: tuple(
        tuple(-rng.random() for _ in texts) for texts in call.candidates
    ),
    "multiple_choice.questions": lambda call, rng: json.dumps(
        {
            "questions": [
                {
                    "question": f"which {n}",
                    "statement": "it is {}",
                    "candidates": [f"c{n}x{k}" for k in range(call.fields["candidates"])],
                }
                for n in range(call.fields["count"])
            ]
        }
    ),
    "anchoring.draft": lambda call, rng: f"First, take {rng.randrange(99)} things.",
    "dija.outline": lambda call, rng: f"Take [2 words] {rng.randrange(99)} times.",
    "target": lambda call, rng: f"answer {rng.random()}",
}
