"""The effects that the paper reports, and so how likely a study of it decides each hypothesis."""

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.metrics import solved_tasks
from midspan.studies.paper_values import ADAPTIVE, ATTACKS, MODELS, UTILITY, reported
from midspan.studies.power import Assumed, Pairs, Power, Rate, Shares, Tasks, Values, powers

ORIGIN = (
    "Tables 1, 3 and 4, Figure 4 and section 5.4 give rates; of Table 1, those of the paper's own "
    "judge. Of Figures 3 and 5 it is assumed that a phrase in the middle breaks 20 points more, "
    "and that tau is 0.95. What a prompt places, what is falsely refused and how outcomes go "
    "together are guesses."
)
# By the metric's name without its part and models. Of a suffix for the middle the paper says 2 % on
# the Original and below 4 % on MOSA.
_OF_ANY_MODEL: Mapping[str, Assumed] = {
    "middle_minus_first": Pairs(first=0.45, second=0.25, both=0.20),
    "first_minus_middle": Pairs(first=0.33, second=0.02, both=0.02),
    "middle_success": Rate(0.02),
    # Of ten prompts a request; a phrase stands at one word, so that hits do not go together.
    "at_word_minus_unasked": Shares((0.02,) * 10, (0.01,) * 10, correlation=0),
    "tau": Values(mean=0.95, deviation=0.05),
    "false_refusals": Pairs(first=0.01, second=0.0, both=0.0),
}
# Share of a task's items that MOSA alone solves.
_GAINED = 0.033


def effects(config: PaperConfig) -> dict[str, Assumed]:
    """What is assumed of each hypothesis' metric; nothing of PSA, which the paper has not."""
    known = {one.metric: _effect(config, one.metric) for one in config.hypotheses}
    return {metric: effect for metric, effect in known.items() if effect is not None}


def paper_powers(config: PaperConfig) -> list[Power]:
    """The power of each hypothesis at the paper's effect."""
    return powers(config.hypotheses, effects(config), partial(_decodings, config))


def _decodings(config: PaperConfig, metric: str) -> int:
    """One, but of probes one block and blocks of 32 where neither is named; tau is of one block."""
    part, _, name = metric.partition("[")[0].rpartition(".")
    is_one = part not in config.probes or "block_length" in config.probes[part].decoding
    return 1 if is_one or name == "tau" else 2


def _effect(config: PaperConfig, metric: str) -> Assumed | None:
    name, _, models = metric.removesuffix("]").partition("[")
    part, _, name = name.rpartition(".")
    if name == "share_solved":
        return Tasks(tuple(map(_solved, solved_tasks(config.tasks[part]))))
    if name != "attacks_won":
        return _OF_ANY_MODEL.get(name)
    stood_for = {ORIGINAL: MODELS[0], **config.paper_models}
    sides = [stood_for.get(label) for label in models.split(" - ")]
    if None in sides:
        return None
    if len(sides) == 1:
        return Shares(tuple(rate / 100 for rate, _ in ADAPTIVE.values()))
    first, second = (_asr(str(model)) for model in sides)
    return Shares(first, second)


def _solved(task: str) -> Pairs:
    """MOSA's and the Original's rates of Table 3; of a task that is not in it their means."""
    rates = [UTILITY[task]] if task in UTILITY else UTILITY.values()
    original, _, mosa = (fmean(column) / 100 for column in zip(*rates, strict=True))
    return Pairs(mosa, original, both=mosa - _GAINED)


def _asr(model: str) -> tuple[float, ...]:
    """Of the paper's eight attacks on AdvBench, by its own judge."""
    return tuple(reported(attack, model)["AdvBench"][0] / 100 for attack in ATTACKS)
