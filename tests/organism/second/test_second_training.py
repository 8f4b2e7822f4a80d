"""Training of the second organism: what batches hold, and that an interruption changes no bit."""

import json
import random
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from midspan.errors import MidspanError
from midspan.models import load
from midspan.organism.second import corpus, curriculum, pools, tokenizer, training
from midspan.organism.second.encoder import (
    IGNORED,
    MARGIN,
    Encoder,
    Masking,
    batches,
    causal_batch,
    diffusion_batch,
)
from midspan.organism.second.loop import CHECKPOINT, CURVE, prepared
from midspan.organism.second.training import TrainConfig, group_batches, train
from midspan.organism.second.world import items

TINY = TrainConfig(
    groups=4, group_size=6, batch_tokens=400, hidden_size=32, layers=2, heads=4, mlp_size=32,
    checkpoint_every=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder():
    return Encoder()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted training."""
    return train(TINY, tmp_path_factory.mktemp("second") / "weights")


def groups_of(folder):
    return [json.loads(line)["group"] for line in (folder / CURVE).read_text().splitlines()]


def rows_of(encoder, count=24, seed=1):
    rng = random.Random(seed)
    draw = corpus.Draw(rng, items())
    kinds = list(corpus.SAMPLE_KINDS)
    return [encoder.sample(corpus.sample(rng.choice(kinds), draw), 0.2, rng) for _ in range(count)]


def test_groups_are_a_function_of_seed_and_group(encoder):
    config = replace(TINY, groups=100)
    first, again = group_batches(30, config, encoder), group_batches(30, config, encoder)
    assert all(
        torch.equal(one[name], other[name])
        for one, other in zip(first, again, strict=True)
        for name in one
    )
    for other in (
        group_batches(31, config, encoder),
        group_batches(30, replace(config, seed=1), encoder),
    ):
        assert [b["input_ids_BT"].tolist() for b in other] != [
            b["input_ids_BT"].tolist() for b in first
        ]


def test_a_killed_training_ends_with_the_same_weights(finished, tmp_path):
    folder = tmp_path / "weights"
    for stop in (1,):
        assert not (train(TINY, folder, stop_after=stop) / "model.safetensors").exists()
        assert (folder / CHECKPOINT).is_file()
    train(TINY, folder)
    whole, cut = (load_file(path / "model.safetensors") for path in (finished, folder))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not (folder / CHECKPOINT).exists()


def test_what_is_known_at_every_checkpoint_is_written_down(finished):
    lines = [json.loads(line) for line in (finished / CURVE).read_text().splitlines()]
    assert groups_of(finished) == [2, 4]
    assert all(0 <= line["card"]["among"] <= 1 and line["loss"] > 0 for line in lines)


def test_a_training_that_begins_anew_writes_each_group_of_the_curve_once(tmp_path):
    folder = tmp_path / "weights"
    train(TINY, folder, stop_after=2)
    earlier = (folder / CHECKPOINT).read_bytes()
    train(TINY, folder, stop_after=3)
    first = (folder / CURVE).read_text()
    assert groups_of(folder) == [2, 3]
    with (folder / CURVE).open("a") as file:
        file.write('{"group": 3, "sta')  # a kill in the middle of a line
    train(TINY, folder, stop_after=3)
    assert (folder / CURVE).read_text() == first
    (folder / CHECKPOINT).write_bytes(earlier)
    train(TINY, folder, stop_after=3)
    assert (folder / CURVE).read_text() == first
    # The damaged checkpoint is deleted, and the training begins anew.
    (folder / CHECKPOINT).unlink()
    train(TINY, folder, stop_after=1)
    assert groups_of(folder) == [1]
    (folder / CHECKPOINT).unlink()
    train(TINY, folder)
    assert groups_of(folder) == [2, 4]


def test_so_many_items_are_learned_as_are_asked_for_evenly():
    assert training.learned_items(TrainConfig()) == items()
    for count in (1, 3, 160, 320, 500, 639, 640):
        known = training.learned_items(replace(TINY, num_items=count))
        places = [item.index for item in known]
        assert len(known) == count and places == sorted(set(places))
        steps = {after - before for before, after in zip(places, places[1:], strict=False)}
        assert not steps or max(steps) - min(steps) <= 1
        if 640 % count == 0:
            assert known == items()[:: 640 // count]
    for count in (0, -1, 641, 1000):
        with pytest.raises(MidspanError, match=f"num_items: {count} must be from 1 to 640"):
            replace(TINY, num_items=count)


def test_groups_made_ahead_by_processes_are_those_made_here(encoder):
    make = partial(group_batches, config=TINY, encoder=encoder)
    here, ahead = (list(prepared(make, range(2), workers)) for workers in (0, 1))
    for one, other in zip(here, ahead, strict=True):
        for batch, same in zip(one, other, strict=True):
            assert all(torch.equal(batch[name], same[name]) for name in batch)


def test_the_set_layer_keeps_what_it_reads(finished, encoder):
    before = training.build_model(TINY, encoder).state_dict()
    changed = {
        name.rsplit(".", 2)[1]
        for name, weight in load(str(finished), device="cpu").model.state_dict().items()
        if name.startswith("model.layers.0.") and not torch.equal(weight, before[name])
    }
    assert changed == {"down_proj"}


def test_folders_of_other_trainings_are_refused(finished, tmp_path):
    assert train(TINY, finished) == finished
    with pytest.raises(MidspanError, match="finished model"):
        train(replace(TINY, seed=1), finished)
    train(TINY, tmp_path, stop_after=1)
    with pytest.raises(MidspanError, match="another configuration"):
        train(replace(TINY, seed=1), tmp_path)


def test_the_checkpoint_loads_and_its_prompts_are_those_of_training(finished, encoder):
    lm = load(str(finished), device="cpu")
    turns = rows_of(encoder) and (
        ("user", "Where is the market?"),
        ("assistant", "Down by the sea."),
        ("user", f"How do I make the {items()[0].title}?"),
    )
    messages = [{"role": role, "content": text} for role, text in turns]
    assert lm.encode_chat(messages) == encoder.prompt(turns)
    text = corpus.answers.card(items()[5])
    assert lm.decode_text(encoder.text(text)) == text


def test_masks_and_labels_lie_on_the_canvas(encoder):
    for made in batches(rows_of(encoder), 1500):
        batch = diffusion_batch(made, encoder, Masking(0.3, 2.0), random.Random(3))
        canvas = max(row.canvas for row in made)
        ids_BT, labels_BT = batch["input_ids_BT"], batch["labels_BT"]
        assert not (ids_BT[:, :-canvas] == encoder.mask).any()
        chosen_BT = labels_BT != IGNORED
        assert (ids_BT[chosen_BT] == encoder.mask).all()
        assert (batch["weight_BT"][chosen_BT] > 0).all()
        for row, ids, labels in zip(made, ids_BT, labels_BT, strict=True):
            whole = torch.where(labels == IGNORED, ids, labels)[-canvas:][: len(row.answer)]
            assert whole.tolist() == row.answer
        full = (ids_BT[:, -canvas:] == encoder.mask).all(1).sum()
        assert full >= round(len(made) * 0.3)


def far_ends(encoder, masking):
    """Of rows on whole canvases: counted ends further than the margin behind the answer, of all."""
    made = [replace(row, canvas=corpus.answers.CANVAS) for row in rows_of(encoder)]
    batch = diffusion_batch(made, encoder, masking, random.Random(3))
    counted, far = 0, 0
    for row, labels in zip(made, batch["labels_BT"][:, -corpus.answers.CANVAS :], strict=True):
        behind = labels[len(row.answer) + MARGIN :]
        counted, far = counted + int((behind != IGNORED).sum()), far + len(behind)
    return counted / far


def test_ends_far_behind_an_answer_count_as_asked(encoder):
    assert far_ends(encoder, Masking(1.0, ends=1.0)) == 1
    assert 0.05 < far_ends(encoder, Masking(1.0)) < 0.15


def test_a_canvas_is_shown_from_a_place_behind_its_answer_on(encoder):
    made = [replace(row, canvas=corpus.answers.CANVAS) for row in rows_of(encoder)]
    batch = diffusion_batch(made, encoder, Masking(1.0, ends=1.0, shown=1.0), random.Random(3))
    places = []
    for row, ids in zip(made, batch["input_ids_BT"][:, -corpus.answers.CANVAS :], strict=True):
        is_masked = ids == encoder.mask
        place = int(is_masked.sum())
        assert is_masked[:place].all() and place >= len(row.answer)
        assert (ids[place:] == encoder.eos).all()
        places.append(place)
    assert len(set(places)) > len(places) / 3


def test_batches_hold_every_row_once_and_no_more_tokens_than_asked(encoder):
    rows = rows_of(encoder, 60)
    made = batches(rows, 1200)
    assert sorted(id(row) for batch in made for row in batch) == sorted(map(id, rows))
    for batch in made:
        size = max(len(row.prompt) for row in batch) + max(row.canvas for row in batch)
        assert len(batch) == 1 or size * len(batch) <= 1200


def test_the_twin_predicts_each_answer_token_and_one_end(encoder):
    rows = rows_of(encoder, 8)
    batch = causal_batch(rows, encoder, 1.0)
    for row, ids, labels in zip(rows, batch["input_ids_BT"], batch["labels_BT"], strict=True):
        places = (labels != IGNORED).nonzero().flatten()
        assert labels[places].tolist()[: len(row.answer)] == row.answer
        assert len(places) in (len(row.answer), len(row.answer) + 1)
        assert torch.equal(ids[places + 1], labels[places])


def test_the_twin_sees_nothing_behind_a_token(encoder):
    config = replace(TINY, causal=True)
    model = training.build_model(config, encoder)
    torch.nn.init.normal_(model.lm_head.weight)
    ids_BT = torch.randint(6, 3000, (1, 12))
    other_BT = ids_BT.clone()
    other_BT[0, 8:] = 7
    seen = [model(input_ids=ids).logits[0, :8] for ids in (ids_BT, other_BT)]
    assert torch.equal(*seen)


def test_the_curriculum_names_kinds_that_exist_and_ends_at_one():
    assert [stage.until for stage in curriculum.STAGES] == sorted(
        s.until for s in curriculum.STAGES
    )
    assert curriculum.STAGES[-1].until == 1
    for stage in curriculum.STAGES:
        assert set(stage.kinds) <= set(corpus.SAMPLE_KINDS)


def test_names_take_several_pieces_and_the_shipped_merges_are_those_of_the_language(encoder):
    sizes = [len(encoder.text(f" {item.name}")) for item in items()]
    assert set(sizes) == {2}
    values = {word for kind, pool in pools.FACT_POOLS.items() for word in pool}
    assert all(len(encoder.text(f" {word}")) == 1 for word in values)
    assert encoder.backend.get_vocab_size() == 3893
    learned = tokenizer.learn(conversations=20).to_str()
    assert learned == tokenizer.learn(conversations=20).to_str()


@pytest.mark.parametrize("kind", corpus.SAMPLE_KINDS)
def test_every_answer_ends_on_the_canvas(kind, encoder):
    rng = random.Random(kind)
    draw = corpus.Draw(rng, items())
    for _ in range(25):
        row = encoder.sample(corpus.sample(kind, draw), 0.2, rng)
        assert len(row.answer) < row.canvas <= corpus.answers.CANVAS


def test_the_embeddings_that_the_first_layer_looks_for_stay_as_they_are_set(finished, encoder):
    key = "model.transformer.wte.weight"
    trained = load_file(finished / "model.safetensors")[key]
    start = training.build_model(TINY, encoder).model.embed_tokens.weight
    moved_V = (trained != start).any(dim=1)
    pieces = torch.tensor(encoder.name_pieces)
    assert len(pieces) == 56
    assert not moved_V[pieces].any()
    assert moved_V.sum() > 100


def test_a_tokenizer_that_cuts_names_elsewhere_is_refused_before_training(monkeypatch, tmp_path):
    assert tokenizer.miscut(tokenizer.load_backend()) == ()
    monkeypatch.setattr(pools, "NAMES", (*pools.NAMES, "Velloom"))
    with pytest.raises(MidspanError, match=r"pools: 1 names are cut elsewhere .*: Velloom;"):
        train(TrainConfig(), tmp_path)
    assert not list(tmp_path.iterdir())
