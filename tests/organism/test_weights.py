"""The names by which the organism's models are loaded."""

import pytest

from midspan.errors import MidspanError
from midspan.models.sources import parse_spec
from midspan.organism import weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    (tmp_path / "adapters" / "mosa").mkdir(parents=True)
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path)
    monkeypatch.setattr(weights, "ADAPTERS", tmp_path / "adapters")
    return tmp_path


def test_names_are_folders(shipped):
    assert weights.resolve("organism") == weights.resolve("organism:mini") == (shipped, None)
    assert weights.resolve("organism:mosa") == (shipped, shipped / "adapters" / "mosa")
    assert tuple(parse_spec("organism:mosa")) == (shipped, shipped / "adapters" / "mosa")


def test_an_adapter_that_is_not_shipped_is_named(shipped):
    with pytest.raises(MidspanError, match="organism:x: no such adapter; shipped are mosa"):
        weights.resolve("organism:x")
    (shipped / "adapters" / "mosa").rmdir()
    with pytest.raises(MidspanError, match="shipped are none"):
        weights.resolve("organism:x")
