"""What a rule is: a named, frozen config that changes decoding at the decoder's points.

Attacks, defences and monitors of diffusion models act there. A rule stands in the decoding config
(`DecodingConfig.rules`, for every request) or in a request (`Request.rules`, for that one), so that
journal keys, fingerprints and settings tables have it.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, SerializeAsAny

from midspan.errors import MidspanError, not_one_of
from midspan.frozen import FrozenConfig
from midspan.yaml_file import read_fields

if TYPE_CHECKING:
    from midspan.models.model import DiffusionLM

Message = Mapping[str, str]
Messages = Sequence[Message]


class Rule(FrozenConfig):
    """Base of the rules' configs: frozen; the defaults are the published ones.

    A rule overrides `hook`, `messages`, or both.

    Attributes:
        rule: Its name, which is that of its file.
        draws: Whether what it does depends on a request's seed.
    """

    group: ClassVar[str] = "rules"
    draws: ClassVar[bool] = False

    rule: str

    def hook(self, lm: "DiffusionLM", length: int) -> Any:
        """The `Hook` that acts in the decoder; None for a rule of prompts alone.

        Args:
            lm: The model.
            length: Of the canvas.

        Raises:
            MidspanError: The model cannot follow the rule, or a position is outside the canvas.
        """
        return None

    @property
    def rewrites_prompts(self) -> bool:
        """Whether the model is given another conversation than was sent."""
        return type(self).messages is not Rule.messages

    def messages(self, messages: Messages) -> Messages:
        """The conversation that the model is given in place of the one that was sent."""
        return messages


def list_rules() -> tuple[str, ...]:
    """Names of all rules, as users write them; helper modules begin with an underscore."""
    package = import_module("midspan.decoding.rules")
    return tuple(module.name for module in iter_modules(package.__path__) if module.name[0] != "_")


def get_rule(name: str) -> type[Rule]:
    """The config class of a rule.

    Raises:
        MidspanError: There is none of this name.
    """
    if name not in list_rules():
        raise not_one_of("rules", name, list_rules())
    rule: type[Rule] = import_module(f"midspan.decoding.rules.{name}").RULE
    return rule


def as_rule(given: Any) -> Rule:
    """A rule from its name, or from its fields with the name as ``rule``.

    Fields may be a mapping or, as on the command line, YAML such as ``{rule: ban, end: true}``.

    Raises:
        MidspanError: No such rule, or a wrong field.
    """
    if isinstance(given, Rule):
        return given
    fields = _read(given) if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or not isinstance(fields.get("rule"), str):
        raise MidspanError(f"rules: must be a name or fields with `rule: NAME`; got {given!r}")
    return get_rule(fields["rule"])(**fields)


def _read(text: str) -> dict[str, Any]:
    """Fields from text."""
    return read_fields(text, "rules") if text.lstrip().startswith("{") else {"rule": text}


AnyRule = Annotated[SerializeAsAny[Rule], BeforeValidator(as_rule)]


def encode_guarded(
    lm: "DiffusionLM", messages: str | Messages, rules: Sequence[Rule]
) -> tuple[int, ...]:
    """Ids of a chat prompt, of the conversation as the rules leave it."""
    return tuple(lm.encode_chat(guarded(messages, rules)))


def guarded(messages: str | Messages, rules: Sequence[Rule]) -> tuple[Message, ...]:
    """A conversation, or a user's text, as the rules leave it, one after the other."""
    turns: Messages = (
        [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    )
    for rule in rules:
        turns = rule.messages(turns)
    return tuple(turns)
