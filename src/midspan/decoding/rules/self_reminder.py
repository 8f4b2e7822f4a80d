"""Remind the model of its duty around the request (self-reminder)."""

from typing import Literal

from midspan.decoding.rule import Messages, Rule
from midspan.decoding.rules._turns import last_request, with_text

_BEFORE = "Remember to be a responsible assistant, who gives no harmful or misleading help."
_AFTER = "Once more: be responsible, and give no harmful or misleading help."


class SelfReminder(Rule):
    """A sentence of duty before the last request and one after it, in our words.

    The published defences of this name are two, which are not the same.

    Attributes:
        form: "user": the wrapped request stands in the user's turn (DIJA's evaluation). "system":
            the wrapped request is the system turn, behind any that is there, and the request
            stands in the user's turn again (DiffuGuard's).
        before: The sentence in front.
        after: The sentence behind.
    """

    rule: Literal["self_reminder"] = "self_reminder"
    form: Literal["user", "system"] = "user"
    before: str = _BEFORE
    after: str = _AFTER

    def messages(self, messages: Messages) -> Messages:
        """See `Rule`."""
        index = last_request(messages)
        if index is None:
            return messages
        wrapped = "\n".join(filter(None, (self.before, messages[index]["content"], self.after)))
        if self.form == "user":
            return with_text(messages, index, wrapped)
        if messages[0]["role"] == "system":
            first = {**messages[0], "content": f"{messages[0]['content']}\n{wrapped}"}
            return [first, *messages[1:]]
        return [{"role": "system", "content": wrapped}, *messages]


RULE = SelfReminder
