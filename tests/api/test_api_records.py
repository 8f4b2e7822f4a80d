"""Records of real runs have the fields that their types name: none missing, none besides."""

import json
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

import midspan
from midspan.api import probe_records, records
from midspan.journal.journal import Journal
from midspan.studies.decodings import organism_decodings
from midspan.studies.organism.cases import Sizes, build_cases
from midspan.studies.organism.measure import by_canvas, measure, write_records

SMALL = {"length": 32, "block_length": 32, "steps": 4}
FIELDS = {
    "prefill": {"positions": (0, 16)},
    "window": {"stride": 20},
    "gcg": {"starts": (0,), "search": {"steps": 1, "search_width": 2}},
    "instruction-placement": {"words": (1,)},
    "order": {"shuffles": 1},
    "activations": {"positions": (-1,), "num_folds": 2, "shuffles": 1, "n": 6},
    "samples": {"start": 8},
    "monitors": {"conditions": ("decode_sweep",), "steps": (0,), "n": 2},
}


def faults(value: Any, wanted: Any, place: str = "record") -> list[str]:
    """Where a value is not of a type, as one line each."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return []
    if is_typeddict(wanted):
        hints = get_type_hints(wanted)
        found = [f"{place}: no {name}" for name in wanted.__required_keys__ - value.keys()]
        found += [f"{place}: unknown {name}" for name in value.keys() - hints.keys()]
        known = value.keys() & hints.keys()
        return found + [f for k in known for f in faults(value[k], hints[k], f"{place}.{k}")]
    if origin in (UnionType, Union):
        options = [faults(value, option, place) for option in inside]
        return [] if [] in options else [f"{place}: {value!r} is no {wanted}"]
    if origin is Literal:
        return [] if value in inside else [f"{place}: {value!r} is none of {inside}"]
    if origin is list:
        return [f for at, v in enumerate(value) for f in faults(v, inside[0], f"{place}[{at}]")]
    if origin is dict:
        return [f for key, v in value.items() for f in faults(v, inside[1], f"{place}.{key}")]
    wanted = (int, float) if wanted is float else wanted or NoneType
    return [] if isinstance(value, wanted) else [f"{place}: {value!r} is no {wanted}"]


def check(rows, wanted):
    assert rows
    for row in rows:
        assert not faults(row, wanted)


@pytest.fixture(scope="module")
def models():
    return [midspan.load("organism"), midspan.load("organism:mosa")]


@pytest.mark.parametrize("name", FIELDS)
def test_probes(name, models):
    fields = {"n": 1, "decoding": SMALL} | FIELDS[name]
    several = models if name == "activations" else models[:1]
    check(midspan.probe(name, several, **fields).records, probe_records.PROBE_RECORDS[name])


def test_every_probe_has_a_type():
    from midspan.studies.probes.config import PROBES

    assert PROBES.keys() == FIELDS.keys() == probe_records.PROBE_RECORDS.keys()


def test_attacks(models):
    fields = {"decoding": SMALL, "branching": 1, "width": 1, "depth": 1, "steps": 1}
    result = midspan.attack(
        models[0], ["tap", "ept"], behaviors="organism:1", budget=2,
        judge=["exact", "exact-strongreject", "refusal-keywords"],
        **{name: value for name, value in fields.items() if name != "steps"},
    )  # fmt: skip
    check(result.records, records.AttackRecord)
    assert any(row["attempts"] for row in result.records)


def test_attempts_of_attacks_in_the_decoder_and_in_parts(models):
    names = ["dija", "anchoring", "decode_sweep", "multiple_choice"]
    result = midspan.attack(
        models[0], names, behaviors="organism:1", budget=3, judge="exact", decoding=SMALL
    )
    check(result.records, records.AttackRecord)
    had = {name for row in result.records for attempt in row["attempts"] for name in attempt}
    assert {"scaffold", "rules", "decoding", "parts", "guessed"} <= had


def test_tasks(models, tmp_path):
    rows = [{"question": f"{n} + {n} ?", "answer": f"#### {2 * n}"} for n in range(1, 9)]
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    result = midspan.evaluate(
        models[0], ["arithmetic", "choice", "overrefusal", "gsm8k"], items=1,
        data={"gsm8k": str(file)}, decoding={"length": 16, "block_length": 16, "steps": 2},
    )  # fmt: skip
    check(result.records, records.TaskRecord)


def test_cases(models, tmp_path):
    cases = build_cases(Sizes(plain=1, wraps=1, prefill=1, benign=1, utility=1), 0)
    decoding = {"one block": organism_decodings()["one block"].model_copy(update={"steps": 4})}
    with Journal(tmp_path / "journal.jsonl") as journal:
        rows = measure(models[0], "original", by_canvas(cases, decoding), journal)
    write_records(tmp_path / "records.jsonl", rows)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    check(list(map(json.loads, lines)), records.CaseRecord)


def test_answers_and_trainings(models, tmp_path):
    answer = midspan.generate(models[0], "hello", **SMALL)
    check(answer.records, records.CommitRecord)
    assert len(answer.records) == len(answer.trace)
    adapter = midspan.align(models[0], "organism", "mosa", tmp_path, num_prompts=8)
    hints = get_type_hints(records.TrainingRecord)
    for row in adapter.records:
        assert hints.keys() <= row.keys()
        assert not faults({name: row[name] for name in hints}, records.TrainingRecord)


@pytest.mark.parametrize("module", [records, probe_records])
def test_every_field_is_documented(module):
    for name, kind in vars(module).items():
        if is_typeddict(kind) and kind.__module__ == module.__name__:
            own = kind.__annotations__.keys() & get_type_hints(kind).keys()
            text = "".join(base.__doc__ or "" for base in (kind, *_bases(module, kind)))
            missing = [field for field in own if f"        {field}: " not in text]
            assert not missing, f"{name}: {missing}"


def _bases(module, kind):
    """TypedDicts of the module whose fields a type has too; the class itself forgets its bases."""
    return [
        other
        for other in vars(module).values()
        if is_typeddict(other) and other.__annotations__.keys() < kind.__annotations__.keys()
    ]
