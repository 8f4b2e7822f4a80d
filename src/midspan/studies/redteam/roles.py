"""Who takes part in a study: specs of targets, helpers, proxies and judges, each read once."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midspan.data.behaviors import BehaviorSet
from midspan.data.columns import Named
from midspan.engine.capabilities import Capabilities, Need
from midspan.engine.roles import Role
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError, not_one_of
from midspan.judges import (
    FORMATS,
    PUBLISHED,
    RUBRICS,
    ChatJudge,
    ClassifierJudge,
    Rubric,
    keyword_judge,
    read_rubric,
)
from midspan.judges.xstest import strmatch_judge
from midspan.organism import behaviors
from midspan.organism.scripts import helpers
from midspan.organism.worlds import WORLDS
from midspan.served import is_served
from midspan.studies.defences import behind
from midspan.studies.given import NOTHING, Given

HELPERS = ("attacker", "evaluator", "translator")
_FROM_FILE = ":rubric="  # between a judge's model and the file of its published rubric
# Judges by name, and whether they know the organism's world alone.
_SIMPLE: Mapping[str, tuple[Callable[[], Role], bool]] = {
    "exact": (behaviors.exact_judge, True),
    "exact-strongreject": (behaviors.exact_strongreject, True),
    "exact-forms": (behaviors.exact_forms, True),
    "refusal-keywords": (keyword_judge, False),
    "xstest-strmatch": (strmatch_judge, False),
}


if TYPE_CHECKING:
    from midspan.alignment import AlignmentData
    from midspan.decoding.rule import Rule
    from midspan.engine.tampering import Tamper


@dataclass(frozen=True)
class Participant:
    """Somebody who answers calls, before anything is loaded.

    Attributes:
        spec: As users name it.
        open: Makes the role; a local model's weights are read then.
        model: The model that is asked; the spec itself where nobody else is.
        record: What a server can be asked; None for who is asked here.
        contact: Of a server: asks it for a word, and raises where it cannot be asked for what is
            needed; it returns what was found.
        knows_organism_alone: Whether it means nothing outside the organisms' worlds.
        check: Of a local classifier: reads all but its weights, and raises where it will not do.
        loads: The diffusion model that is loaded for it, as `midspan.load` reads it; empty where
            none is.
    """

    spec: str
    open: Callable[[], Role]
    model: str
    record: Capabilities | None = None
    contact: Callable[[Collection[Need]], Capabilities] | None = None
    knows_organism_alone: bool = False
    check: Callable[[], None] | None = None
    loads: str = ""

    @property
    def is_server(self) -> bool:
        """Whether it answers behind a server."""
        return self.record is not None

    def meet(self) -> None:
        """Ask a server for a word, and read all of a local classifier but its weights.

        Raises:
            MidspanError: It cannot be asked, or will not do.
        """
        if self.check is not None:
            self.check()
        if self.contact is not None:
            self.contact(())


def read_servers(servers: Mapping[str, Mapping[str, Any]]) -> dict[str, EndpointConfig]:
    """Settings of servers, by spec.

    Args:
        servers: Fields of `EndpointConfig`, by spec.

    Raises:
        MidspanError: A spec is no server's, or has no such field or value.
    """
    for spec, fields in servers.items():
        if not isinstance(fields, Mapping):
            raise MidspanError(f"servers.{spec}: must hold fields, such as timeout: 60")
    return {spec: EndpointConfig.from_spec(spec, **fields) for spec, fields in servers.items()}


@dataclass(frozen=True)
class SpecReader:
    """Makes participants of specs.

    Attributes:
        servers: Settings of servers, by spec; others have the usual ones.
        given: Models and judges that the caller has in hand.
        defences: Rules of decoding, by the name of the defence.
    """

    servers: Mapping[str, EndpointConfig] = field(default_factory=dict)
    given: Given = NOTHING
    defences: "Mapping[str, tuple[Rule, ...]]" = field(default_factory=dict)

    def model(
        self, spec: str, batch_size: int, decoding: Mapping[str, Any] | None = None
    ) -> Participant:
        """A server's model, as `read_served` has it, or any diffusion model that loads.

        Args:
            spec: Which of them; behind it ``with DEFENCE`` for each defence in front of it, a name
                of `defences` or of a rule.
            batch_size: Rows that a local model takes together.
            decoding: Changes of a local model's published settings; servers have their own.

        Raises:
            MidspanError: It looks like a server's, and names none; or there is no such defence.
        """
        model, rules = behind(spec, self.defences)
        fields = dict(decoding or {})
        if is_served(spec):
            return self._guarded(spec, self._server(model), rules)
        if rules:
            fields["rules"] = (*fields.get("rules", ()), *rules)

        def open_local() -> Role:
            from midspan.decoding import decoding_config
            from midspan.engine.local import LocalRole

            lm = self.given.load(model)
            return LocalRole(lm, decoding_config(lm, **fields), batch_size, tamper=_tamper())

        return Participant(spec, open_local, model, loads=model)

    def _guarded(self, spec: str, server: Participant, rules: "Sequence[Rule]") -> Participant:
        """A server's model behind defences, which may act on conversations alone."""
        if not rules:
            return server
        for rule in rules:
            if rule.acts_in_decoder:
                raise MidspanError(
                    f"models: {spec!r}: {rule.rule} acts in the decoder, which a server does not "
                    "open; leave it out"
                )

        def open_guarded() -> Role:
            from midspan.engine.guarded import GuardedRole

            return GuardedRole(server.open(), rules)

        assert server.record is not None
        # What stands in front reads conversations, and no canvas is one.
        record = server.record.model_copy(update={"logprobs": False})
        return replace(server, spec=spec, open=open_guarded, record=record)

    def helper(self, name: str, spec: str, batch_size: int) -> Participant:
        """A helper of the attacks: an organism's name for its scripted one, or any chat model.

        Raises:
            MidspanError: There is no such helper.
        """
        if name not in HELPERS:
            raise not_one_of("helpers", name, HELPERS)
        if spec in WORLDS:
            return Participant(spec, lambda: helpers(spec)[name], spec, knows_organism_alone=True)
        return self.model(spec, batch_size)

    def judge(self, spec: str, batch_size: int = 8) -> Participant:
        """A given judge, an exact one, a classifier, perhaps ``=PATH``, or ``RUBRIC=MODEL``.

        ``RUBRIC=MODEL:rubric=FILE`` grades by a published rubric, which is read here.

        Raises:
            MidspanError: There is none of this name, or its file holds no rubric.
        """
        if spec in self.given.judges:
            return Participant(spec, lambda: self.given.judges[spec], spec)
        name, _, path = spec.partition("=")
        if name in _SIMPLE and not path:
            make, knows_organism_alone = _SIMPLE[name]
            return Participant(spec, make, spec, knows_organism_alone=knows_organism_alone)
        if name in FORMATS and _FROM_FILE not in path:
            judge = ClassifierJudge(FORMATS[name], path or None, batch_size)
            return Participant(spec, lambda: judge, spec, check=judge.check)
        model, from_file, file = path.partition(_FROM_FILE)
        if name not in (PUBLISHED if from_file else RUBRICS) or not model:
            rubrics = (f"{rubric}=MODEL" for rubric in RUBRICS)
            published = (f"{grader}=MODEL{_FROM_FILE}FILE" for grader in PUBLISHED)
            raise not_one_of("judge", spec, (*_SIMPLE, *FORMATS, *rubrics, *published))
        rubric: Rubric = read_rubric(name, file) if from_file else RUBRICS[name]
        asked = self.model(model, batch_size)
        return replace(asked, spec=spec, open=lambda: ChatJudge(asked.open(), rubric), model=model)

    def check_servers(self, participants: Iterable[Participant]) -> None:
        """Refuse settings of servers that nobody asks, and one key for several hosts.

        Raises:
            MidspanError: Naming the first of them.
        """
        asked = list(participants)
        models = {one.model for one in asked}
        for spec in self.servers:
            if spec not in models:
                raise MidspanError(
                    f"servers: nobody asks {spec}; name it as a model, helper or judge"
                )
        configs = [
            self.servers.get(one.model) or EndpointConfig.from_spec(one.model)
            for one in asked
            if one.is_server
        ]
        for variable in {config.key_variable for config in configs}:
            # Replicas of one model are one receiver, which the user has put together.
            receivers = {c.hosts for c in configs if c.key_variable == variable}
            if len(receivers) > 1 and os.environ.get(variable):
                hosts = sorted(frozenset().union(*receivers))
                raise MidspanError(
                    f"servers: the key in {variable} would go to {' and '.join(hosts)}; give each "
                    "host a key_variable of its own"
                )

    def _server(self, spec: str) -> Participant:
        from midspan.engine.endpoint import Endpoint

        config = self.servers.get(spec) or EndpointConfig.from_spec(spec)

        @cache
        def open_server() -> Endpoint:
            return Endpoint(config)

        def found(needs: Collection[Need]) -> Capabilities:
            endpoint = open_server()
            endpoint.contact(needs)
            return endpoint.capabilities

        return Participant(spec, open_server, spec, config.record, found)


def _tamper() -> "Tamper":
    """What changes a local model's weights where an attack asks for it; it imports a trainer."""

    @cache
    def tamperer() -> "Tamper":
        from midspan.alignment.tampering import Tamperer

        return Tamperer()

    return lambda lm, tampering: tamperer()(lm, tampering)


# Judges that say whether a response refuses; the others rate what it gives.
SEE_REFUSALS = ("refusal-keywords", "xstest-strmatch", "xstest", "strongreject")


def with_refusal_judge(
    spec: str | None,
    servers: Mapping[str, Mapping[str, Any]],
    given: Given = NOTHING,
    others: Iterable[str] = (),
) -> Given:
    """What is given, and the judge of refusals that a config names, made when it is first asked.

    Args:
        spec: The judge, or None where the config names none.
        servers: Settings of servers, by spec.
        given: Models and judges that the caller has in hand.
        others: Models that are asked beside it.

    Raises:
        MidspanError: There is no such judge, it says nothing of refusals, or a server's settings
            are wrong.
    """
    reader = SpecReader(read_servers(servers), given)
    asked = [reader.model(model, 1) for model in others if is_served(model)]
    if spec is None or spec in given.judges:
        reader.check_servers(asked)
        return given
    judge = reader.judge(spec)
    if spec.partition("=")[0] not in SEE_REFUSALS:
        models = {"xstest": "xstest=MODEL", "strongreject": "strongreject=MODEL"}
        raise not_one_of("judge", spec, [models.get(name, name) for name in SEE_REFUSALS])
    reader.check_servers((*asked, judge))
    return replace(given, openers={**given.openers, spec: cache(judge.open)})


def with_reward(
    data: "AlignmentData", judge: "str | Role | None", folder: str | Path | None = None
) -> "AlignmentData":
    """Training data with a judge's verdict as the reward; as they are where none is named.

    A named judge is met before anything is trained, but for a folder that holds an adapter.

    Args:
        data: For training.
        judge: By name, or as an object.
        folder: The adapter's, where it has one.

    Raises:
        MidspanError: There is no such judge, its server cannot be asked, or it will not do.
    """
    if judge is None:
        return data
    from midspan.alignment import JudgeReward
    from midspan.alignment.trainer import WEIGHTS_FILE

    if not isinstance(judge, str):
        return replace(data, reward=JudgeReward(judge))
    participant = SpecReader().judge(judge)
    if folder is None or not (Path(folder) / WEIGHTS_FILE).is_file():
        participant.meet()
    return replace(data, reward=JudgeReward(participant.open()))


def behavior_set(spec: str, seed: int, column: Named = None) -> BehaviorSet:
    """An organism's set, see `behaviors.named_set`, or the requests that `load_behaviors` reads.

    Raises:
        MidspanError: It is neither.
    """
    from midspan.data import load_behaviors

    return behaviors.named_set(spec, seed) or load_behaviors(spec, column=column, distinct=True)
