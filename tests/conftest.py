"""A hand-sized model of the organism's world, untrained: for tests that need a whole model."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def organism_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from midspan.organism.tokenizer import build_tokenizer
    from midspan.organism.training import TrainConfig, build_model

    folder = tmp_path_factory.mktemp("organism")
    model = build_model(TrainConfig(hidden_size=32, layers=2, heads=4, mlp_size=64))
    torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def organism_lm(organism_folder: Path):
    from midspan.models import load

    return load(organism_folder, device="cpu")
