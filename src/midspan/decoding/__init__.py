"""Decoding: canvases are filled step by step, with anchors and a trace."""

from midspan.decoding.canvas import Request, anchor_phrase, merge_anchors
from midspan.decoding.config import DecodingConfig
from midspan.decoding.decoder import decode
from midspan.decoding.hf import generate_hf
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.trace import ANCHOR_STEP, Generation, StepView, Trace

__all__ = [
    "ANCHOR_STEP",
    "DecodingConfig",
    "Generation",
    "Hook",
    "Proposal",
    "Request",
    "StepView",
    "Trace",
    "View",
    "anchor_phrase",
    "decode",
    "generate_hf",
    "merge_anchors",
]
