"""Decoding: canvases are filled step by step, with anchors and a trace."""

from midspan.decoding.anchors import anchor_phrase, anchor_phrases, merge_anchors
from midspan.decoding.canvas import Request
from midspan.decoding.chat import chat_request
from midspan.decoding.config import (
    BlockSampler,
    DecodingConfig,
    DreamSampler,
    LladaSampler,
)
from midspan.decoding.configure import decoding_config
from midspan.decoding.decoder import BrokenRowsError, decode
from midspan.decoding.hf import generate_hf
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule, as_rule, get_rule, guarded, list_rules
from midspan.decoding.sampler import Sampler
from midspan.decoding.scaffold import UserCanvas, scaffold_anchors, user_canvas
from midspan.decoding.trace import ANCHOR_STEP, Generation, StepView, Trace

__all__ = [
    "ANCHOR_STEP",
    "BlockSampler",
    "BrokenRowsError",
    "DecodingConfig",
    "DreamSampler",
    "Generation",
    "Hook",
    "LladaSampler",
    "Proposal",
    "Request",
    "Rule",
    "Sampler",
    "StepView",
    "Trace",
    "UserCanvas",
    "View",
    "anchor_phrase",
    "anchor_phrases",
    "as_rule",
    "chat_request",
    "decode",
    "decoding_config",
    "generate_hf",
    "get_rule",
    "guarded",
    "list_rules",
    "merge_anchors",
    "scaffold_anchors",
    "user_canvas",
]
