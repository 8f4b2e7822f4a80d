"""Decoding: canvases are filled step by step, with anchors and a trace."""

from midspan.decoding.canvas import Request, anchor_phrase, merge_anchors
from midspan.decoding.config import (
    BlockSampler,
    DecodingConfig,
    DreamSampler,
    LladaSampler,
)
from midspan.decoding.configure import decoding_config
from midspan.decoding.decoder import decode
from midspan.decoding.hf import generate_hf
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.sampler import Sampler
from midspan.decoding.trace import ANCHOR_STEP, Generation, StepView, Trace

__all__ = [
    "ANCHOR_STEP",
    "BlockSampler",
    "DecodingConfig",
    "DreamSampler",
    "Generation",
    "Hook",
    "LladaSampler",
    "Proposal",
    "Request",
    "Sampler",
    "StepView",
    "Trace",
    "View",
    "anchor_phrase",
    "decode",
    "decoding_config",
    "generate_hf",
    "merge_anchors",
]
