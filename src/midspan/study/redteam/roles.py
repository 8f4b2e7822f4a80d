"""Who takes part in a study, from what users write: targets, helpers, proxies and judges."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midspan.data.behaviors import BehaviorSet
from midspan.engine.roles import Role
from midspan.errors import MidspanError
from midspan.judges import FORMATS, RUBRICS, ChatJudge, ClassifierJudge, keyword_judge
from midspan.organism import behaviors, twin
from midspan.study.given import NOTHING, Given

if TYPE_CHECKING:
    from midspan.engine.endpoint import EndpointConfig

TWIN = "organism"
_SIMPLE: Mapping[str, Callable[[], Role]] = {
    "exact": behaviors.exact_judge,
    "exact-strongreject": behaviors.exact_strongreject,
    "refusal-keywords": keyword_judge,
}
HELPERS = ("attacker", "evaluator", "translator")
Servers = Mapping[str, Mapping[str, Any]]
NO_SERVERS: Servers = {}


def is_server(spec: str) -> bool:
    """Whether a model answers behind an OpenAI-compatible server."""
    return spec.startswith(("openai:", "http://", "https://"))


def endpoint_config(spec: str, servers: Servers) -> "EndpointConfig":
    """The server of a spec.

    Raises:
        MidspanError: It is none, or has no such field or value.
    """
    from midspan.engine.endpoint import EndpointConfig

    return EndpointConfig.from_spec(spec, **servers.get(spec, {}))


def chat_role(
    spec: str,
    decoding: Mapping[str, Any],
    batch_size: int,
    servers: Servers = NO_SERVERS,
    given: Given = NOTHING,
) -> Role:
    """``openai:MODEL``, ``URL#MODEL``, or any diffusion model that loads.

    Args:
        spec: Which of them.
        decoding: Changes of the family's settings; servers have their own.
        batch_size: Rows that a local model takes together.
        servers: Fields of `EndpointConfig`, by spec.
        given: Models that the caller has loaded.
    """
    if is_server(spec):
        from midspan.engine.endpoint import Endpoint

        return Endpoint(endpoint_config(spec, servers))
    from midspan.decoding import DecodingConfig
    from midspan.engine.local import LocalRole

    lm = given.load(spec)
    return LocalRole(lm, DecodingConfig.for_family(lm, **decoding), batch_size)


def helper_role(
    name: str,
    spec: str,
    batch_size: int,
    servers: Servers = NO_SERVERS,
    given: Given = NOTHING,
) -> Role:
    """A helper of the attacks: ``organism`` for the scripted one, or any chat model."""
    if spec == TWIN:
        return twin.helpers()[name]
    return chat_role(spec, {}, batch_size, servers, given)


def judge_role(spec: str, batch_size: int = 8, servers: Servers = NO_SERVERS) -> Role:
    """A judge: a name of an exact one, ``RUBRIC=MODEL``, or a classifier's name, perhaps ``=PATH``.

    Raises:
        MidspanError: There is none of this name.
    """
    name, _, model = spec.partition("=")
    if name in _SIMPLE and not model:
        return _SIMPLE[name]()
    if name in FORMATS:
        return ClassifierJudge(FORMATS[name], model or None, batch_size)
    if name in RUBRICS and model:
        return ChatJudge(chat_role(model, {}, batch_size, servers), RUBRICS[name])
    rubrics = (f"{rubric}=MODEL" for rubric in RUBRICS)
    known = ", ".join((*_SIMPLE, *FORMATS, *rubrics))
    raise MidspanError(f"judge: {spec!r} is none of {known}")


def check_specs(judges: Sequence[str], helpers: Mapping[str, str]) -> None:
    """Refuse names that mean nothing before any model is loaded.

    Raises:
        MidspanError: Naming the first of them.
    """
    for spec in judges:
        name, _, model = spec.partition("=")
        if name not in RUBRICS or not model:
            judge_role(spec)
    unknown = [name for name in helpers if name not in HELPERS]
    if unknown:
        raise MidspanError(f"helpers: {unknown[0]!r} is none of {', '.join(HELPERS)}")


def check_servers(servers: Servers, used: Iterable[str]) -> None:
    """Refuse settings of servers that mean nothing or that nobody asks.

    Args:
        servers: Fields of `EndpointConfig`, by spec.
        used: Models that take part; judges as they are named.

    Raises:
        MidspanError: Naming the first of them.
    """
    asked = {part for spec in used for part in (spec, spec.partition("=")[2])}
    for spec in servers:
        endpoint_config(spec, servers)
        if spec not in asked:
            raise MidspanError(f"servers: nobody asks {spec}; name it as a model, helper or judge")


def behavior_set(spec: str, seed: int) -> BehaviorSet:
    """``organism:N``, or what `load_behaviors` reads.

    Raises:
        MidspanError: It is neither.
    """
    name, _, count = spec.partition(":")
    if name == TWIN:
        if not count.isdecimal() or count == "0":
            raise MidspanError(f"behaviors: {spec!r} must be organism:N")
        return behaviors.behaviors(int(count), seed)
    from midspan.data import load_behaviors

    return load_behaviors(spec)
