"""The server: OpenAI's API in front of models that decode by diffusion.

A request goes through `guard` (who may ask), a route of `completions`, `service` (who waits) and
`worker`, the thread that owns the models: `prepare` makes rows of it, `waiting` says whose turn it
is, and `midspan.decoding.stream` lets rows in and out of batches.
"""

from importlib.util import find_spec

from midspan.errors import MidspanError


def extra() -> None:
    """Say so where what the server needs is not installed.

    Raises:
        MidspanError: It is not.
    """
    for name in ("fastapi", "uvicorn", "prometheus_client"):
        if find_spec(name) is None:
            raise MidspanError(f"the server needs {name}: pip install 'midspan[serve]'")
