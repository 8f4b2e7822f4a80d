"""The whole paper on the second organism, a case or two a part."""

from midspan.engine.budget import Budget
from midspan.files import read_jsonl
from midspan.organism.second.behaviors import behaviors
from midspan.studies.paper.config import ORIGINAL, PaperConfig
from midspan.studies.paper.presets import organism2
from midspan.studies.paper.run import run_paper

SMALL = {"length": 64, "steps": 4, "block_length": 32}


def small(part, **changes):
    """A part of the preset on the Original alone."""
    update = {"models": (ORIGINAL,), "decoding": SMALL, **changes}
    return part.model_copy(update=update)


def test_every_part_runs_in_its_own_world(tmp_path):
    whole = organism2()
    rows = tuple(
        row for row in whole.attacks["attacks"].attacks if row.attack in ("direct", "avatar")
    )
    search = {"steps": 2, "search_width": 2, "top_k": 2}
    config = PaperConfig(
        base=whole.base,
        probes={
            "prefill": small(whole.probes["prefill"], n=1, fields={"positions": (0, 20)}),
            "gcg": small(whole.probes["gcg"], n=1, fields={"starts": (0, 30), "search": search}),
            "instruction-placement": small(
                whole.probes["instruction-placement"], n=1, fields={"words": (1,)}
            ),
            "order": small(whole.probes["order"], n=1),
            "samples": small(whole.probes["samples"], fields={"start": 20}),
        },
        attacks={
            "attacks": small(
                whole.attacks["attacks"],
                attacks=rows,
                behaviors="organism2:2",
                budget=Budget(target=2),
                paper_models={ORIGINAL: ORIGINAL},
            )
        },
        tasks={"utility": small(whole.tasks["utility"], items=2, decoding={})},
    )
    result = run_paper(config, tmp_path / "run", "midspan study --preset organism2")
    assert not result.missing and not result.problems
    attacked = read_jsonl(tmp_path / "run" / "attacks" / "records.jsonl")
    assert {row["behavior"] for row in attacked} == {one.id for one in behaviors(2)}
