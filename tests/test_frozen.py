"""A wrong config is one line, however it is built and however deep the fault lies."""

from typing import Literal

import pytest
from pydantic import Field, field_validator

from midspan.errors import MidspanError
from midspan.frozen import FrozenConfig


class Inner(FrozenConfig):
    size: int = Field(1, ge=1)

    @field_validator("size")
    @classmethod
    def _is_not_seven(cls, size: int) -> int:
        if size == 7:
            raise ValueError("must not be 7")
        return size


class Outer(FrozenConfig):
    name: str
    cache: Literal["none", "dual"] = "none"
    share: float = Field(0.0, ge=0, lt=1)
    inner: Inner = Inner()
    parts: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "name: is missing; give it"),
        ({"name": "a", "nam": "b"}, "nam: there is no such field; did you mean name?"),
        ({"name": "a", "inner": {"size": 7}}, "inner.size: must not be 7"),
        (
            {"name": "a", "inner": {"sizes": 1}},
            "inner.sizes: there is no such field; did you mean size?",
        ),
        (
            {"name": "a", "inner": {"colour": 1}},
            "inner.colour: there is no such field; there are size",
        ),
        (
            {"name": "a", "cache": "dul"},
            "cache: must be one of none, dual; got 'dul'; did you mean dual?",
        ),
        ({"name": "a", "inner": {"size": 0}}, "inner.size: must be at least 1; got 0"),
        ({"name": "a", "share": 1}, "share: must be below 1; got 1"),
        ({"name": "a", "share": "half"}, "share: must be a number; got 'half'"),
        ({"name": "a", "parts": {"x": {"size": 7}}}, "parts.x.size: must not be 7"),
    ],
)
def test_the_first_fault_is_one_line_with_all_names(fields, message):
    with pytest.raises(MidspanError) as built:
        Outer(**fields)
    with pytest.raises(MidspanError) as validated:
        Outer.model_validate(fields)
    with pytest.raises(MidspanError) as within:
        Outer.model_validate(fields, within="study")
    assert str(built.value) == str(validated.value) == message
    assert str(within.value) == f"study.{message}"


def test_a_config_is_frozen_and_keeps_what_was_validated():
    config = Outer.model_validate({"name": "a", "inner": {"size": 2}})
    assert config == Outer(name="a", inner=Inner(size=2))
    with pytest.raises(ValueError, match="frozen"):
        config.name = "b"
