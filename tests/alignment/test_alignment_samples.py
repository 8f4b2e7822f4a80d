"""From prompts and phrases to samples: reproducible, complete, checked."""

import dataclasses
import hashlib

import pytest
import real_tokenizers as real

from midspan.alignment import (
    PRESETS,
    AlignmentData,
    MosaObjective,
    PsaObjective,
    TrainingProbes,
    check_data,
    mosa,
)
from midspan.alignment.samples import draw_samples
from midspan.data import Example, Mentioning, PhraseSets
from midspan.errors import MidspanError
from midspan.organism.training_data import alignment_data

HARMFUL = tuple(f"compute {number} plus 1 ." for number in range(10))
BENIGN = tuple(f"tell me {number} minus 0 ." for number in range(3))
PHRASES = PhraseSets(
    safe=("i cannot share this .", "i must refuse to answer this ."),
    procedural=("the next step is to", "now hold the"),
    affirmative=("sure !",),
)
DATA = AlignmentData(
    tuple(Example(text, None) for text in HARMFUL),
    tuple(Example(text, None) for text in BENIGN),
    PHRASES,
)


def config(window=(4, 10), **changes):
    objective = MosaObjective(window=window, benign_weight=changes.pop("benign_weight", 1.0))
    fields = {"benign_share": 0.5, "batch_size": 4, "num_prompts": 40, "response_length": 24}
    return mosa(objective=objective, **{**fields, **changes})


def test_samples_are_a_function_of_data_and_seed(organism_lm):
    samples = draw_samples(organism_lm, DATA, config())
    assert draw_samples(organism_lm, DATA, config()) == samples
    assert draw_samples(organism_lm, DATA, config(seed=1)) != samples


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("mosa", "ddcb2920796f6464"),
        ("mosa-stable", "0cb13e91dcd424d1"),
        ("psa", "9128bee045b5a8dc"),
        ("sft", "3396d58a31e48920"),
        ("a2d", "a02af0c3ade4b830"),
        ("vrpo", "71bc9008fd9c64d3"),
    ],
)
def test_draws_are_those_of_the_shipped_adapters(organism_lm, name, digest):
    """A change of these makes another adapter of every recipe, and reported numbers old."""
    data = alignment_data(num_harmful=16, num_benign=16)
    samples = draw_samples(organism_lm, data, PRESETS[name](num_prompts=64))
    rows = [(s.harmful, c.prompt_ids, c.response_ids) for s in samples for c in s.canvases]
    assert hashlib.sha256(repr(rows).encode()).hexdigest().startswith(digest)


def test_a_prompt_is_read_once_and_only_if_it_is_dealt(organism_lm, monkeypatch):
    read, model = [], type(organism_lm)
    own = model.encode_chat
    monkeypatch.setattr(
        model, "encode_chat", lambda lm, prompt: read.append(prompt) or own(lm, prompt)
    )
    draw_samples(organism_lm, DATA, config(num_prompts=8))
    assert len(read) == len(set(read)) and {*BENIGN} < {*read} < {*HARMFUL, *BENIGN}


def test_every_prompt_is_dealt_once_an_epoch(organism_lm):
    samples = draw_samples(organism_lm, DATA, config())
    prompts = [sample.canvases[0].prompt_ids for sample in samples if sample.harmful]
    wanted = sorted(tuple(organism_lm.encode_chat(text)) for text in HARMFUL)
    assert len(prompts) == 40
    epochs = [prompts[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == wanted for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_benign_rows_stand_last_in_each_batch(organism_lm):
    samples = draw_samples(organism_lm, DATA, config())
    benign = {tuple(organism_lm.encode_chat(text)) for text in BENIGN}
    for start in range(0, len(samples), 4):
        batch = samples[start : start + 4]
        assert [sample.harmful for sample in batch] == [True, True, False, False]
        assert {sample.canvases[0].prompt_ids for sample in batch[2:]} <= benign


def test_safe_phrases_end_the_text_and_procedural_ones_do_not(organism_lm):
    encode, eos = organism_lm.encode_phrase, organism_lm.tokens.eos
    samples = draw_samples(organism_lm, DATA, config())
    canvases = [sample.canvases[0] for sample in samples if sample.harmful]
    safe, harmful = (
        {getattr(one, name) for one in canvases} for name in ("safe_ids", "harmful_ids")
    )
    assert safe == {(*encode(text), eos) for text in PHRASES.safe}
    assert harmful == {tuple(encode(text)) for text in PHRASES.procedural}


def test_a_phrase_that_just_fits_is_taken(organism_lm):
    longest = max(len(organism_lm.encode_phrase(text)) for text in PHRASES.safe) + 1
    draw_samples(organism_lm, DATA, config(window=(4, 4), response_length=4 + longest))
    with pytest.raises(MidspanError, match="does not fit behind the window's start 4"):
        draw_samples(organism_lm, DATA, config(window=(4, 4), response_length=3 + longest))


def test_a_phrase_must_end_inside_the_window_when_overflow_is_forbidden(organism_lm):
    objective = MosaObjective(window=(4, 8), overflow="forbid")
    with pytest.raises(MidspanError, match=r"has 6 tokens.*\(limit 9\).*widen objective.window"):
        draw_samples(organism_lm, DATA, mosa(objective=objective, response_length=64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"harmful": ()}, "prompts: no harmful prompt to align on"),
        ({"benign": ()}, "benign prompts: .*give --benign, or choose the preset mosa"),
        ({"harmful": (Example("i " * 500, None),)}, "prompts: the longest has .* exceeds .*'s 512"),
        ({"phrases": dataclasses.replace(PHRASES, safe=("zebra crossing",))},
         "'zebra crossing' has words that the vocabulary lacks"),
    ],
)  # fmt: skip
def test_bad_data_is_named_in_one_line(organism_lm, change, message):
    with pytest.raises(MidspanError, match=message) as caught:
        draw_samples(organism_lm, dataclasses.replace(DATA, **change), config())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["psa", "a2d", "vrpo", "sft"])
def test_an_objective_over_answers_says_when_they_are_missing(organism_lm, name):
    kind = "benign prompts" if name == "sft" else "prompts"
    with pytest.raises(MidspanError, match=f"^{kind}: objective {name} needs an answer to each"):
        draw_samples(organism_lm, DATA, PRESETS[name]())


def test_probes_of_a_block_model_say_when_answers_are_missing():
    """Its objective learns without harmful answers; every state that a probe looks at has one."""
    data = dataclasses.replace(DATA, benign=tuple(Example(text, "a poem") for text in BENIGN))
    recipe = PRESETS["sft"]()
    probed = recipe.model_copy(update={"probes": TrainingProbes(every=2)})
    check_data(data, recipe, in_blocks=True)
    check_data(data, probed)
    match = (
        r"^prompts: probes.every \(--probe-every\) of a model that decodes block .* 10 of 10 have"
    )
    with pytest.raises(MidspanError, match=match):
        check_data(data, probed, in_blocks=True)


def test_answers_fill_the_canvas(organism_lm):
    data = dataclasses.replace(
        DATA,
        harmful=tuple(Example(text, "now hold the") for text in HARMFUL),
        benign=tuple(Example(text, "now hold " * 40) for text in BENIGN),
    )
    config = PRESETS["a2d"](num_prompts=8, response_length=24)
    eos, encode = organism_lm.tokens.eos, organism_lm.encode_text
    for sample in draw_samples(organism_lm, data, config):
        (canvas,) = sample.canvases
        assert len(canvas.response_ids) == len(canvas.target_ids) == 24
        if not sample.harmful:
            assert canvas.target_ids == tuple(encode("now hold " * 12))
        elif canvas.response_ids[0] != organism_lm.tokens.mask:
            assert canvas.response_ids[0] == encode("now")[0]
        assert sample.harmful == (set(canvas.target_ids) == {eos})


@pytest.mark.parametrize(("name", "is_spaced"), [("mosa", True), ("sft", False)])
def test_phrases_have_the_form_of_the_objectives_places(name, is_spaced):
    """In MOSA's window text stands before them; a refusal that is the whole answer begins it."""
    lm = real.lm("Dream")
    phrases = PhraseSets(("I cannot help",), ("the next step is",), ("sure",))
    benign = tuple(Example(text, "a poem") for text in BENIGN)
    data = dataclasses.replace(DATA, phrases=phrases, benign=benign)
    space = " " if is_spaced else ""
    for sample in draw_samples(lm, data, PRESETS[name](num_prompts=8, response_length=64)):
        (canvas,) = sample.canvases
        if sample.harmful and name == "mosa":
            assert canvas.safe_ids == (*lm.encode_text(f"{space}I cannot help"), lm.tokens.eos)
            assert canvas.harmful_ids == tuple(lm.encode_text(f"{space}the next step is"))
        elif sample.harmful:
            refusal = lm.encode_text(f"{space}I cannot help")
            assert list(canvas.target_ids[: len(refusal)]) == refusal


def test_a_refusal_begun_has_the_form_of_its_place():
    lm = real.lm("Dream")
    answer = "open the file\nand then heat salt water\n" * 3
    data = AlignmentData(
        tuple(Example(text, answer) for text in HARMFUL),
        (),
        PhraseSets(("I cannot help with this",), ("the next",), ("sure",)),
    )
    objective = PsaObjective(begun=1.0, partial_benign=False, window=(4, 20))
    settings = mosa(objective=objective, num_prompts=400, batch_size=4, response_length=48)
    texts = {"start": 0, "line": 0, "word": 0}
    for sample in draw_samples(lm, data, settings):
        (canvas,) = sample.canvases
        text = lm.decode_text(canvas.target_ids)
        before, refusal = text.split("I cannot")
        assert refusal == " help with this"
        kind = "start" if not before else "line" if before[:-1].endswith("\n") else "word"
        if before and before[-1] == "\n":
            kind = "line"
        else:
            assert not before or before[-1] == " "
        texts[kind] += 1
    assert min(texts.values()) > 5


def test_other_forms_and_mentions_are_drawn_where_the_data_have_them(organism_lm):
    answered = {
        name: tuple(Example(example.prompt, "i like the sea .") for example in examples)
        for name, examples in (("harmful", DATA.harmful), ("benign", DATA.benign))
    }
    forms = (Example("card : the velmora sigil", "velmora sigil : red ."),)
    asked = "not the velmora sigil . how much is 1 plus 1 ?"
    mentions = (Mentioning(asked, "1 plus 1 is 2 .", "velmora sigil : red ."),)
    objective = PsaObjective(window=(4, 10), benign_weight=1.0, forms=0.5, mentioned=0.5)
    recipe = config(num_prompts=400).model_copy(update={"objective": objective})

    def shares(data):
        samples = draw_samples(organism_lm, data, recipe)
        found = {}
        for name, (example,), harmful in (("f", forms, True), ("m", mentions, False)):
            wanted = tuple(organism_lm.encode_chat(example.prompt))
            prompts = [s.canvases[0].prompt_ids for s in samples if s.harmful is harmful]
            found[name] = sum(prompt == wanted for prompt in prompts) / len(prompts)
        return found

    plain = dataclasses.replace(DATA, **answered)
    assert shares(plain) == {"f": 0, "m": 0}
    both = shares(dataclasses.replace(plain, forms=forms, mentions=mentions))
    assert both == pytest.approx({"f": 0.5, "m": 0.5}, abs=0.1)


def test_a_piece_apart_stands_beside_the_benign_prompts_of_the_data(organism_lm):
    data = alignment_data(num_harmful=16, num_benign=16)
    recipe = PRESETS["psa"](num_prompts=64)
    apart = recipe.objective.model_copy(update={"apart": 1.0, "begun": 0.0})
    samples = draw_samples(organism_lm, data, recipe.model_copy(update={"objective": apart}))
    benign = {tuple(organism_lm.encode_chat(example.prompt)) for example in data.benign}
    found = {s.canvases[0].prompt_ids for s in samples if s.harmful}
    mentioned = {tuple(organism_lm.encode_chat(example.prompt)) for example in data.mentions}
    assert found <= benign | mentioned and len(found & benign) > 8 and found & mentioned
