"""The application: routes, and errors in OpenAI's shape."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from midspan.serve.body import AsciiResponse
from midspan.serve.completions import completions
from midspan.serve.config import Tokens
from midspan.serve.document import document
from midspan.serve.errors import ApiError, error_body, wrong
from midspan.serve.facts import facts
from midspan.serve.guard import Guard, refusal
from midspan.serve.pages import add_pages
from midspan.serve.service import Service
from midspan.version import __version__


def create_app(service: Service, tokens: Tokens | None = None) -> Guard:
    """The application of a service.

    Args:
        service: The models and the requests on their way; it is started and stopped with the
            application.
        tokens: By which clients are known; none lets everybody in.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="midspan", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.include_router(completions(service))
    app.include_router(facts(service))
    add_pages(app)
    app.openapi = document(app, list(service.models))  # type: ignore[method-assign]
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(Exception)(_failed)
    return Guard(app, service.config, tokens or Tokens(), service.metrics)


async def _refused(request: Request, error: Any) -> Response:
    if isinstance(error, ApiError):
        return refusal(error)
    body = error_body(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
    return AsciiResponse(body, error.status_code, error.headers)


async def _failed(request: Request, error: Any) -> Response:
    message = "the server failed at this request; its log says why"
    return AsciiResponse(error_body(500, message, "internal_error"), 500)


async def _invalid(request: Request, error: Any) -> Response:
    return refusal(first_fault(error))


def first_fault(error: RequestValidationError) -> ApiError:
    """The first wrong field, in one line."""
    first = error.errors()[0]
    names = ".".join(str(part) for part in first["loc"] if part != "body")
    if first["type"] == "extra_forbidden":
        return wrong(f"{names}: there is no such field", names)
    if first["type"] == "missing" and not names:
        return wrong("the body must be a JSON object")
    message = first["msg"].removeprefix("Value error, ")
    return wrong(": ".join(filter(None, (names, message))), names or None)
