"""Folders of files that tests read and that midspan did not make."""

import os
from pathlib import Path

import pytest

_FIXTURES = Path(__file__).parents[1] / "fixtures"

PUBLISHED = _FIXTURES / "published"
"""Outputs of the published implementations, one folder a family."""

BENCHMARKS = _FIXTURES / "benchmarks"
"""Harmless benchmarks as published."""


def harmful_benchmark(name: str) -> Path:
    """A published set of harmful requests, where the environment says that one is at hand."""
    folder = os.environ.get("MIDSPAN_BENCHMARKS")
    if folder is None:
        pytest.skip("no harmful requests are shipped: MIDSPAN_BENCHMARKS may name a folder of them")
    return Path(folder) / name
