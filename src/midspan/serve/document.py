"""The OpenAPI document: what FastAPI makes of the routes, with the models' names and our errors."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ERROR = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_JSON_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_ASKED = ("ChatRequest", "CompletionRequest", "TokenizeRequest")


def document(app: FastAPI, models: list[str]) -> Callable[[], dict[str, Any]]:
    """A function that makes the document of an application, once.

    Args:
        app: The application with all its routes.
        models: Names that clients may use.
    """
    made: dict[str, Any] = {}

    def make() -> dict[str, Any]:
        if not made:
            made.update(get_openapi(title=app.title, version=app.version, routes=app.routes))
            _adapt(made, models)
        return made

    return make


def _adapt(made: dict[str, Any], models: list[str]) -> None:
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    for name in _ASKED:
        schemas[name]["properties"]["model"]["enum"] = models
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "An error", "content": _JSON_ERROR}
