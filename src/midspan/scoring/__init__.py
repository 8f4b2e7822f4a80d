"""Scoring: how likely given tokens are under a model, and how that moves with the prompt.

It knows log-probabilities of phrases at positions of a canvas and of answers behind a prompt, their
cost in forwards, their gradients, and one step of the suffix search that follows these. It decodes
nothing, keeps no journal and does not know what is scored, nor why.
"""

from midspan.scoring.continuations import (
    AnswerLikelihood,
    MultipleChoice,
    ScoredChoice,
    score_choices,
)
from midspan.scoring.gcg_step import GCG, GCGConfig, GCGStep, sample_candidates
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.likelihood import PhraseScore, ScoreOptions, phrase_score
from midspan.scoring.suffix import SuffixPrompt, allowed_tokens, append_suffix
from midspan.scoring.window import best_starts, start_scores

__all__ = [
    "GCG",
    "AnswerLikelihood",
    "GCGConfig",
    "GCGStep",
    "Goal",
    "MultipleChoice",
    "PhraseScore",
    "ScoreOptions",
    "ScoredChoice",
    "SuffixPrompt",
    "allowed_tokens",
    "append_suffix",
    "best_starts",
    "phrase_losses",
    "phrase_score",
    "sample_candidates",
    "score_choices",
    "start_scores",
    "token_gradient",
]
