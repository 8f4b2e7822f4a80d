"""Alignment recipes by name: ``midspan.objectives.mosa()`` is a config for ``midspan.align``.

``mosa`` and ``initial`` are the paper's; ``mosa_stable`` and ``initial_stable`` keep the model
useful; ``psa`` is this project's own; ``sft``, ``a2d``, ``vrpo`` and ``recovery`` are baselines.
Each takes fields of :class:`midspan.alignment.AlignmentConfig` that differ.

Example:
    >>> import midspan.objectives
    >>> midspan.objectives.mosa(num_prompts=600, seed=1).num_steps
    300
"""

from midspan.alignment.presets import (
    a2d,
    initial,
    initial_stable,
    mosa,
    mosa_stable,
    psa,
    recovery,
    sft,
    vrpo,
)  # fmt: skip

__all__ = [
    "a2d",
    "initial",
    "initial_stable",
    "mosa",
    "mosa_stable",
    "psa",
    "recovery",
    "sft",
    "vrpo",
]
