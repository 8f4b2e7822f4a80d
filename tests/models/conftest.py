from pathlib import Path

import pytest
from models_reference import DREAM, LLADA, write_checkpoint

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "llada", LLADA)


@pytest.fixture
def dream(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "dream", DREAM)


@pytest.fixture
def golden() -> Path:
    if not GOLDEN.is_dir():
        pytest.skip(f"golden fixtures are not at {GOLDEN}")
    return GOLDEN
