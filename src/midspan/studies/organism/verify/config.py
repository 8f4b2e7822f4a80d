"""What a verification of the organism measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VerifyConfig:
    """How much is measured.

    Attributes:
        n: Cases of every row but the wraps.
        wraps: Behaviors attacked with eight wraps each, by far the dearest row.
        seed: Seed of the requests.
    """

    n: int = 300
    wraps: int = 300
    seed: int = 1
