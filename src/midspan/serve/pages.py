"""The playground: its files and the report's style, which load nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from midspan.report.styles import css_variables

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

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await super().__call__(scope, receive, with_policy)


def add_pages(app: FastAPI) -> None:
    """`GET /` and `GET /assets/...`."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PLAYGROUND / "index.html", headers=_HEADERS)

    @app.get("/assets/series.css", include_in_schema=False)
    async def series() -> Response:
        return Response(css_variables(), media_type="text/css", headers=_HEADERS)

    house: list[str | tuple[str, str]] = [("midspan.report", "assets")]
    assets = _Assets(directory=PLAYGROUND / "assets", packages=house)
    app.mount("/assets", assets, name="assets")
