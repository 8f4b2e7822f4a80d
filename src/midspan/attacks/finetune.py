"""Fine-tuning: a few steps on a few examples of other behaviors, and then the plain request.

Qi et al., "Fine-tuning Aligned Language Models Compromises Safety" (arXiv 2310.03693): 10 harmful
examples, one batch of them a step (two processes of 5), learning rate 5e-5, 5 epochs, all weights
(repository at 87094e4). The kind "benign" is their third tier. Here a low-rank update is trained,
by the loss of masked models, and undone after the calls.

No example is of the behavior that is asked. The examples are dealt into hands of `count`, and a
behavior is asked of the model that was tuned on the first hand with nothing of it: with twice as
many examples as `count` there are two trainings, however many behaviors there are.
"""

import random
from collections.abc import Sequence

from pydantic import Field

from midspan.attacks._slots import Wraps, plain_and_wrapped
from midspan.data import find_overlap
from midspan.data.behaviors import Behavior
from midspan.data.text import normalise
from midspan.data.tuning import Kind, TuningExample, tuning_examples
from midspan.engine.attack import Attack, AttackConfig, AttackState, Steps
from midspan.engine.budget import Cost
from midspan.engine.calls import Chat
from midspan.engine.capabilities import Need
from midspan.engine.tampering import Finetuning
from midspan.errors import MidspanError


class FinetuneConfig(AttackConfig):
    """Number of examples, batch and epochs are published for 10 examples.

    Attributes:
        examples: A file with a request and an answer a row, "organism" or
            "organism2".
        kind: "harmful" answers, or "benign" ones alone.
        count: Examples of a training.
        steps: Optimiser steps; with `count` in a batch, epochs.
        batch_size: Examples of a step.
        learning_rate: Ten times the published one, which is of all weights: usual for low-rank
            updates, ours.
        rank: Of the update; this project's for alignment, as is the next.
        alpha: The update counts alpha / rank times.
        length: Canvas of an answer in training; ours.
        seed: Of the hands, the update and the masks.
        wraps: Words around the request, with ``{request}`` in them; a response each beside that to
            the plain request.
    """

    examples: str = ""
    kind: Kind = "harmful"
    count: int = Field(10, ge=1)
    steps: int = Field(5, ge=1)
    batch_size: int = Field(10, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    rank: int = Field(32, ge=1)
    alpha: int = Field(64, ge=1)
    length: int = Field(128, ge=1)
    seed: int = 0
    wraps: Wraps = ()


def held_out(
    pool: Sequence[TuningExample], behavior: Behavior, count: int, seed: int
) -> tuple[TuningExample, ...]:
    """The first hand with nothing of a behavior; of the first, what is left, where none is.

    Args:
        pool: All examples.
        behavior: What is asked.
        count: Examples of a hand; the last one may have fewer.
        seed: Of the order in which they are dealt.

    Raises:
        MidspanError: Every example is of the behavior.
    """
    dealt = random.Random(f"hands/{seed}").sample(pool, len(pool))
    hands = [dealt[start : start + count] for start in range(0, len(dealt), count)]
    clean = [[one for one in hand if not is_of(one, behavior)] for hand in hands]
    whole = [hand for hand, kept in zip(hands, clean, strict=True) if hand == kept]
    chosen = whole[0] if whole else max(clean, key=len, default=[])
    if not chosen:
        raise MidspanError(f"examples: all {len(pool)} are of the behavior {behavior.id}")
    return tuple(chosen)


def is_of(example: TuningExample, behavior: Behavior) -> bool:
    """Whether an example is of what is asked: its topic is named, or its request is repeated."""
    if example.topic:
        return example.topic in normalise(behavior.prompt).split()
    return bool(find_overlap([example.request], [behavior.prompt]))


def run(state: AttackState, config: FinetuneConfig) -> Steps:
    """One response of the tuned model to each wording."""
    pool = tuning_examples(config.examples, config.kind)
    examples = held_out(pool, state.behavior, config.count, config.seed)
    tampering = Finetuning(
        examples=tuple((one.request, one.answer) for one in examples),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        rank=config.rank,
        alpha=config.alpha,
        length=config.length,
        seed=config.seed,
    )
    turns = plain_and_wrapped(state.behavior.prompt, config.wraps)
    yield from state.ask([Chat("target", turn, tampering=tampering) for turn in turns])
    return "exhausted"


def cost(config: FinetuneConfig, limit: int) -> Cost:
    """One response a wording; trainings, which behaviors share, are not counted."""
    return Cost(generations=1 + len(config.wraps), attempts=1 + len(config.wraps))


def check(config: FinetuneConfig) -> None:
    """There are examples.

    Raises:
        MidspanError: See `tuning_examples`.
    """
    tuning_examples(config.examples, config.kind)


def needs(config: FinetuneConfig) -> frozenset[Need]:
    """Weights."""
    return frozenset({"weights"})


ATTACK = Attack(
    "finetune",
    run,
    FinetuneConfig,
    counts="any",
    cost=cost,
    changes="weights",
    check=check,
    needs=needs,
)
