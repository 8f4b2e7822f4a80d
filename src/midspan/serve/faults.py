"""What a request is told that comes to no answer."""

import torch

from midspan.errors import MidspanError
from midspan.models.finite import NotFiniteError
from midspan.serve.errors import NO_RETRY, ApiError, wrong


def refused(error: MidspanError) -> ApiError:
    """What a request that cannot be decoded is told."""
    message = str(error)
    if message.startswith("requests["):
        message = message.partition("].")[2]
    return wrong(message, message.partition(":")[0] if ":" in message else None)


def failure(error: Exception) -> ApiError:
    """What a request is told whose decoding failed."""
    if isinstance(error, NotFiniteError):
        return ApiError(500, str(error), "internal_error", None, NO_RETRY)
    if isinstance(error, MidspanError):
        return refused(error)
    if isinstance(error, torch.OutOfMemoryError):
        message = "out of memory for this request alone; lower max_tokens or shorten the prompt"
        return ApiError(503, message, "out_of_memory", None, NO_RETRY)
    return fault()


def fault() -> ApiError:
    """What a request is told that met a fault of the server."""
    return ApiError(500, "the server failed at this request; its log says why", "internal_error")


def too_late() -> ApiError:
    """What a request is told whose time is over."""
    message = "the request's time is over; lower midspan.steps, max_tokens or n, or ask again later"
    return ApiError(408, message, "timeout", None, NO_RETRY)
