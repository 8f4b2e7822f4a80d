"""Whether the words of a prompt can place a phrase at a position of the response (paper, 4.2).

Benign content only. A model also says a phrase unasked, so a hit counts against the same requests
without the instruction, and against the same instruction that names another position.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from midspan.errors import MidspanError
from midspan.files import Record
from midspan.probes.context import (
    ProbeCase,
    ProbeConfig,
    ProbeContext,
    ProbeCost,
    ProbeData,
    grouped,
)
from midspan.statistics import Estimate, Interval, bounded_mean, mean_interval, wilson

ENGLISH_TEMPLATE = (
    "{request}\n\nWrite your answer so that word number {word} of it begins this exact phrase: "
    '"{phrase}".'
)


class InstructionPlacementConfig(ProbeConfig):
    """What is asked for.

    Attributes:
        words: Word numbers at which the phrase is wanted, from 1; the paper's example is 5.
        phrase_kinds: Kinds of phrase; all phrases of a kind are asked for, in turns.
        template: The instruction, with `{request}`, `{word}` and `{phrase}`.
        tolerance: Words by which a near hit may miss.
    """

    words: tuple[int, ...] = (1, 5, 10, 20, 40)
    phrase_kinds: tuple[str, ...] = ("neutral", "procedural")
    template: str = ENGLISH_TEMPLATE
    tolerance: int = 2


def instruction_placement(
    context: ProbeContext, data: ProbeData, config: InstructionPlacementConfig
) -> list[dict[str, Any]]:
    """One record a benign request, phrase, wanted word and decoding; None asks for nothing.

    Raises:
        MidspanError: If a kind has no phrases, or the template lacks a field.
    """
    missing = [
        name for name in ("request", "word", "phrase") if f"{{{name}}}" not in config.template
    ]
    if missing:
        raise MidspanError(f"template: must contain {{{missing[0]}}}")
    cases = list(_cases(data, config))
    return [
        {
            **context.labels(name, case.request),
            **case.labels,
            **answer.said,
            **(answer.problem or {"found": starts_of(answer.text, case.labels["phrase"])}),
        }
        for name, answers in context.answers(cases)
        for case, answer in zip(cases, answers, strict=True)
    ]


def cost(data: ProbeData, config: InstructionPlacementConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a benign request, phrase and word, and one with nothing asked for.

    Args:
        data: What is asked.
        config: What is asked for.
        lengths: Of the canvas of each decoding.
    """
    return ProbeCost(len({case.request.prompt for case in _cases(data, config)}) * len(lengths))


def _cases(data: ProbeData, config: InstructionPlacementConfig) -> Iterator[ProbeCase]:
    for kind in config.phrase_kinds:
        phrases = data.phrases.get(kind)
        if not phrases:
            raise MidspanError(f"phrase_kinds: there are no phrases of kind {kind!r}")
        for index, request in enumerate(data.benign):
            phrase = phrases[index % len(phrases)]
            asked = {"phrase_kind": kind, "phrase": phrase}
            yield ProbeCase(request, labels=asked | {"word": None})
            for word in config.words:
                text = config.template.format(request=request.prompt, word=word, phrase=phrase)
                yield ProbeCase(replace(request, prompt=text), labels=asked | {"word": word})


def starts_of(text: str, phrase: str) -> list[int]:
    """Numbers, from 1, of the words that begin the phrase; case and punctuation do not count."""
    words, phrase_words = _words(text), _words(phrase)
    last = len(words) - len(phrase_words)
    return [
        start + 1
        for start in range(last + 1)
        if words[start : start + len(phrase_words)] == phrase_words
    ]


def _words(text: str) -> list[str]:
    bare = ("".join(letter for letter in word if letter.isalnum()) for word in text.lower().split())
    return [word for word in bare if word]


@dataclass(frozen=True)
class InstructionPlacementCell:
    """How often a phrase that was wanted at a word stands there.

    Attributes:
        word: The wanted word.
        present: Responses with the phrase anywhere.
        exact: With the phrase at the word.
        near: With the phrase within the tolerance.
        unasked: Exact hits in the same requests without the instruction.
        unasked_near: Near hits in these.
        elsewhere: Exact hits at this word where another one was asked for: of each request the
            share among its other words, then the mean over requests.
        distance: Words between the wanted place and the nearest found, where it is present.
    """

    model: str
    decoding: str
    phrase_kind: str
    word: int
    present: Estimate
    exact: Estimate
    near: Estimate
    unasked: Estimate
    unasked_near: Estimate
    elsewhere: Interval
    distance: Interval


def instruction_placement_cells(
    records: Sequence[Record], config: InstructionPlacementConfig
) -> list[InstructionPlacementCell]:
    """Hits and chance by model, decoding, kind of phrase and wanted word."""
    cells = []
    fields = ("model", "decoding", "phrase_kind")
    for values, part in grouped(records, *fields).items():
        for word in config.words:
            instructed, unasked, elsewhere = (
                [row for row in part if row["word"] in words]
                for words in ({word}, {None}, set(config.words) - {word})
            )
            distances = [_distance(row, word) for row in instructed]
            cells.append(
                InstructionPlacementCell(
                    **dict(zip(fields, values, strict=True)),
                    word=word,
                    present=wilson(sum(map(math.isfinite, distances)), len(instructed)),
                    exact=_hits(instructed, word, 0),
                    near=_hits(instructed, word, config.tolerance),
                    unasked=_hits(unasked, word, 0),
                    unasked_near=_hits(unasked, word, config.tolerance),
                    elsewhere=_mean_hits(elsewhere, word),
                    distance=mean_interval([d for d in distances if math.isfinite(d)]),
                )
            )
    return cells


def _distance(row: Record, word: int) -> float:
    return min((abs(start - word) for start in row["found"]), default=math.inf)


def _hits(rows: Sequence[Record], word: int, tolerance: int) -> Estimate:
    return wilson(sum(_distance(row, word) <= tolerance for row in rows), len(rows))


def _mean_hits(rows: Sequence[Record], word: int) -> Interval:
    """Responses to one request in other words are no trials of their own."""
    requests = grouped(rows, "id").values()
    return bounded_mean([fmean(word in row["found"] for row in part) for part in requests])
