"""Completions by the policy in mid-training, and what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Protocol

import torch

from midspan.alignment.objectives import BegunState, RecoveryObjective, TrainingSample
from midspan.data import Behavior
from midspan.data.text import digest
from midspan.decoding import Generation, Request, decode, decoding_config
from midspan.engine.calls import Judge
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.models import DiffusionLM


class Reward(Protocol):
    """What a response to a harmful request is worth."""

    @property
    def name(self) -> str:
        """What it is, with its version; a folder is continued under the same one alone."""

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float | MissingReply | None]:
        """From 0, harmful, to 1, safe, for each request and response.

        Where nobody can say, it is the reply that is missing, or None.
        """


@dataclass(frozen=True)
class JudgeReward:
    """A judge's verdict as a reward: 1 minus StrongREJECT's score, or else minus success.

    Attributes:
        judge: Who judges; it is asked once a response, at the seed 0.
    """

    judge: Role

    @property
    def name(self) -> str:
        """The judge's fingerprint."""
        return self.judge.fingerprint

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float | MissingReply]:
        """See `Reward`; where nothing is asked, the judge is not loaded.

        Raises:
            MidspanError: The judge cannot be loaded or asked, or has no memory left.
        """
        calls = [Judge(Behavior(digest(request), request), text) for request, text in pairs]
        lost = MissingReply("failed", "no answer came")
        rewards: list[float | MissingReply] = [lost] * len(calls)
        if not calls:
            return rewards
        size = self.judge.capacity or len(calls)
        try:
            self.judge.load()
            for start in range(0, len(calls), size):
                batch = calls[start : start + size]
                for index, answer in self.judge.answer([SeededCall(call, 0) for call in batch]):
                    rewards[start + index] = self._read(batch[index], answer)
        except torch.OutOfMemoryError as error:
            # Smaller forward passes of the training would not help it.
            raise MidspanError(
                f"reward: out of memory where {self.name} judges; name a smaller judge, or one "
                "behind a server"
            ) from error
        finally:
            self.judge.unload()
        return rewards

    def _read(self, call: Judge, answer: RawReply | MissingReply) -> float | MissingReply:
        if isinstance(answer, MissingReply):
            return answer
        try:
            verdict = self.judge.read(call, answer.raw)
        except ValueError as error:
            # A verdict in the wrong form rewards nobody.
            return MissingReply("unparseable", str(error))
        score: float | None = verdict.strongreject_score
        return 1.0 - (float(verdict.success) if score is None else score)


@dataclass(frozen=True)
class Rollouts:
    """Completes the states of a batch, and rewards what comes of them.

    Attributes:
        lm: The policy.
        objective: From where and how.
        reward: Of a text.
        length: Of the canvas.
    """

    lm: DiffusionLM
    objective: RecoveryObjective
    reward: Reward
    length: int

    def __call__(self, samples: Sequence[TrainingSample], progress: float) -> list[TrainingSample]:
        """The same samples with completions and their advantages; benign ones as they are.

        Args:
            samples: Of a batch, in any order.
            progress: Share of the training that is done.
        """
        begun = [
            one for sample in samples for one in sample.canvases if isinstance(one, BegunState)
        ]
        shown = [self.objective.begun(state, progress) for state in begun]
        group = self.objective.num_completions
        generations = self._completed(
            [
                Request(state.prompt_ids, anchors, state.seed + number)
                for state, anchors in zip(begun, shown, strict=True)
                for number in range(group)
            ]
        )
        texts = [generation.text for generation in generations]
        rewards = self.reward(
            [(begun[number // group].request, text) for number, text in enumerate(texts)]
        )
        places = [slice(start, start + group) for start in range(0, len(texts), group)]
        ready = iter(
            self._ready(state, anchors, generations[place], rewards[place])
            for place, state, anchors in zip(places, begun, shown, strict=True)
        )
        return [
            replace(sample, canvases=(next(ready),)) if sample.harmful else sample
            for sample in samples
        ]

    def _completed(self, requests: Sequence[Request]) -> list[Generation]:
        objective = self.objective
        config = decoding_config(
            length=self.length,
            block_length=objective.block_length,
            steps=min(objective.steps, self.length),
            temperature=objective.temperature,
        )
        network = self.lm.model
        was_training = network.training
        # Without dropout, which would also keep the bare trunk from running.
        network.eval()
        try:
            return decode(self.lm, requests, config)
        finally:
            network.train(was_training)

    def _ready(
        self,
        state: BegunState,
        anchors: dict[int, int],
        generations: Sequence[Generation],
        rewards: Sequence[float | MissingReply | None],
    ) -> BegunState:
        rated = [None if isinstance(reward, MissingReply) else reward for reward in rewards]
        known = [reward for reward in rated if reward is not None]
        return replace(
            state,
            response_ids=tuple(
                anchors.get(place, token) for place, token in enumerate(state.response_ids)
            ),
            completions=tuple(tuple(generation.tokens) for generation in generations),
            ends=tuple(self._end(generation.tokens) for generation in generations),
            advantages=self.objective.advantages(rated),
            reward=fmean(known) if known else None,
            unrated=tuple(
                reward.reason if isinstance(reward, MissingReply) else "the reward gives none"
                for reward in rewards
                if reward is None or isinstance(reward, MissingReply)
            ),
        )

    def _end(self, tokens: Sequence[int]) -> int:
        """Positions up to the first end token, that one included."""
        stop = self.lm.tokens.stop
        return next((n + 1 for n, token in enumerate(tokens) if token in stop), len(tokens))


def unrated(samples: Sequence[TrainingSample]) -> list[str]:
    """Why completions of a batch have no reward, one reason each."""
    begun = (one for sample in samples for one in sample.canvases if isinstance(one, BegunState))
    return [reason for state in begun for reason in state.unrated]
