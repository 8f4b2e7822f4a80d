"""Where the model runs, by which kernels, and from which files."""

import os

import torch

from midspan.doctor.finding import Status, Subject, fault, note, ok
from midspan.errors import MidspanError
from midspan.models.adapters import last_name
from midspan.models.attention import block_causal_mask, for_attention
from midspan.models.checkpoint import read_json

Look = tuple[Status, str, str]

_GIB = 2**30


def device(subject: Subject) -> Look:
    """The weights lie where this process computes, and leave room."""
    weights = list(subject.lm.base.parameters())
    devices = sorted({str(weight.device) for weight in weights})
    size = sum(weight.numel() * weight.element_size() for weight in weights) / _GIB
    detail = f"{', '.join(devices)}; {size:.2f} GiB of weights"
    rank = os.environ.get("LOCAL_RANK")
    used = subject.lm.device
    if used.type != "cuda":
        if torch.cuda.is_available():
            return note(detail, "There is a GPU: leave device out to use it.")
        return ok(detail)
    if rank is not None and len(devices) == 1 and used.index != int(rank):
        return fault(
            f"{detail}; this process has LOCAL_RANK={rank}",
            "Each process needs its own GPU: leave device out under a launcher.",
        )
    free, total = torch.cuda.mem_get_info(used)
    detail += f", {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    if free < total / 10:
        return note(detail, 'Load with quantization="4bit", or use a smaller batch.')
    return ok(detail)


def attention(subject: Subject) -> Look:
    """The attention's kernels take the mask that the family needs."""
    lm = subject.lm
    implementation = str(lm.base.config._attn_implementation)
    if lm.block_length is not None:
        try:
            for_attention(block_causal_mask(torch.ones(1, 2), lm.block_length), lm.base)
        except MidspanError as error:
            return fault(str(error), "Load without attn_implementation.")
    if implementation == "eager":
        return note(implementation, "sdpa computes the same faster: load without this choice.")
    return ok(implementation)


def adapter_base(subject: Subject) -> Look:
    """The adapter names the base that it is on."""
    if subject.adapter is None:
        return ok("none")
    named = str(read_json(subject.adapter / "adapter_config.json").get("base_model_name_or_path"))
    if last_name(named) in map(last_name, subject.names):
        return ok(f"trained on {named}")
    return note(
        f"trained on {named!r}, used on {subject.names[0]}",
        "Make sure that these are one model: the shapes of the tensors say only that they fit.",
    )
