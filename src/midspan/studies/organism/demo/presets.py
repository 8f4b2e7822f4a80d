"""Sizes of the demo."""

from midspan.studies.decodings import BLOCKS_OF_32, ONE_BLOCK
from midspan.studies.organism.demo.cases import DemoSizes
from midspan.studies.organism.demo.config import DemoConfig


def standard() -> DemoConfig:
    """The demo: at most five minutes on two idle cores."""
    return DemoConfig()


def full() -> DemoConfig:
    """Larger cells, in both decodings and in smaller steps; about 20 minutes on two cores."""
    sizes = DemoSizes(plain=96, disguises=96, prefill=96, benign=64, utility=48)
    return DemoConfig(sizes=sizes, decodings=(ONE_BLOCK, BLOCKS_OF_32), positions_a_step=4)


def smoke() -> DemoConfig:
    """Every step of the demo on the smallest cells; for tests."""
    sizes = DemoSizes(plain=1, disguises=1, prefill=1, benign=1, utility=1)
    return DemoConfig(sizes=sizes, positions_a_step=16, num_prompts=8)
