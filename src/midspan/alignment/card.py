"""The model card that lies beside every adapter."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from midspan.alignment.config import AlignmentConfig
from midspan.files import PUBLISHED_FILE, read_text, write_atomic
from midspan.journal.journal import key_of
from midspan.models.checkpoint import licence_of
from midspan.report.markdown import with_section

if TYPE_CHECKING:
    from midspan.alignment.samples import AlignmentData
    from midspan.data import Example
    from midspan.models import DiffusionLM

CARD_FILE = "README.md"

_TEMPLATE = """---
library_name: peft
base_model: {base}
tags: [diffusion-language-model, safety, midspan]
---

# {name} adapter for {base}

A LoRA adapter trained by midspan so that harmful requests are refused: {method}.
{stopped}
| setting | value |
|---|---|
{settings}

- Harmful prompts: {num_harmful} different ones (sha256 {harmful_hash}).
- Benign prompts: {num_benign} different ones (sha256 {benign_hash}).
- Evaluation sets that the harmful prompts were held against: {excluded}.
- A defence holds only for the decoding it was measured
  with: measure it with one block, with short blocks and with end-of-text tokens suppressed.
- The licence of the base model applies: {licence}.

## Loading

With FOLDER as this folder:

```python
import midspan

lm = midspan.load("{base}+FOLDER")
```

With plain peft on midspan's class of the base, BASE being the base's folder or hub id:

```python
import midspan.models  # Registers the classes.
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), FOLDER)
```

For the class that the base was published with, `midspan merge {base}+FOLDER -o MERGED` writes base
and adapter as one checkpoint, and with `--adapter-only` this adapter under that class's names.
"""


def adapter_card(
    lm: "DiffusionLM", data: "AlignmentData", config: AlignmentConfig, stopped: str
) -> str:
    """README.md of an adapter folder: recipe, data hashes, limits."""
    method = (inspect.getdoc(sys.modules[type(config.objective).__module__]) or "").splitlines()[0]
    flat = (
        config.model_dump(exclude={"objective", "name", "probes"}) | config.objective.model_dump()
    )
    return _TEMPLATE.format(
        base=lm.name,
        name=config.name,
        method=method.rstrip("."),
        stopped=f"\nTraining ended early: {stopped}.\n" if stopped else "",
        settings="\n".join(f"| {field} | {value} |" for field, value in flat.items()),
        num_harmful=len(set(data.harmful)),
        harmful_hash=_hash(data.harmful),
        num_benign=len(set(data.benign)),
        benign_hash=_hash(data.benign),
        excluded=_held_against(data.excluded),
        licence=licence_of(lm.model.name_or_path),
    )


def add_measurements(folder: Path, tables: str) -> None:
    """Put what a study measured of an adapter into its card, in place of what stood there.

    Args:
        folder: The adapter's.
        tables: Markdown, with the study's settings.
    """
    card = read_text(folder / CARD_FILE)
    changed = with_section(card, f"## Measured\n\n{tables.strip()}", "measured")
    write_atomic(folder / CARD_FILE, changed, PUBLISHED_FILE)


def _held_against(excluded: Mapping[str, int]) -> str:
    """What is repeated was allowed, or the adapter would not be."""
    parts = [
        f"{name} ({f'{count} repeat it, which was allowed' if count else 'none repeats it'})"
        for name, count in excluded.items()
    ]
    return "; ".join(parts) or "none"


def _hash(examples: "Sequence[Example]") -> str:
    return key_of(examples=[asdict(example) for example in examples])
