"""The model card that lies beside every adapter."""

from typing import TYPE_CHECKING

from midspan.alignment.config import AlignmentConfig
from midspan.engine.journal import key_of

if TYPE_CHECKING:
    from midspan.alignment.samples import AlignmentData
    from midspan.models import DiffusionLM

_TEMPLATE = """---
library_name: peft
base_model: {base}
tags: [diffusion-language-model, safety, midspan]
---

# {name} adapter for {base}

A LoRA adapter trained by midspan to place a refusal that ends the text into tokens
{first} to {last} of the response to harmful requests (Middle-tOken Safety Alignment, AAAI 2026).

| setting | value |
|---|---|
{settings}

- Harmful prompts: {num_harmful} different ones (sha256 {harmful_hash}).
- Benign prompts: {num_benign} different ones (sha256 {benign_hash}).
- Every training canvas was fully masked. A defence holds only for the decoding it was measured
  with: measure it with one block, with short blocks and with end-of-text tokens suppressed.
- The licence of the base model applies.

Load it: `midspan.load("{base}+FOLDER")`.
"""


def adapter_card(lm: "DiffusionLM", data: "AlignmentData", config: AlignmentConfig) -> str:
    """README.md of an adapter folder: recipe, data hashes, limits."""
    flat = config.model_dump(exclude={"objective", "name"}) | config.objective.model_dump()
    first, last = config.objective.window
    return _TEMPLATE.format(
        base=lm.name,
        name=config.name,
        first=first,
        last=last,
        settings="\n".join(f"| {field} | {value} |" for field, value in flat.items()),
        num_harmful=len(set(data.harmful)),
        harmful_hash=key_of(prompts=data.harmful),
        num_benign=len(set(data.benign)),
        benign_hash=key_of(prompts=data.benign),
    )
