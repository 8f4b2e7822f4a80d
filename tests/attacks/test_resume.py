"""Every attack with failing helpers: the same again, also after any cut of its journal."""

import re

import pytest
from attack_cast import (
    ADVPREFIX,
    AOS,
    AVATAR,
    DIA,
    EPT,
    GOAL,
    NATIVE,
    PAL,
    SPEAKEASY,
    TAP,
    WORDS,
    Cast,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midspan.attacks import get_attack
from midspan.attacks.advprefix import AdvPrefixConfig
from midspan.attacks.anchoring import AnchoringConfig
from midspan.attacks.aos import AosConfig
from midspan.attacks.avatar import AvatarConfig
from midspan.attacks.best_of_n import BestOfNConfig
from midspan.attacks.bon import BonConfig
from midspan.attacks.context_nesting import ContextNestingConfig
from midspan.attacks.crescendo import CrescendoConfig
from midspan.attacks.decode_sweep import DecodeSweepConfig
from midspan.attacks.decompose import DecomposeConfig
from midspan.attacks.dia import DiaConfig
from midspan.attacks.dija import DijaConfig
from midspan.attacks.encodings import EncodingsConfig
from midspan.attacks.ept import EptConfig
from midspan.attacks.finetune import FinetuneConfig
from midspan.attacks.first_step_gcg import FirstStepGCGConfig
from midspan.attacks.multiple_choice import MultipleChoiceConfig
from midspan.attacks.pad import PadConfig
from midspan.attacks.pair import PairConfig
from midspan.attacks.pal import PalConfig
from midspan.attacks.pap import PapConfig
from midspan.attacks.post_context import PostContextConfig
from midspan.attacks.prefill import PrefillConfig
from midspan.attacks.readout import ReadoutConfig
from midspan.attacks.renellm import ReNeLLMConfig
from midspan.attacks.replay import ReplayConfig
from midspan.attacks.scale_adapter import ScaleAdapterConfig
from midspan.attacks.speakeasy import SpeakEasyConfig
from midspan.attacks.tap import TapConfig
from midspan.attacks.templates import TemplatesConfig
from midspan.attacks.trajhijack import TrajHijackConfig

# The target takes one of what it is shown.
CHOOSER = {
    "target": lambda call, rng: rng.choice(re.findall(r"c\d+x\d+|no", call.messages[0]["content"]))
}
FLOOR = {"target": lambda call, rng: f"{rng.random()}"}
BLOCKS = {"target": lambda call, rng: f" {rng.choice(('step', 'no'))} {rng.randrange(9)} ."}
REFUSING = {"target": lambda call, rng: rng.choice(("I cannot.", f"well , {rng.random()}"))}
CASES = [
    {"messages": [{"role": "user", "content": "so ?"}], "anchors": [["Yes", 3]]},
    {"messages": [{"role": "user", "content": "please ?"}], "rules": [{"rule": "past_end"}]},
]
PREFIXES = AdvPrefixConfig(
    openings=("",), draws=(8,), kept=3, completions=2, min_words=4, min_chars=9, steps=4, width=3
)
PLAYS = {
    "tap": (TAP | FLOOR, TapConfig(branching=2, width=3, depth=4)),
    "tap-adaptive": (TAP | FLOOR, TapConfig(branching=2, width=2, depth=3, adaptive=True)),
    "pair": (TAP | FLOOR, PairConfig(streams=3)),
    "speakeasy": (SPEAKEASY, SpeakEasyConfig()),
    "avatar": (AVATAR, AvatarConfig(tries=4)),
    "best_of_n": (FLOOR, BestOfNConfig()),
    "bon": (WORDS, BonConfig(n=9, batch=4)),
    "templates": (FLOOR, TemplatesConfig()),
    "encodings": (FLOOR, EncodingsConfig()),
    "pap": (WORDS, PapConfig()),
    "crescendo": (WORDS | REFUSING, CrescendoConfig(rounds=3, backtracks=2)),
    "renellm": (WORDS, ReNeLLMConfig(rounds=4, rewrites=2)),
    "context_nesting": (FLOOR, ContextNestingConfig(channel="response")),
    "post_context": (FLOOR, PostContextConfig()),
    "first_step_gcg": (PAL, FirstStepGCGConfig(steps=5, width=4, check_every=2)),
    "replay": (FLOOR, ReplayConfig(cases={GOAL: CASES}, each=2)),
    "aos": (AOS, AosConfig(rounds=4, batch=3)),
    "pal": (PAL, PalConfig(steps=5, candidates=4, ranked=2, suffix="! !", check_every=2)),
    "dia": (DIA, DiaConfig(rewrites=3)),
    "dia-two": (DIA, DiaConfig(rewrites=3, variant="II")),
    "ept": (EPT | BLOCKS, EptConfig(samples=2, rounds=3, max_depth=2)),
    "ept-adaptive": (EPT | BLOCKS, EptConfig(samples=2, rounds=3, max_depth=2, adaptive=True)),
    "advprefix": (ADVPREFIX, PREFIXES),
    "prefill": (FLOOR, PrefillConfig(positions=(0, 20, 40))),
    "pad": (FLOOR, PadConfig()),
    "anchoring": (NATIVE, AnchoringConfig()),
    "anchoring-own": (NATIVE, AnchoringConfig(draft="own")),
    "trajhijack": (FLOOR, TrajHijackConfig()),
    "dija": (NATIVE, DijaConfig(shapes=(), tries=3)),
    "dija-shapes": (NATIVE, DijaConfig()),
    "decompose": (NATIVE, DecomposeConfig(parts=3)),
    "decompose-infill": (NATIVE, DecomposeConfig(channel="infill", parts=3)),
    "multiple_choice": (NATIVE | CHOOSER, MultipleChoiceConfig(questions=2, candidates=7)),
    "readout": (NATIVE, ReadoutConfig(canvases=4, others=3)),
    "decode_sweep": (FLOOR, DecodeSweepConfig()),
    "finetune": (FLOOR, FinetuneConfig(examples="organism", wraps=("now {request}",))),
    "scale_adapter": (FLOOR, ScaleAdapterConfig()),
    "advprefix-gcg": (ADVPREFIX, PREFIXES.model_copy(update={"delivery": "gcg"})),
}


@pytest.fixture(params=PLAYS)
def played(request, tmp_path):
    """A play, its result, and the journal that it left."""
    answers, config = PLAYS[request.param]
    attack = get_attack(request.param.partition("-")[0])

    def play(journal):
        cast = Cast(answers, faults=0.2)
        return cast.play(attack, config, journal), cast

    result, cast = play(tmp_path / "whole.jsonl")
    assert result.attempts
    return play, result, cast, (tmp_path / "whole.jsonl").read_bytes()


def test_the_same_play_again_is_the_same(played, tmp_path):
    play, result, cast, written = played
    again, cast_again = play(tmp_path / "again.jsonl")
    assert (again, cast_again.asked) == (result, cast.asked)
    assert (tmp_path / "again.jsonl").read_bytes() == written


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1))
def test_cut_at_any_byte_it_ends_alike_and_pays_for_nothing_twice(played, tmp_path, share):
    play, result, cast, written = played
    journal = tmp_path / "cut.jsonl"
    journal.write_bytes(written[: int(share * len(written))])
    kept = journal.read_bytes().count(b"\n")
    again, cast_again = play(journal)
    assert again == result
    assert sorted(journal.read_bytes().splitlines()) == sorted(written.splitlines())
    assert len(cast_again.asked) == len(cast.asked) - kept
