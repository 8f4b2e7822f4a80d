"""Answer several perturbed copies of a request, and give an answer of the majority (SmoothLLM)."""

import random
import string
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from midspan.decoding.rule import Messages, Rule
from midspan.decoding.rules._turns import last_request, with_text

_LETTERS = string.ascii_letters + string.digits + string.punctuation + " "


class SmoothLLM(Rule):
    """Letters of the last request are changed at random in each copy; answers vote.

    Robey et al., 2023. Each answer complies or refuses by its words, and one of the majority is
    drawn; a tie refuses, as in the paper. Letters are drawn without line breaks and tabs, and the
    words that tell a refusal are ours.

    Attributes:
        count: Copies.
        share: Of the letters, that which changes.
        kind: "swap" replaces letters, "insert" adds one behind each, "patch" replaces a run.
        refusals: An answer that has one of these in it refuses, in any case.
    """

    draws: ClassVar[bool] = True

    rule: Literal["smoothllm"] = "smoothllm"
    count: int = Field(10, ge=1)
    share: float = Field(0.1, gt=0, le=1)
    kind: Literal["swap", "insert", "patch"] = "swap"
    refusals: tuple[str, ...] = Field(
        ("sorry", "apolog", "cannot", "can't", "can\N{RIGHT SINGLE QUOTATION MARK}t", "unable to",
         "not able to", "i will not", "i won't", "must refuse", "as an ai"),
        min_length=1,
    )  # fmt: skip

    def copies(self, messages: Messages, seed: int) -> Sequence[Messages]:
        """See `Rule`; conversations without a user's turn are left alone."""
        index = last_request(messages)
        if index is None:
            return ()
        text, rng = messages[index]["content"], random.Random(f"{seed}/{self.rule}")
        return [with_text(messages, index, self._perturbed(text, rng)) for _ in range(self.count)]

    def _perturbed(self, text: str, rng: random.Random) -> str:
        size = int(len(text) * self.share)
        if self.kind == "patch":
            start = rng.randrange(len(text) - size + 1)
            return text[:start] + "".join(rng.choices(_LETTERS, k=size)) + text[start + size :]
        letters = list(text)
        for place in rng.sample(range(len(text)), size):
            drawn = rng.choice(_LETTERS)
            letters[place] = drawn if self.kind == "swap" else letters[place] + drawn
        return "".join(letters)

    def vote(self, texts: Sequence[str], seed: int) -> int:
        """See `Rule`."""
        complies = [not any(word in text.lower() for word in self.refusals) for text in texts]
        majority = 2 * sum(complies) > len(complies)
        agreeing = [index for index, one in enumerate(complies) if one == majority]
        return random.Random(f"{seed}/vote").choice(agreeing)


RULE = SmoothLLM
