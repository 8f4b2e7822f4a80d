"""The routes that say what is there: models, rules, tokens, health and metrics."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from midspan.decoding import decoding_config, get_rule, list_rules
from midspan.errors import MidspanError
from midspan.serve.answers import token_text
from midspan.serve.body import AsciiResponse, StrictRoute
from midspan.serve.errors import wrong
from midspan.serve.service import Service
from midspan.serve.shapes import list_of
from midspan.serve.wire import TokenizeRequest


def facts(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(route_class=StrictRoute, default_response_class=AsciiResponse)
    rules = list_of([_rule(name) for name in list_rules()])

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The models."""
        return list_of([_model(service, name) for name in service.models])

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One model."""
        service.model(name)
        return _model(service, name)

    @router.get("/v1/midspan/rules")
    async def all_rules() -> dict[str, Any]:
        """The rules, with the JSON schema of their fields."""
        return rules

    @router.post("/v1/midspan/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        """The tokens of a text or a conversation."""
        lm = service.model(body.model)
        try:
            if body.messages is not None:
                turns = [message.turn for message in body.messages]
                ids = await service.in_worker(lambda: lm.encode_chat(turns))
            else:
                text = body.text or ""
                ids = await service.in_worker(lambda: lm.encode_text(text))
        except MidspanError as error:
            raise wrong(str(error)) from error
        return {"tokens": [{"id": token, "text": token_text(lm, token)} for token in ids]}

    @router.get("/health")
    async def health() -> Response:
        """Whether requests are taken."""
        state = "draining" if service.is_draining else "ok"
        return AsciiResponse({"status": state}, 503 if service.is_draining else 200)

    @router.get("/metrics")
    async def metrics() -> Response:
        """What was counted, for Prometheus."""
        text = await asyncio.to_thread(generate_latest, service.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router


def _model(service: Service, name: str) -> dict[str, Any]:
    lm = service.models[name]
    return {
        "id": name,
        "object": "model",
        "created": service.started,
        "owned_by": "midspan",
        "midspan": {
            "family": lm.family.name,
            "fingerprint": lm.fingerprint,
            "max_length": lm.max_length,
            "settings": decoding_config(lm).model_dump(mode="json"),
        },
    }


def _rule(name: str) -> dict[str, Any]:
    rule = get_rule(name)
    schema = rule.model_json_schema()
    return {
        "id": name,
        "object": "rule",
        "summary": (rule.__doc__ or "").partition("\n")[0],
        "fields": {k: v for k, v in schema["properties"].items() if k != "rule"},
        "required": [field for field in schema.get("required", []) if field != "rule"],
    }
