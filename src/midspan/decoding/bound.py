"""Rules at work: the hooks that a config and its requests ask for.

Shapes: A rows of a step, R positions of a step, L a request's canvas, V vocabulary.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from midspan.decoding.canvas import Request
from midspan.decoding.config import DecodingConfig
from midspan.decoding.hooks import Hook, Proposal, View
from midspan.decoding.rule import Rule
from midspan.decoding.step import Candidates
from midspan.errors import MidspanError
from midspan.models.model import DiffusionLM
from midspan.models.states import check_layers


class OnRequests(Hook):
    """A hook that acts on some requests of a batch alone.

    Args:
        hook: What acts.
        requests: Indices of the requests.
    """

    def __init__(self, hook: Hook, requests: Collection[int]) -> None:
        self._hook, self._requests = hook, frozenset(requests)
        self.layers = hook.layers

    def _rows(self, view: View) -> list[int]:
        return [row for row, request in enumerate(view.requests) if request in self._requests]

    def _call(self, point: str, view: View) -> None:
        if rows := self._rows(view):
            part = view.of(rows)
            getattr(self._hook, point)(part)
            view.changed |= part.changed

    def on_canvas(self, view: View) -> None:
        """See `Hook`."""
        self._call("on_canvas", view)

    def before_forward(self, view: View) -> None:
        """See `Hook`."""
        self._call("before_forward", view)

    def edit_logits(self, view: View, position_AR: Tensor, logits_ARV: Tensor) -> None:
        """See `Hook`."""
        if rows := self._rows(view):
            part_ARV = logits_ARV[rows]
            self._hook.edit_logits(view.of(rows), position_AR[rows], part_ARV)
            logits_ARV[rows] = part_ARV

    def choose(self, view: View, proposal: Proposal) -> Tensor:
        """See `Hook`."""
        rows = self._rows(view)
        if not rows:
            return proposal.chosen_AR
        part = Proposal(
            proposal.position_AR[rows],
            proposal.open_AR[rows],
            Candidates(*(values[rows] for values in proposal.candidates)),
            proposal.commits_A[rows],
            proposal.chosen_AR[rows],
        )
        chosen_AR = proposal.chosen_AR.clone()
        chosen_AR[rows] = self._hook.choose(view.of(rows), part)
        return chosen_AR

    def after_commit(self, view: View) -> None:
        """See `Hook`."""
        self._call("after_commit", view)

    def may_remask(self, view: View) -> Tensor | None:
        """See `Hook`."""
        rows = self._rows(view)
        part_AL = self._hook.may_remask(view.of(rows)) if rows else None
        if part_AL is None:
            return None
        remasked_AL = torch.zeros_like(view.open_AL)
        remasked_AL[rows] = part_AL
        return remasked_AL


def hooks_of(lm: DiffusionLM, requests: Sequence[Request], config: DecodingConfig) -> list[Hook]:
    """The hooks of all rules, those of the config first.

    Raises:
        MidspanError: A model cannot follow a rule; the message names the request where it is one's
            own.
    """
    hooks = [_hook(rule, lm, config) for rule in config.rules]
    followers: dict[Rule, list[int]] = {}
    for index, request in enumerate(requests):
        for rule in request.rules:
            followers.setdefault(rule, []).append(index)
    for rule, indices in followers.items():
        try:
            hook = _hook(rule, lm, config)
        except MidspanError as error:
            raise MidspanError(f"requests[{indices[0]}].{error}") from error
        hooks.append(None if hook is None else OnRequests(hook, indices))
    return [hook for hook in hooks if hook is not None]


def _hook(rule: Rule, lm: DiffusionLM, config: DecodingConfig) -> Hook | None:
    hook: Hook | None = rule.hook(lm, config.length)
    if hook is not None:
        check_reading(f"rules.{rule.rule}", hook, lm, config)
    return hook


def check_reading(name: str, hook: Hook, lm: DiffusionLM, config: DecodingConfig) -> None:
    """Refuse a hook that reads hidden states where forwards leave none of the whole canvas.

    Raises:
        MidspanError: Naming the hook.
    """
    if hook.layers and (config.cache != "none" or config.sampler == "block"):
        raise MidspanError(
            f"{name}: reads hidden states of the whole canvas, which cache={config.cache!r} with "
            f"sampler={config.sampler!r} does not compute; use cache='none' and sampler 'llada' or "
            "'dream'"
        )
    try:
        check_layers(lm, hook.layers)
    except MidspanError as error:
        raise MidspanError(f"{name}: {error}") from error
