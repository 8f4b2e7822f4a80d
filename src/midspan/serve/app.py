"""The routes."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import Request as HttpRequest

from midspan.decoding import decode
from midspan.errors import MidspanError
from midspan.models import DiffusionLM
from midspan.serve.answers import choice_of, summary, traced, usage
from midspan.serve.errors import ApiError, wrong
from midspan.serve.prepare import prepare
from midspan.serve.wire import ChatRequest


def create_app(models: Mapping[str, DiffusionLM]) -> FastAPI:
    """The server's application."""
    app = FastAPI(title="midspan", docs_url=None, redoc_url=None)
    lock = asyncio.Lock()

    @app.exception_handler(ApiError)
    async def told(request: HttpRequest, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: HttpRequest, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        names = ".".join(map(str, first["loc"][1:]))
        return JSONResponse(wrong(f"{names}: {first['msg']}", names).body, 400)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "midspan"} for name in models]
        return {"object": "list", "data": data}

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest) -> dict[str, Any]:
        if body.model not in models:
            raise ApiError(404, f"model: there is no {body.model!r} here", "model_not_found", "model")
        lm = models[body.model]
        async with lock:
            try:
                prepared = prepare(lm, body)
                decoded = await asyncio.to_thread(decode, lm, prepared.requests, prepared.config)
            except MidspanError as error:
                raise wrong(str(error)) from error
        choices = [
            choice_of(lm, request, one, prepared.limit, body.stops)
            for request, one in zip(prepared.requests, decoded, strict=True)
        ]
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": lm.fingerprint,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": choice.text, "refusal": None},
                    "finish_reason": choice.finish,
                    "logprobs": None,
                    **({"midspan": traced(lm, choice)} if body.midspan.trace else {}),
                }
                for index, choice in enumerate(choices)
            ],
            "usage": usage(len(prepared.requests[0].prompt_ids), choices),
            "midspan": summary(choices, prepared.config),
        }

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(Path(__file__).parent / "playground" / "index.html")

    return app
