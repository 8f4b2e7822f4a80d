"""What a server means by refusing a request: the run's end, or this request's alone."""

import re

import httpx2

from midspan.engine.completion import NO_ROOM, error_line
from midspan.engine.roles import MissingReply
from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError
from midspan.served import OPENAI_URL

# Worth another try, as are all server errors: time-outs, conflicts, too many requests.
_PASSING = frozenset({408, 409, 425, 429})
# OpenAI's word for an account without credit, which has the status of too many requests. Elsewhere
# a limit of the rate may be called so too.
_SPENT = "insufficient_quota"

# Nothing that is asked will be answered; why, and the remedy.
_KEY, _CREDIT = "is the right key in {variable}?", "is there credit left on the account?"
_ADDRESS = "are the address and the model's name right?"
_CONFIGURATION = {
    **dict.fromkeys(range(300, 400), _ADDRESS),
    **{401: _KEY, 402: _CREDIT, 403: _KEY, 404: _ADDRESS, 405: _ADDRESS, 429: _CREDIT},
}
# Some servers say so with status 400.
_NO_MODEL = re.compile(
    r"model_not_found|(no such|unknown|invalid)[ _]model|"
    r"model\b[^.]{0,80}\b(not found|not exist|doesn't exist)",
    re.IGNORECASE,
)
# A request that moderation holds back is no wrong key, though its status is the same.
_MODERATION = re.compile(r"moderat|flagged|content.{0,20}(policy|filter)", re.IGNORECASE)
# Such a refusal names the limit of tokens, and would refuse none that fits.
_TOO_LONG = re.compile(
    r"context.?(length|size|window|limit)|maximum context|too (long|large)|shorten the prompt",
    re.IGNORECASE,
)
_CUT = re.compile(r"output limit was reached|higher max_", re.IGNORECASE)


def is_passing(response: httpx2.Response, config: EndpointConfig) -> bool:
    """Whether the next try of a request may fare better than this one."""
    status = response.status_code
    if status == 429 and config.url == OPENAI_URL:
        return _SPENT not in response.text
    return status in _PASSING or status >= 500


def is_about_length(message: str) -> bool:
    """Whether a refusal is of a prompt or answer that is too long."""
    return _TOO_LONG.search(message) is not None or _CUT.search(message) is not None


def read_refusal(
    response: httpx2.Response, config: EndpointConfig, url: str, key: str
) -> MissingReply:
    """Why this request has no reply.

    Args:
        response: With a status that says so.
        config: The server.
        url: Its address.
        key: Shown nowhere.

    Raises:
        MidspanError: No request will have one; the message has the remedy.
    """
    reason, text = error_line(response, key), response.text
    remedy = _CONFIGURATION.get(response.status_code)
    if response.status_code in (400, 422) and _NO_MODEL.search(text):
        remedy = _ADDRESS
    if response.status_code == 403 and _MODERATION.search(text):
        remedy = None
    if remedy is not None:
        remedy = remedy.format(variable=config.key_variable)
        raise MidspanError(f"{config.model} at {url}: {reason}; {remedy}")
    if _CUT.search(text):
        return MissingReply("failed", NO_ROOM)
    too_long = _TOO_LONG.search(text) is not None
    return MissingReply("too_long" if too_long else "failed", f"{config.model}: {reason}")
