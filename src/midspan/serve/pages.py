"""The playground: files of this package and the report's style; they load nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

PLAYGROUND = Path(__file__).parent / "playground"
_POLICY = "; ".join([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
])  # fmt: skip
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Frame-Options": "DENY"}


class _Assets(StaticFiles):
    """Static files under the page's policy."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""

        async def with_policy(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                headers = message["headers"]
                assert isinstance(headers, list)
                message = {**message, "headers": [*headers, *extra]}
            await send(message)

        await super().__call__(scope, receive, with_policy)


def add_pages(app: FastAPI) -> None:
    """`GET /` and `GET /assets/...`."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PLAYGROUND / "index.html", headers=_HEADERS)

    house: list[str | tuple[str, str]] = [("midspan.report", "assets")]
    assets = _Assets(directory=PLAYGROUND / "assets", packages=house)
    app.mount("/assets", assets, name="assets")
