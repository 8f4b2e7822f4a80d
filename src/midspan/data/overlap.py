"""Training prompts that say what an evaluation asks: found before a model is trained on them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from midspan.data.behaviors import BehaviorSet
from midspan.data.text import normalise
from midspan.errors import MidspanError

Pair = tuple[str, ...]

# Chosen on AdvBench against HarmBench, XSTest and GSM8K; figures in docs/results/data.md.
NEAR = 0.6


@dataclass(frozen=True)
class Overlap:
    """A training prompt and the evaluation text that it repeats most closely.

    Attributes:
        training: Index of the training prompt.
        evaluation: Index of the evaluation text.
        similarity: 1 when they are equal in normal form, or else the share of the evaluation
            text's pairs of neighbouring words that the training prompt has, too; a pair counts
            1 / the number of evaluation texts that have it, so that turns of phrase count little.
    """

    training: int
    evaluation: int
    similarity: float


def find_overlap(
    training: Sequence[str], evaluation: Sequence[str], threshold: float = NEAR
) -> list[Overlap]:
    """Training prompts that equal an evaluation text, or hold much of its wording.

    A text wrapped into a longer prompt is found; a paraphrase or a translation is not.

    Args:
        training: Prompts to align on.
        evaluation: Requests to measure with.
        threshold: Least similarity that is reported, above 0.
    """
    exact = {normalise(text): index for index, text in reversed(list(enumerate(evaluation)))}
    near = _Index(evaluation)
    overlaps = []
    for number, text in enumerate(training):
        equal = exact.get(normalise(text))
        index, similarity = near.closest(text) if equal is None else (equal, 1.0)
        if similarity >= threshold:
            overlaps.append(Overlap(number, index, similarity))
    return overlaps


class _Index:
    """Word pairs of the evaluation texts: where they are, and what each counts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._places: defaultdict[Pair, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            for pair in _word_pairs(text):
                self._places[pair].append(index)
        self._totals = [0.0] * len(texts)
        for places in self._places.values():
            for index in places:
                self._totals[index] += 1 / len(places)

    def closest(self, text: str) -> tuple[int, float]:
        """Index and similarity of the closest text; the first of equally close ones."""
        shared: defaultdict[int, float] = defaultdict(float)
        for pair in _word_pairs(text):
            places = self._places.get(pair, [])
            for index in places:
                shared[index] += 1 / len(places) / self._totals[index]
        if not shared:
            return 0, 0.0
        index = min(shared, key=lambda index: (-shared[index], index))
        return index, shared[index]


def refuse_overlap(
    training: BehaviorSet, evaluation: BehaviorSet, allow: bool = False
) -> list[Overlap]:
    """The overlap of two sets, which must be none unless it is allowed.

    Raises:
        MidspanError: How many training prompts overlap, and the ids of the first pair.
    """
    overlaps = find_overlap(
        [behavior.prompt for behavior in training], [behavior.text for behavior in evaluation]
    )
    if overlaps and not allow:
        first = overlaps[0]
        raise MidspanError(
            f"overlap: {len(overlaps)} of {len(training)} training prompts of {training.name} "
            f"repeat {evaluation.name}; the first is {training.behaviors[first.training].id}, like "
            f"{evaluation.behaviors[first.evaluation].id} (similarity {first.similarity:.2f}). "
            "Take them out of the training prompts, or pass --allow-overlap"
        )
    return overlaps


def _word_pairs(text: str) -> list[Pair]:
    """Every pair of neighbouring words once; the word itself where there is one.

    In order, as sums of fractions depend on it.
    """
    words = normalise(text).split()
    starts = range(max(1, len(words) - 1))
    return list(dict.fromkeys(tuple(words[start : start + 2]) for start in starts))
