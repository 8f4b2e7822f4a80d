"""What is checked of a user's own model, on the user's own machine: one finding a check.

The checks are those that midspan's tests make on hand-sized models, where the answer is known. Here
the model's own parts must agree with each other: a batch with its rows alone, a cache with none.
"""

from midspan.doctor.examine import examine
from midspan.doctor.finding import Finding

__all__ = ["Finding", "examine"]
