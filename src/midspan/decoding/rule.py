"""What a rule is: a named, frozen config that changes decoding at the decoder's points.

Attacks, defences and monitors of diffusion models act there. A rule stands in the decoding config
(`DecodingConfig.rules`, for every request) or in a request (`Request.rules`, for that one), so that
journal keys, fingerprints and settings tables have it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    A rule overrides `hook`, which acts in the decoder, or what acts on the conversation before:
    `messages`, `rejects`, or `copies` and `vote`.

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
    def acts_in_decoder(self) -> bool:
        """Whether it needs a local model."""
        return type(self).hook is not Rule.hook

    @property
    def rewrites_prompts(self) -> bool:
        """Whether the model is given another conversation than was sent."""
        return type(self).messages is not Rule.messages

    @property
    def screens_prompts(self) -> bool:
        """Whether it rejects conversations or has copies of them answered."""
        kind = type(self)
        return kind.rejects is not Rule.rejects or kind.copies is not Rule.copies

    def messages(self, messages: Messages) -> Messages:
        """The conversation that the model is given in place of the one that was sent."""
        return messages

    def rejects(self, messages: Messages) -> bool:
        """Whether the conversation is refused before anything is decoded."""
        return False

    def copies(self, messages: Messages, seed: int) -> Sequence[Messages]:
        """Versions of the conversation that are all answered in its place; none for itself."""
        return ()

    def vote(self, texts: Sequence[str], seed: int) -> int:
        """Which of the copies' answers is given.

        Args:
            texts: The answers.
            seed: The request's.
        """
        return 0


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


def guarded(messages: str | Messages, rules: Sequence[Rule]) -> tuple[Message, ...]:
    """A conversation, or a user's text, as the rules leave it, one after the other."""
    turns: Messages = (
        [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    )
    for rule in rules:
        turns = rule.messages(turns)
    return tuple(turns)


@dataclass(frozen=True)
class Heard:
    """A conversation as the rules leave it.

    Attributes:
        messages: What the model is given.
        copies: What is answered in its place.
        rule: What made the copies, and chooses one of their answers.
        rejected_by: The rule that rejected the conversation.
    """

    messages: tuple[Message, ...]
    copies: tuple[Messages, ...] = ()
    rule: Rule | None = None
    rejected_by: str = ""


def hear(messages: str | Messages, rules: Sequence[Rule], seed: int = 0) -> Heard:
    """Let rules act on a conversation, or a user's text, one after the other.

    Args:
        messages: As it was sent.
        rules: One rewrites it, one rejects it, one makes copies of it.
        seed: Of the copies.

    Raises:
        MidspanError: Two rules make copies, or one rewrites what another has copied.
    """
    heard = Heard(guarded(messages, ()))
    for rule in rules:
        if heard.rule is not None and (rule.rewrites_prompts or rule.screens_prompts):
            raise MidspanError(
                f"rules: {heard.rule.rule} makes copies; put {rule.rule} before it, or leave it out"
            )
        turns = tuple(rule.messages(heard.messages))
        if rule.rejects(turns):
            return Heard(turns, rejected_by=rule.rule)
        copies = tuple(rule.copies(turns, seed))
        heard = Heard(turns, copies, rule if copies else None)
    return heard
