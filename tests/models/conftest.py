from pathlib import Path

import pytest
from fixture_folders import PUBLISHED
from models_reference import DREAM, LLADA, write_checkpoint

from midspan.models import DiffusionLM, load


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "llada", LLADA)


@pytest.fixture
def dream(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "dream", DREAM)


@pytest.fixture
def golden() -> Path:
    return PUBLISHED


@pytest.fixture
def llada_lm(llada: Path) -> DiffusionLM:
    return load(llada, device="cpu")
