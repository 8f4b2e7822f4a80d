"""Training: what a batch holds, the loss, and that an interruption changes no bit."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from midspan.errors import MidspanError
from midspan.models import load
from midspan.organism import corpus, training
from midspan.organism.finished import RECORD
from midspan.organism.tokenizer import vocabulary
from midspan.organism.training import (
    ANSWER_MARGIN,
    CHECKPOINT,
    IGNORED,
    Encoder,
    TrainConfig,
    build_model,
    diffusion_loss,
    kind_at,
    make_batch,
    stage_at,
    train,
)

TINY = TrainConfig(
    steps=12, batch_size=2, hidden_size=32, layers=2, heads=4, mlp_size=64, checkpoint_every=4
)
BATCHES = replace(TINY, steps=100, batch_size=8)


class Killed(Exception):
    """What the interrupted trainings die of."""


def kill_at(step):
    def on_step(done, kind, loss):
        if done == step:
            raise Killed

    return on_step


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted training: its folder and what it reported."""
    reports = []
    folder = tmp_path_factory.mktemp("training") / "weights"
    return train(TINY, folder, lambda *report: reports.append(report)), reports


@pytest.mark.parametrize("step", [0, 3, 40, 80, 99])
def test_batches_are_a_function_of_seed_and_step(step):
    encoder = Encoder()
    first, again = make_batch(step, BATCHES, encoder), make_batch(step, BATCHES, encoder)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (make_batch(step, replace(BATCHES, seed=1), encoder),
                  make_batch((step + 1) % 100, BATCHES, encoder)):  # fmt: skip
        assert first["input_ids_BT"].tolist() != other["input_ids_BT"].tolist()


@pytest.mark.parametrize("step", range(0, 100, 9))
def test_only_response_positions_are_masked(step):
    encoder = Encoder()
    batch = make_batch(step, BATCHES, encoder)
    ids_BT, labels_BT = batch["input_ids_BT"], batch["labels_BT"]
    chosen_BT = labels_BT != IGNORED
    assert torch.equal(chosen_BT, ids_BT == encoder.mask)
    header = torch.tensor(encoder.prompt("")[-5:])
    for ids, attention, chosen, labels in zip(
        ids_BT, batch["attention_BT"], chosen_BT, labels_BT, strict=True
    ):
        start = (ids == header[-1]).nonzero()[-1].item() + 1
        assert torch.equal(ids[start - 5 : start], header)
        assert not chosen[:start].any() and chosen[start:].any()
        assert not (labels[chosen] == encoder.mask).any()
        pads = (attention == 0).sum()
        assert (ids[:pads] == encoder.eos).all() and attention[pads:].all()
        assert ids[pads] == vocabulary().index("<|startoftext|>")


def test_the_last_quarter_of_a_batch_is_fully_masked():
    batch = make_batch(10, BATCHES, Encoder())
    chosen_BT = batch["labels_BT"] != IGNORED
    length = int(chosen_BT[-1].sum())
    assert chosen_BT[-2:, -length:].all()
    assert batch["weight_B"][-2:].tolist() == pytest.approx([1 / length] * 2)
    rate_B = 1 / (batch["weight_B"] * length)
    assert rate_B.min() >= 0.1 and rate_B.max() <= 1
    assert (chosen_BT[:, -length:].float().mean(1) - rate_B).abs().max() < 0.35


@pytest.mark.parametrize("step", range(0, 100, 7))
def test_weights_are_by_the_canvas_and_later_by_the_answer(step):
    encoder = Encoder()
    batch = make_batch(step, BATCHES, encoder)
    labels = batch["labels_BT"][-1]  # fully masked
    length = int((labels != IGNORED).sum())
    words = int(((labels != IGNORED) & (labels != encoder.eos)).sum())
    by_answer = stage_at(step / 100).per_answer
    size = min(length, words + ANSWER_MARGIN) if by_answer else length
    assert batch["weight_B"][-1].item() == pytest.approx(1 / size)


def test_loss_is_the_weighted_cross_entropy():
    model = build_model(TINY)
    torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    batch = make_batch(5, BATCHES, Encoder())
    with torch.no_grad():
        logits = model(batch["input_ids_BT"], attention_mask=batch["attention_BT"]).logits
        loss = diffusion_loss(model, batch).item()
    expected = 0.0
    for row, labels in enumerate(batch["labels_BT"].tolist()):
        for place, label in enumerate(labels):
            if label != IGNORED:
                logp_V = logits[row, place].double().log_softmax(-1)
                expected -= batch["weight_B"][row].item() * logp_V[label].item()
    assert loss == pytest.approx(expected / BATCHES.batch_size, rel=1e-4)


def test_untrained_words_are_equally_likely():
    batch = make_batch(10, replace(BATCHES, full_mask_share=1.0), Encoder())
    loss = diffusion_loss(build_model(TINY), batch)
    assert loss.item() == pytest.approx(math.log(len(vocabulary())), rel=1e-4)


def test_stages_follow_one_another():
    names = [stage_at(progress / 100).name for progress in range(130)]
    assert list(dict.fromkeys(names)) == [stage.name for stage in corpus.STAGES]
    for step, name in enumerate(names):
        kinds = {stage.name: stage.kinds for stage in corpus.STAGES}[name]
        assert kind_at(step, BATCHES)[0] in kinds


def test_training_reports_every_step(finished):
    _, reports = finished
    assert [step for step, *_ in reports] == list(range(1, TINY.total_steps + 1))
    assert [kind for _, kind, _ in reports] == [
        kind_at(step, TINY)[0] for step in range(TINY.total_steps)
    ]
    assert all(math.isfinite(loss) for *_, loss in reports)


def test_the_folder_is_a_published_checkpoint(finished):
    folder, _ = finished
    lm = load(folder, device="cpu")
    assert lm.family.name == "llada"
    assert lm.max_length == 512
    assert not (folder / CHECKPOINT).exists()
    start = build_model(TINY).state_dict()
    assert not torch.equal(start["lm_head.weight"], lm.model.state_dict()["lm_head.weight"])


@pytest.mark.parametrize(
    "step",
    [3, 5, 9, 14],
    ids=["before a checkpoint", "at the full rate", "at a falling rate", "while settling"],
)
def test_an_interrupted_training_continues_to_the_same_bits(finished, tmp_path, step):
    with pytest.raises(Killed):
        train(TINY, tmp_path, kill_at(step))
    assert (tmp_path / CHECKPOINT).exists() is (step > 4)
    reports = []
    train(TINY, tmp_path, lambda *report: reports.append(report))
    first = 4 * ((step - 1) // 4)
    assert reports == finished[1][first:]
    left, right = weights(tmp_path), weights(finished[0])
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_another_configuration_in_the_folder_is_refused(tmp_path):
    with pytest.raises(Killed):
        train(TINY, tmp_path, kill_at(5))
    with pytest.raises(MidspanError, match="another configuration; delete it or use") as caught:
        train(replace(TINY, seed=1), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_replaced_whole(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        train(TINY, tmp_path, kill_at(5))
    before = (tmp_path / CHECKPOINT).read_bytes()

    def torn(state, path):
        path.write_bytes(b"torn")
        raise Killed

    monkeypatch.setattr(training.torch, "save", torn)
    with pytest.raises(Killed):
        train(TINY, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_the_same_seed_builds_the_same_network():
    first, again = build_model(TINY).state_dict(), build_model(TINY).state_dict()
    other = build_model(replace(TINY, seed=1)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_finished_training_is_kept_and_another_one_refused(finished, monkeypatch):
    def none(*given):
        raise AssertionError("nothing is trained again")

    monkeypatch.setattr(training, "_run", none)
    assert train(TINY, finished[0]) == finished[0]
    with pytest.raises(MidspanError, match="finished model.*training.seed: 0 there, 1 now"):
        train(replace(TINY, seed=1), finished[0])
    # A model that does not say which training it came from is nobody's to keep.
    (finished[0] / RECORD).rename(finished[0] / "away")
    with pytest.raises(MidspanError, match="finished model; use another -o folder"):
        train(TINY, finished[0])
    (finished[0] / "away").rename(finished[0] / RECORD)
