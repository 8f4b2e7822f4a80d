"""Random adapters, for what does not depend on their values."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from midspan.models import DiffusionLM


def lora(lm: DiffusionLM) -> LoraConfig:
    """The paper's: rank 32 on every linear layer of the trunk."""
    return LoraConfig(r=32, lora_alpha=64, target_modules=list(lm.family.lora_targets))


def random_adapter(lm: DiffusionLM, folder: Path) -> None:
    """Write an adapter that moves the logits a little; the model is left as it was."""
    torch.manual_seed(3)
    wrapped = get_peft_model(lm.model, lora(lm))
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.002)
    # Otherwise PEFT asks the hub whether the base's vocabulary was changed.
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    wrapped.unload()
