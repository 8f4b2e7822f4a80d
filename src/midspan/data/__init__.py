"""Requests, phrase sets: read, checked, hashed, split. This room knows no model."""

from midspan.data.behaviors import Behavior, BehaviorSet, Example, Mentioning
from midspan.data.benchmarks import BENCHMARKS, Benchmark
from midspan.data.loading import load_behaviors, read_examples, read_prompts
from midspan.data.mentioning import mentions_of
from midspan.data.overlap import Overlap, find_overlap, refuse_overlap
from midspan.data.phrases import PhraseSets, english_phrases, read_phrases
from midspan.data.text import normalise, split

__all__ = [
    "BENCHMARKS",
    "Behavior",
    "BehaviorSet",
    "Benchmark",
    "Example",
    "Mentioning",
    "Overlap",
    "PhraseSets",
    "english_phrases",
    "find_overlap",
    "load_behaviors",
    "mentions_of",
    "normalise",
    "read_examples",
    "read_phrases",
    "read_prompts",
    "refuse_overlap",
    "split",
]
