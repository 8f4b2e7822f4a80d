"""Errors as OpenAI has them."""

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

# A client that asks the same again would get the same.
NO_RETRY = {"x-should-retry": "false"}


class ApiError(HTTPException):
    """An answer that is an error.

    Args:
        status: Of HTTP.
        message: One line that names the field and the fix.
        code: OpenAI's short word for it.
        param: The field.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code, self.param = code, param

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's object of an error."""
        return error_body(self.status_code, self.detail, self.code, self.param)


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's object of an error with this status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def wrong(message: str, param: str | None = None) -> ApiError:
    """What a client sent is wrong."""
    return ApiError(400, message, "invalid_value", param)


def busy(message: str, seconds: int) -> ApiError:
    """The queue is full."""
    return ApiError(429, message, "queue_full", None, {"Retry-After": str(seconds)})


def ending(seconds: int = 5) -> ApiError:
    """The server ends."""
    headers = {"Retry-After": str(seconds), "Connection": "close"}
    return ApiError(503, "the server is shutting down; ask another one", "draining", None, headers)
