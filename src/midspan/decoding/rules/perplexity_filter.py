"""Reject requests that do not read as language (perplexity filter)."""

import math
from functools import cache
from typing import Any, Literal

from pydantic import Field

from midspan.decoding.rule import Messages, Rule
from midspan.decoding.rules._turns import last_request


class PerplexityFilter(Rule):
    """Reject where a window of the last request has a high perplexity.

    Jain et al., 2023, with the window and the bound of DIJA's evaluation. Windows follow each
    other, and the last may be shorter.

    Attributes:
        threshold: Highest perplexity that passes.
        window: Tokens of a window; None takes the whole request.
        scorer: A causal language model of transformers, a name or a folder. Its forward is not
            counted among the target's.
    """

    rule: Literal["perplexity_filter"] = "perplexity_filter"
    threshold: float = Field(255.79, gt=1, allow_inf_nan=False)
    window: int | None = Field(5, ge=1)
    scorer: str = Field("gpt2", min_length=1)

    def rejects(self, messages: Messages) -> bool:
        """See `Rule`; conversations without a user's turn pass."""
        index = last_request(messages)
        if index is None:
            return False
        losses = _losses(self.scorer, messages[index]["content"])
        size = self.window or max(1, len(losses))
        windows = [losses[start : start + size] for start in range(0, len(losses), size)]
        bound = math.log(self.threshold)
        return any(sum(window) / len(window) > bound for window in windows)


@cache
def _scorer(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    from midspan.models.border import border, read_tokenizer

    what, remedy = f"rules.perplexity_filter.scorer: cannot load {name}", "name a causal model"
    with border(what, remedy):
        # The model first: a name that nothing has is said by it in one line.
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype="float32", trust_remote_code=False, use_safetensors=True
        )
    return model.eval(), read_tokenizer(name)


def _losses(name: str, text: str) -> list[float]:
    """Negative log-likelihood of each token but the first, in nats."""
    import torch

    model, tokenizer = _scorer(name)
    ids_1T = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    if ids_1T.shape[1] < 2:
        return []
    with torch.inference_mode():
        log_probs_TV = model(ids_1T).logits[0].float().log_softmax(-1)
    return (-log_probs_TV[:-1].gather(1, ids_1T[0, 1:, None])[:, 0]).tolist()


RULE = PerplexityFilter
