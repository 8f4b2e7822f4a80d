"""Sizes of the demo."""

from midspan.studies.organism.cases import Sizes
from midspan.studies.organism.demo.config import DemoConfig


def standard() -> DemoConfig:
    """The demo: about a quarter of an hour on two cores."""
    return DemoConfig()


def full() -> DemoConfig:
    """Cells large enough to decide the claims; about an hour on two cores."""
    return DemoConfig(sizes=Sizes(plain=108, wraps=54, prefill=54, benign=90, utility=100))


def smoke() -> DemoConfig:
    """Every step of the demo on the smallest cells; for tests."""
    sizes = Sizes(plain=2, wraps=1, prefill=1, benign=1, utility=2)
    return DemoConfig(sizes=sizes, steps=8, num_prompts=24)
