"""A model behind a server, as a probe asks it: conversations, and phrases in their answers."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from midspan.engine.asking import ask_all
from midspan.engine.calls import Anchor, Chat, Reply, user
from midspan.engine.capabilities import Need
from midspan.errors import MidspanError
from midspan.journal.journal import key_of
from midspan.probes.context import Answer, ProbeCase, ProbeContext

if TYPE_CHECKING:
    from midspan.engine.endpoint import Endpoint
    from midspan.engine.scheduler import SchedulerProgress
    from midspan.models.text import TextModel

# Draws of a random token, before it is said that none can be placed as text.
_DRAWS = 1000


@dataclass(frozen=True)
class ServedContext(ProbeContext):
    """A model that a server decodes in its own way, the one decoding of it.

    Attributes:
        endpoint: Who is asked.
        asked: How: the temperature, nucleus and length of every request.
    """

    endpoint: "Endpoint"
    asked: Chat

    def meet(self, needs: Collection[Need]) -> None:
        """Find out what the server says of itself, once a run: a continued run takes its word.

        Args:
            needs: What it will be asked for.

        Raises:
            MidspanError: It cannot be asked, or not for these.
        """
        key = key_of(role=self.endpoint.fingerprint, call="contact")
        if key not in self.journal:
            if not self.endpoint.is_met:
                self.endpoint.contact(needs)
            self.journal.append({key: self.endpoint.told})
        self.journal.read(key, self.endpoint.recall)

    @property
    def text(self) -> "TextModel":
        """The served model's tokenizer; it is read while nothing is being asked.

        Raises:
            MidspanError: There is none.
        """
        with self.endpoint.text.using() as text:
            return text

    @property
    def length(self) -> int | None:
        """Tokens of the canvas."""
        return self.endpoint.room(self.asked.max_tokens)

    def room(self, tokens: int) -> range:
        """The first position alone, where the server fixes nothing but an answer's beginning.

        Raises:
            MidspanError: Nobody says how long the canvas is.
        """
        if self.endpoint.config.record.anchors:
            if self.length is None:
                raise MidspanError(
                    f"decoding.length: {self.model} does not say how many tokens its canvas has; "
                    "give it"
                )
            return super().room(tokens)
        fits = self.length is None or tokens <= self.length
        return range(int(fits))

    def random_tokens(self, rng: random.Random, count: int) -> list[int]:
        """Tokens which as text are as many, since a server is sent text.

        Raises:
            MidspanError: None were found.
        """
        ids: list[int] = []
        for _ in range(_DRAWS):
            if len(ids) == count:
                return ids
            drawn = super().random_tokens(rng, 1)
            ids += drawn if self._reads_back([*ids, *drawn]) else []
        raise MidspanError(f"{self.model}: its tokenizer has no random text of {count} tokens")

    def _reads_back(self, ids: Sequence[int]) -> bool:
        text = self.text
        phrase = text.tokenizer.decode(ids).strip()
        try:
            return all(len(text.encode_phrase(phrase, start)) == len(ids) for start in (0, 1))
        except MidspanError:  # of white space alone, or of letters that the vocabulary lacks
            return False

    @property
    def decoding(self) -> str:
        """The server's name, by which its decoding goes."""
        config = self.endpoint.config
        return f"{config.engine} at {urlsplit(config.url).netloc}"

    def settings(self, decoding: str) -> dict[str, Any]:
        """What the server gives, what it is sent, and what it says of its own settings."""
        config, told = self.endpoint.config, self.endpoint.told
        known = {
            "length": self.asked.max_tokens,
            "temperature": self.asked.temperature if config.record.temperature else None,
            "top_p": self.asked.top_p,
            "extra_body": config.extra_body,
            "canvas_length": told.get("canvas_length"),
            "own": told.get("settings"),
        }
        known = {name: value for name, value in known.items() if value not in (None, {})}
        return {"server": config.engine, "gives": list(config.record.given), **known}

    def answers(self, cases: Sequence[ProbeCase]) -> Iterator[tuple[str, list[Answer]]]:
        """Every case; equal ones share one answer, as where a model decodes here."""
        asked = [self._call(case) for case in cases]
        calls = dict(asked)
        with self.stage(f"{self.model}: answering", len(calls)) as stage:

            def tell(step: "SchedulerProgress") -> None:
                stage.advance(step.replies)

            replies = ask_all(
                "probe", self.endpoint, list(calls.values()), self.journal, tell, self.fail_fast
            )
        by_place = dict(zip(calls, map(_answer, replies), strict=True))
        yield self.decoding, [by_place[place] for place, _ in asked]

    def _call(self, case: ProbeCase) -> tuple[tuple[str, Anchor | None], Chat]:
        prompt = case.request.prompt
        anchor = None if case.phrase is None else Anchor(case.phrase.text, case.phrase.start)
        anchors = () if anchor is None else (anchor,)
        return (prompt, anchor), replace(self.asked, messages=(user(prompt),), anchors=anchors)


def _answer(reply: Reply) -> Answer:
    if not reply.ok:
        return Answer("", {"response": ""}, None, f"{reply.failure}: {reply.reason}")
    notes = {"thoughts": reply.thoughts, "rejected_by": reply.rejected_by}
    said = {"response": reply.text, **{name: text for name, text in notes.items() if text}}
    return Answer(reply.text, said, reply.forwards or None)
