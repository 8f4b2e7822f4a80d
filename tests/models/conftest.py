from pathlib import Path

import pytest
from fixture_folders import PUBLISHED
from models_reference import DREAM, LLADA, write_checkpoint


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "llada", LLADA)


@pytest.fixture
def dream(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "dream", DREAM)


@pytest.fixture
def golden() -> Path:
    return PUBLISHED
