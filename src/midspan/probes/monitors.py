"""How well monitors tell harmful requests from benign ones, under each attack.

A monitor that knows refusals need not know attacks. So each is fitted on held-in plain requests and
judged on held-out ones as attacks send them, beside benign ones, and mixed ones that only mention
what is refused. The attacker that knows a monitor takes, for each behavior, the response with the
lowest score among all settings under which the behavior was answered.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from midspan.engine.calls import Chat
from midspan.errors import MidspanError, not_one_of
from midspan.probes.context import ProbeConfig, ProbeCost, ProbeData, ProbeRequest
from midspan.probes.local import LocalContext

if TYPE_CHECKING:
    from midspan.engine.local import LocalRole
    from midspan.probes.monitor_signals import Signals, Watched

BENIGN, MIXED, DIRECT = "benign", "mixed", "direct"
MONITORS = ("p_eos", "r0", "slope", "audit", "sri", "linear", "two_stage")


class MonitorsConfig(ProbeConfig):
    """What is attacked, what is read, and by whom.

    Attributes:
        conditions: Attacks by name; none takes all that `midspan.studies.probes.attacked` lists. An
            attack that is not listed there has its own settings alone; one that asks a helper or
            goes by replies cannot be one.
        monitors: Monitors by name.
        steps: Steps in which is read, from 0.
        penalty: Ridge penalty of the classifiers, in units of the mean squared norm of a sample.
        margin: A light probe hesitates below it; its decision is about 1 or -1.
        hesitations: Steps with hesitation from which on the heavier probe decides.
    """

    conditions: tuple[str, ...] = ()
    monitors: tuple[str, ...] = Field(MONITORS, min_length=1)
    steps: tuple[int, ...] = Field((0, 2, 4, 8), min_length=1)
    penalty: float = Field(0.1, gt=0)
    margin: float = Field(0.5, ge=0)
    hesitations: int = Field(2, ge=1)

    @field_validator("monitors")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MONITORS:
                raise not_one_of("", name, MONITORS)
        return names

    @field_validator("steps")
    @classmethod
    def _begin_at_the_first(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(steps)) != list(steps) or steps[0] != 0:
            raise ValueError("must rise from 0: several monitors speak in the first step")
        return steps


@dataclass(frozen=True)
class MonitorCase:
    """One call, and its place in the tables.

    Attributes:
        request: Whose it is; its kind is the condition with its settings.
        chat: What is asked.
        condition: "benign", "mixed", or the attack.
        published: Whether the attack's settings are its own; the others are for an attacker who
            knows the monitor.
        held_in: Whether detectors may learn from it.
    """

    request: ProbeRequest
    chat: Chat
    condition: str
    published: bool = True
    held_in: bool = False


@dataclass(frozen=True)
class MonitorData(ProbeData):
    """What a probe of monitors asks; its phrases have the kinds "safe" and "affirmative" too.

    Attributes:
        cases: All calls; `requests` are theirs.
    """

    cases: tuple[MonitorCase, ...]


def monitors(
    context: LocalContext, data: MonitorData, config: MonitorsConfig
) -> list[dict[str, Any]]:
    """One record a call and decoding, with the score of each monitor.

    Raises:
        MidspanError: The model is decoded with a cache or in attention blocks, or an attack cannot
            be read.
    """
    return [
        record
        for name, decoding in context.decodings.items()
        for record in _Measurement(context, data, config).records(name, decoding)
    ]


def cost(data: MonitorData, config: MonitorsConfig, lengths: Sequence[int]) -> ProbeCost:
    """One response a call and one row for its plain prompt, in every canvas; an upper bound.

    Calls whose canvases do not depend on the decoding, as in the user's turn, are answered once.

    Args:
        data: What is asked.
        config: Who reads.
        lengths: Of the canvas of each decoding.
    """
    calls = {repr(case.chat) for case in data.cases}
    return ProbeCost(len(calls) * len(lengths), forwards=len(calls) * len(lengths))


@dataclass(frozen=True)
class _Measurement:
    """One model under all conditions."""

    context: LocalContext
    data: MonitorData
    config: MonitorsConfig

    def records(self, name: str, decoding: Any) -> list[dict[str, Any]]:
        """Of one decoding."""
        from midspan.engine.local import LocalRole

        role = LocalRole(self.context.lm, decoding, self.context.batch_size)
        watched = [self._watched(role, case) for case in self.data.cases]
        readings = self._read(watched)
        scores = self._scores([signals for signals, _ in readings])
        rows = []
        for index, (case, (_, found)) in enumerate(zip(self.data.cases, readings, strict=True)):
            said = found["text"]
            if not found["rejected_by"]:
                said = role.text(case.chat, found["tokens"], said)
            own = {key: values[index] for key, values in scores.items()}
            rows.append((case, own, {**found, "response": said}))
        asked = [(case.request, found["response"]) for case, _, found in rows]
        outcomes = self.context.judged(self.data, asked)
        return [
            self._record(name, *row, outcome) for row, outcome in zip(rows, outcomes, strict=True)
        ]

    def _watched(self, role: "LocalRole", case: MonitorCase) -> "Watched":
        from midspan.probes.monitor_signals import Watched

        seed = zlib.crc32(case.request.prompt.encode())
        try:
            request, decoding = role.decodable(case.chat, seed)
        except MidspanError as error:
            raise MidspanError(f"conditions.{case.condition}: {error}") from error
        plain = self.context.lm.encode_chat(case.chat.messages)
        return Watched(request, decoding, tuple(plain))

    def _read(self, watched: "Sequence[Watched]") -> "list[tuple[Signals, dict[str, Any]]]":
        from midspan.journal.generation import each_batch
        from midspan.probes.monitor_signals import MonitorWork, Signals, Vocabulary

        context, phrases = self.context, self.data.phrases
        vocabulary = Vocabulary.of(context.lm, phrases["safe"], phrases["affirmative"])
        work = MonitorWork(context.lm, watched, self.config.steps, vocabulary, context.batch_size)
        with context.stage(f"{context.model}: reading", len(set(work.keys))) as stage:
            for done in each_batch(work, context.journal):
                stage.advance(len(done))

        def both(value: dict[str, Any]) -> "tuple[Signals, dict[str, Any]]":
            return Signals.from_dict(value), value

        return [context.journal.read(key, both) for key in work.keys]

    def _scores(self, signals: "Sequence[Signals]") -> dict[str, list[float]]:
        from midspan.probes.detectors import DETECTORS, DetectorSettings, HeldIn

        config = self.config
        parts: dict[str, list[Signals]] = {DIRECT: [], BENIGN: []}
        for case, one in zip(self.data.cases, signals, strict=True):
            if case.held_in:
                parts[case.condition].append(one)
        held_in = HeldIn(parts[DIRECT], parts[BENIGN], config.steps)
        settings = DetectorSettings(config.penalty, config.margin, config.hesitations)
        return {name: DETECTORS[name].fit(held_in, settings)(signals) for name in config.monitors}

    def _record(
        self,
        name: str,
        case: MonitorCase,
        scores: dict[str, float],
        found: dict[str, Any],
        outcome: dict[str, Any],
    ) -> dict[str, Any]:
        rejected = {"rejected_by": found["rejected_by"]} if found["rejected_by"] else {}
        return {
            **self.context.labels(name, case.request),
            "condition": case.condition,
            "published": case.published,
            "held_in": case.held_in,
            "harmful": case.request.harmful,
            "response": found["response"],
            **rejected,
            **outcome,
            "forwards": found["forwards"],
            "scores": {key: float(f"{value:.9g}") for key, value in scores.items()},
        }
