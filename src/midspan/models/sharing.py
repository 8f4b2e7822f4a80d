"""Several models of one base: its weights are in memory once, whatever adapters stand on it."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

from midspan.models.adapters import attach_adapter
from midspan.models.loading import load
from midspan.models.model import DiffusionLM
from midspan.models.sources import base_name, parse_spec


def load_sharing(specs: Sequence[str], **options: Any) -> dict[str, DiffusionLM]:
    """Models by their specs, each as `load` gives it, with one copy of every base's weights.

    Args:
        specs: What `load` takes.
        **options: `load`'s.

    Raises:
        MidspanError: See `load`.
    """
    bases: dict[str, DiffusionLM] = {}
    loaded: dict[str, DiffusionLM] = {}
    for spec in specs:
        source = parse_spec(spec)
        base = str(source.base)
        if base not in bases:
            bases[base] = load(base, **options)
        lm = bases[base]
        if source.adapter is not None:
            named = dataclasses.replace(_same_weights(lm), name=base_name(spec))
            lm = attach_adapter(named, source.adapter)
        loaded[spec] = dataclasses.replace(lm, name=spec)
    return loaded


def _same_weights(lm: DiffusionLM) -> DiffusionLM:
    """The model once more, over the same tensors: what wraps its layers leaves the first alone."""
    tensors = [*lm.model.parameters(), *lm.model.buffers()]
    return dataclasses.replace(
        lm, model=copy.deepcopy(lm.model, {id(tensor): tensor for tensor in tensors})
    )
