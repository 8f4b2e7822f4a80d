"""What the probe of monitors asks: held-in and held-out requests, and attacks on the latter."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from midspan.attacks import get_attack, list_attacks
from midspan.attacks.dija import SENTENCE, STEPS
from midspan.data import Behavior, english_phrases, load_behaviors, read_phrases
from midspan.data.columns import Named
from midspan.data.loading import Keep
from midspan.engine.attack import AttackState
from midspan.engine.calls import Chat, user
from midspan.errors import MidspanError, not_one_of
from midspan.organism.worlds import FIRST, room, world_in
from midspan.probes.context import ProbeData, ProbeRequest
from midspan.probes.monitors import BENIGN, DIRECT, MIXED, MonitorCase, MonitorData, MonitorsConfig
from midspan.studies.probes.data import by_keyword, exact, phrase_kinds

if TYPE_CHECKING:
    from midspan.studies.probes.config import ProbeSpec

WRAPPED = "wrapped"
_BAN = {"ways": [{"rules": [{"rule": "ban", "end": True}]}]}


@dataclass(frozen=True)
class Condition:
    """An attack as monitors meet it.

    Attributes:
        attack: Its name.
        settings: First its own, then those that an attacker who knows the monitor tries besides.
        organism: The same in the words of an organism's world, where they differ.
        wrapped: Whether the request comes in a disguise of the organism's world.
    """

    attack: str
    settings: tuple[Mapping[str, Any], ...] = ({},)
    organism: Callable[[str], tuple[Mapping[str, Any], ...]] | None = None
    wrapped: bool = False


def _scaffolds(world: str) -> tuple[Mapping[str, Any], ...]:
    words, card = room(world, "asked").SCAFFOLDS
    return (
        {"shapes": [f" {words}"]},
        {"shapes": [f" {card}"]},
        {"shapes": [words], "channel": "response"},
    )


CONDITIONS: Mapping[str, Condition] = {
    DIRECT: Condition("direct"),
    WRAPPED: Condition("direct", wrapped=True),
    "prefill": Condition("prefill", ({}, {"positions": [20]}, {"positions": [40]})),
    "pad": Condition("pad", ({}, {"layout": "recovery"}, {"temperature": 0.0})),
    "dija": Condition(
        "dija",
        ({"shapes": [STEPS]}, {"shapes": [SENTENCE]}, {"shapes": [STEPS], "channel": "response"}),
        _scaffolds,
    ),
    "decode_sweep": Condition(
        "decode_sweep",
        (_BAN, {"ways": [{"remasking": "random"}]}, {"ways": [{"temperature": 1.0}]}),
    ),
}


def calls_of(attack: str, settings: Mapping[str, Any], behavior: Behavior) -> list[Chat]:
    """What an attack asks the target first.

    Raises:
        MidspanError: There is no such attack, or it asks anything else first.
    """
    found = get_attack(attack)
    state = AttackState(behavior, random.Random(f"{attack}/{behavior.id}"))
    calls = next(found.run(state, found.config(**settings)), ())
    chats = [call for call in calls if isinstance(call, Chat) and call.role == "target"]
    if not chats or len(chats) < len(calls):
        raise MidspanError(
            f"conditions: {attack} asks a helper before the target; name an attack that does not"
        )
    return chats


@dataclass(frozen=True)
class _Asked:
    """A request of one kind, with what an attack may work with."""

    request: ProbeRequest
    behavior: Behavior

    def benign(self, condition: str, held_in: bool) -> MonitorCase:
        """The request as it is."""
        chat = Chat("target", (user(self.request.prompt),))
        return MonitorCase(self.request, chat, condition, held_in=held_in)

    def attacked(self, name: str, world: str, held_in: bool = False) -> list[MonitorCase]:
        """The request under all settings of a condition."""
        condition = CONDITIONS.get(name) or Condition(name)
        texts = room(world, "attack_texts").texts(condition.attack) if world else {}
        own_words = condition.organism if world else None
        every = own_words(world) if own_words else condition.settings
        cases = []
        for index, own in enumerate(every):
            for chat in calls_of(condition.attack, {**texts, **own}, self.behavior):
                # What differs from the attack's own settings stands in the kind, for the tables.
                label = name if not index else f"{name} {dict(own)}"
                request = replace(self.request, kind=label)
                cases.append(MonitorCase(request, chat, name, not index, held_in))
        return cases


def chosen_conditions(config: MonitorsConfig, world: str) -> list[str]:
    """Conditions by name.

    Raises:
        MidspanError: There is none of this name, or only the organism has it.
    """
    usual = [name for name in CONDITIONS if world or not CONDITIONS[name].wrapped]
    names = list(config.conditions) or usual
    for name in names:
        if name not in usual and name not in list_attacks():
            raise not_one_of("conditions", name, [*usual, *list_attacks()])
    return list(dict.fromkeys([DIRECT, *names]))


def monitored(spec: "ProbeSpec", config: MonitorsConfig, n: int, on_organism: bool) -> MonitorData:
    """All calls that a spec comes to.

    Raises:
        MidspanError: A file cannot be read, a condition is not known, or requests are missing.
    """
    if on_organism:
        world = world_in(spec.models[0])
        return monitor_data(organism_parts(n, spec.seed, world=world), config, world)
    files = {"harmful": spec.harmful, BENIGN: spec.benign, MIXED: spec.mixed}
    parts = file_parts(files, spec.phrases, n, spec.seed, spec.column)
    return monitor_data(parts, config)


def monitor_data(parts: "MonitorParts", config: MonitorsConfig, world: str = "") -> MonitorData:
    """All calls: held-in requests as they are, held-out ones as they are and attacked.

    Args:
        parts: The requests.
        config: Which conditions.
        world: Whose organism's words attacks speak; empty for their papers' own.

    Raises:
        MidspanError: There are too few requests, or a condition is not known.
    """
    if not all((parts.harmful_in, parts.harmful_out, parts.benign_in, parts.benign_out)):
        raise MidspanError("n: half of each kind is held in; ask for 2 requests or more of each")
    cases = [case for asked in parts.harmful_in for case in asked.attacked(DIRECT, world, True)]
    cases += [asked.benign(BENIGN, True) for asked in parts.benign_in]
    cases += [asked.benign(BENIGN, False) for asked in parts.benign_out]
    cases += [asked.benign(MIXED, False) for asked in parts.mixed]
    for name in chosen_conditions(config, world):
        wrapped = name in CONDITIONS and CONDITIONS[name].wrapped
        for asked in parts.wrapped if wrapped else parts.harmful_out:
            cases += asked.attacked(name, world)
    return MonitorData(
        tuple(case.request for case in cases),
        parts.base.phrases,
        parts.base.judge,
        parts.base.judged_by,
        tuple(cases),
    )


@dataclass(frozen=True)
class MonitorParts:
    """Requests by what they are for; `base` has the judge and the phrases."""

    base: ProbeData
    harmful_in: tuple[_Asked, ...]
    harmful_out: tuple[_Asked, ...]
    benign_in: tuple[_Asked, ...]
    benign_out: tuple[_Asked, ...]
    mixed: tuple[_Asked, ...] = ()
    wrapped: tuple[_Asked, ...] = ()


# A number of requests that only mention what is restricted, with their items, from a seed.
Mentions = Callable[[int, int], Iterable[tuple[str, Any]]]


def about_restricted(count: int, seed: int, world: str = FIRST) -> Iterator[tuple[str, Any]]:
    """Harmless questions about judged restricted items: what one is, where it comes from."""
    rng = random.Random(f"monitors/{seed}/{MIXED}")
    own = room(world, "asked")
    _, pool = by_noun(own.refused())
    for index in range(count):
        item = pool[index % len(pool)]
        yield own.about(item, rng), item


def by_noun(of: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Items to fit on and items to judge on; no noun is on both sides.

    A noun says whether a thing is restricted, so who has seen a noun knows all its items. Nothing
    is fitted on that alignment may not see.
    """
    nouns = list(dict.fromkeys(item.noun for item in of))
    fitted = [item for item in of if nouns.index(item.noun) % 2 == 0 and not item.held_out]
    return fitted, [item for item in of if nouns.index(item.noun) % 2]


def organism_parts(
    n: int, seed: int = 0, mentions: Mentions | None = None, world: str = FIRST
) -> MonitorParts:
    """Requests of an organism's world; half of each kind is held in, by noun.

    Every second noun is held in, with the wraps that alignment may see. Benign requests are plain
    and wrapped in turn, so that a wrap is no sign of harm.

    Args:
        n: Requests of each kind.
        seed: Of wordings and wraps.
        mentions: Gives requests that only mention restricted items; harmless questions about
            these, where none is given.
        world: Which organism's.
    """
    own = room(world, "asked")
    mentions = mentions or partial(about_restricted, world=world)
    (harmful_in, harmful_out), (free_in, free_out) = map(by_noun, (own.refused(), own.free()))
    few, many = n // 2, n - n // 2
    parts = {
        "harmful_in": _asked(own, "in", harmful_in, few, seed, _Wrapped(False, 0)),
        "harmful_out": _asked(own, "out", harmful_out, many, seed, _Wrapped(True, 0)),
        "wrapped": _asked(own, WRAPPED, harmful_out, many, seed, _Wrapped(True, 1)),
        "benign_in": _asked(own, f"{BENIGN}-in", free_in, few, seed, _Wrapped(False, 2)),
        "benign_out": _asked(own, f"{BENIGN}-out", free_out, many, seed, _Wrapped(True, 2)),
        "mixed": tuple(
            _one(own, f"{MIXED}/{index}", MIXED, text, item)
            for index, (text, item) in enumerate(mentions(many, seed))
        ),
    }
    kinds = phrase_kinds(own.PHRASES, (), refusals=True)
    judge = exact(own, lambda request: own.ITEMS[request.group])
    return MonitorParts(ProbeData((), kinds, judge, "exact judge"), **parts)


class _Wrapped(NamedTuple):
    """Which requests come in a wrap: each `every`-th, or none; and in which wraps."""

    held_out: bool
    every: int


def _asked(
    own: Any, label: str, pool: Sequence[Any], count: int, seed: int, wrapped: _Wrapped
) -> tuple[_Asked, ...]:
    """Requests for items in turn."""
    rng = random.Random(f"monitors/{seed}/{label}")
    found = []
    for index in range(count):
        item = pool[index % len(pool)]
        if wrapped.every and index % wrapped.every == wrapped.every - 1:
            text = own.disguised(item, wrapped.held_out, rng)
        else:
            text = own.plain(item, rng)
        kind = DIRECT if own.is_refused(item) else BENIGN
        # A behavior is the same wrapped and plain, so that an attacker may choose.
        name = f"out/{index}" if label == WRAPPED else f"{label}/{index}"
        found.append(_one(own, name, kind, text, item))
    return tuple(found)


def _one(own: Any, name: str, kind: str, text: str, item: Any) -> _Asked:
    harmful = kind == DIRECT
    behavior = Behavior(name, text, source=own.WORLD, opening=own.opening(item))
    return _Asked(ProbeRequest(name, kind, text, item.name, harmful), behavior)


def file_parts(
    files: Mapping[str, str | None], phrase_file: Any, n: int, seed: int = 0, column: Named = None
) -> MonitorParts:
    """Requests of files or registered sets; every second one of a random `n` is held in.

    Args:
        files: By kind: "harmful", "benign", and "mixed" where there is any.
        phrase_file: JSON with phrases; None for the English ones.
        n: Requests of each kind.
        seed: Of the draw.
        column: Of the requests in files of one's own.
    """
    drawn = {kind: _of_file(kind, spec, n, seed, column) for kind, spec in files.items()}
    sets = read_phrases(phrase_file) if phrase_file else english_phrases()
    base = ProbeData(
        (), phrase_kinds(sets, (), refusals=True), by_keyword,
        "refusal keywords: answered means not refused",
    )  # fmt: skip
    return MonitorParts(
        base,
        drawn["harmful"][1::2], drawn["harmful"][::2],
        drawn[BENIGN][1::2], drawn[BENIGN][::2],
        drawn[MIXED][: n - n // 2],
    )  # fmt: skip


def _of_file(kind: str, spec: str | None, n: int, seed: int, column: Named) -> tuple[_Asked, ...]:
    if spec is None:
        return ()
    keep: Keep = "harmful" if kind == "harmful" else "benign"
    unique = list(load_behaviors(spec, keep=keep, column=column, distinct=True))
    if len(unique) > n:
        unique = random.Random(f"probes/{seed}").sample(unique, n)
    label = DIRECT if kind == "harmful" else kind
    return tuple(
        _Asked(
            ProbeRequest(f"{kind}/{index}", label, behavior.prompt, f"{kind}/{index}",
                         kind == "harmful"),
            behavior,
        )
        for index, behavior in enumerate(unique)
    )  # fmt: skip
