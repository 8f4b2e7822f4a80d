"""Monitors: a score of each response from what was read of it; higher is more alarming.

Each is fitted on held-in requests, plain harmful ones and benign ones, and on no attack. Shapes: N
requests, S steps read, D hidden width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from midspan.probes.linear import ridge
from midspan.probes.monitor_signals import Signals

_NOTHING = 1e-9

Score = Callable[[Sequence[Signals]], list[float]]


@dataclass(frozen=True)
class HeldIn:
    """What detectors are fitted on.

    Attributes:
        harmful: Of plain harmful requests.
        benign: Of benign requests.
        steps: Steps read.
    """

    harmful: Sequence[Signals]
    benign: Sequence[Signals]
    steps: Sequence[int]

    @property
    def all(self) -> list[Signals]:
        """Both."""
        return [*self.harmful, *self.benign]

    @property
    def labels(self) -> list[bool]:
        """Whether each of `all` is harmful."""
        return [True] * len(self.harmful) + [False] * len(self.benign)


@dataclass(frozen=True)
class DetectorSettings:
    """Of the detectors that have any; see `MonitorsConfig`."""

    penalty: float
    margin: float
    hesitations: int


@dataclass(frozen=True)
class Detector:
    """One monitor.

    Attributes:
        text: What it is, and after whom.
        fit: From what is held in and the settings to the score.
        all_steps: Whether it waits for the last step read, or for the first alone.
        extra: Forwards of its own.
    """

    text: str
    fit: Callable[[HeldIn, DetectorSettings], Score]
    all_steps: bool = False
    extra: int = 0

    def forwards(self, steps: Sequence[int]) -> int:
        """Forwards until it can speak, its own included; those of decoding are paid anyway."""
        return self.extra + 1 + (max(steps) if self.all_steps else min(steps))


def _read(signals: Sequence[Signals], of: Callable[[Signals], float]) -> list[float]:
    return [of(one) for one in signals]


def _end(held_in: HeldIn, settings: DetectorSettings) -> Score:
    return partial(_read, of=lambda one: one.end)


def _ratio(held_in: HeldIn, settings: DetectorSettings) -> Score:
    return partial(_read, of=lambda one: one.odds[0])


def _distance(held_in: HeldIn, settings: DetectorSettings) -> Score:
    return partial(_read, of=lambda one: one.distance)


def _slope(held_in: HeldIn, settings: DetectorSettings) -> Score:
    def slope(one: Signals) -> float:
        step = np.asarray(held_in.steps, dtype=float)
        centred = step - step.mean()
        return float(centred @ np.asarray(one.odds) / max(float(centred @ centred), _NOTHING))

    harmful, benign = (
        np.mean([slope(one) for one in part]) for part in (held_in.harmful, held_in.benign)
    )
    sign = 1.0 if harmful >= benign else -1.0
    return partial(_read, of=lambda one: sign * slope(one))


def _sri(held_in: HeldIn, settings: DetectorSettings) -> Score:
    benign_NSD = torch.stack([one.states_SD for one in held_in.benign])
    centre_SD = benign_NSD.mean(0)

    def distances(states_NSD: Tensor) -> Tensor:
        return 1 - torch.cosine_similarity(states_NSD, centre_SD[None], dim=-1)

    usual_NS = distances(benign_NSD)
    mean_S, spread_S = usual_NS.mean(0), usual_NS.std(0, correction=0).clamp(min=_NOTHING)

    def score(signals: Sequence[Signals]) -> list[float]:
        distance_NS = distances(torch.stack([one.states_SD for one in signals]))
        values: list[float] = ((distance_NS - mean_S) / spread_S).mean(1).tolist()
        return values

    return score


def _linear(held_in: HeldIn, settings: DetectorSettings) -> Score:
    return _reader(held_in, settings, lambda one: one.states_SD[0])


def _reader(
    held_in: HeldIn, settings: DetectorSettings, features: Callable[[Signals], Tensor]
) -> Score:
    """A ridge classifier of some features; about 1 for harmful requests, -1 for benign ones."""
    train_ND = torch.stack([features(one) for one in held_in.all])
    labels_N = torch.tensor(held_in.labels)

    def score(signals: Sequence[Signals]) -> list[float]:
        test_ND = torch.stack([features(one) for one in signals])
        values: list[float] = ridge(train_ND, labels_N, test_ND, settings.penalty).tolist()
        return values

    return score


def _two_stage(held_in: HeldIn, settings: DetectorSettings) -> Score:
    width = range(len(held_in.steps))
    # The light probe is one for all steps: every step's state is a sample of its own.
    train_ND = torch.cat([one.states_SD for one in held_in.all])
    labels_N = torch.tensor(held_in.labels).repeat_interleave(len(width))
    heavy = _reader(held_in, settings, lambda one: one.states_SD.flatten())

    def score(signals: Sequence[Signals]) -> list[float]:
        states_ND = torch.cat([one.states_SD for one in signals])
        light_NS = ridge(train_ND, labels_N, states_ND, settings.penalty).view(len(signals), -1)
        hesitates_N = (light_NS.abs() < settings.margin).sum(1) >= settings.hesitations
        pairs = zip(light_NS.mean(1).tolist(), heavy(signals), hesitates_N.tolist(), strict=True)
        return [second if hesitates else first for first, second, hesitates in pairs]

    return score


DETECTORS: Mapping[str, Detector] = {
    "p_eos": Detector("probability of end tokens at the leftmost mask, first step (A2D)", _end),
    "r0": Detector("log-odds of refusing against agreeing words, first step (ours)", _ratio),
    "slope": Detector(
        "slope of these log-odds over the steps, sign held in (ours)", _slope, all_steps=True
    ),
    "audit": Detector(
        "cosine distance of prompt and first block, first step (DiffuGuard)", _distance, extra=1
    ),
    "sri": Detector(
        "distance of each step's mean state to that of benign prompts, in standard deviations "
        "(after SRI; the benign-only detector is ours)",
        _sri,
        all_steps=True,
    ),
    "linear": Detector("ridge classifier of the mean state, first step", _linear),
    "two_stage": Detector(
        "ridge classifier of each step's mean state; one of all steps together where it "
        "hesitates (after D2-Monitor, abstract)",
        _two_stage,
        all_steps=True,
    ),
}
