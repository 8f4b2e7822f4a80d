"""Two plain gradient steps on a policy, by one process or by several that shard it (FSDP2).

accelerate shards on accelerators alone; this applies the same ``fully_shard`` to each layer and
the root on CPUs. Usage: python sharded_steps.py FOLDER MODEL, or under torchrun.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from midspan.alignment import mosa_stable
from midspan.alignment.policy import Collator, Policy
from midspan.alignment.samples import draw_samples
from midspan.alignment.trainer import adapter_tensors, load_adapter_tensors
from midspan.models import load
from midspan.organism.training_data import alignment_data

RATE = 1e-2


def main(target: Path, model: Path) -> None:
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    lm = load(model, device="cpu")
    config = mosa_stable(num_prompts=12, batch_size=4)
    data = alignment_data(num_harmful=8, num_benign=8)
    samples = draw_samples(lm, data, config)
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=list(lm.family.lora_targets))
    policy = Policy(replace(lm, model=get_peft_model(lm.model, lora)), config.objective)
    if world > 1:
        distributed.init_process_group("gloo")
        for layer in policy.lm.base.model.layers:
            fully_shard(layer)
        fully_shard(policy)
        assert all(isinstance(weight, DTensor) for weight in policy.parameters())
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    for step in range(2):
        batch = samples[step * 4 : step * 4 + 4][rank::world]
        losses = policy(Collator(lm)(batch))
        (losses.values_S.sum() * world / 4).backward()
        for weight in trained:
            weight.data -= RATE * weight.grad
            weight.grad = None
    tensors = adapter_tensors(policy)
    if rank == 0:
        save_file(tensors, target / "adapter_model.safetensors")
    if world > 1:
        distributed.barrier()
        for weight in trained:
            weight.data.zero_()
        load_adapter_tensors(policy, target)
        assert all(torch.equal(adapter_tensors(policy)[name], tensors[name]) for name in tensors)
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    # Sharded weights may keep gloo's threads beyond the end of the group; these abort a dying
    # interpreter.
    sys.stderr.flush()
    os._exit(0)
