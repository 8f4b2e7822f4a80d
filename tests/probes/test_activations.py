import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.decoding import decode
from midspan.errors import MidspanError
from midspan.probes.activations import (
    RESPONSE_MEAN,
    Activations,
    ActivationsConfig,
    chosen_layers,
    read_states,
    shown_at,
)
from midspan.probes.linear import balanced_accuracy, folds, held_out_decisions, ridge

CONFIG = ActivationsConfig(
    positions=(-1, 0, 20), progress=(0.0, 0.5), num_folds=2, shuffles=3, penalty=0.1
)


@settings(max_examples=20, deadline=None)
@given(num=st.integers(6, 20), width=st.integers(1, 30), seed=st.integers(0, 99))
def test_ridge_solves_its_normal_equations(num, width, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, width, generator=generator, dtype=torch.float64)
    test = torch.randn(4, width, generator=generator, dtype=torch.float64)
    labels = torch.arange(num) % 3 == 0
    mean, scale = x.mean(0), x.std(0, correction=0)
    weight = torch.where(labels, num / (2 * labels.sum()), num / (2 * (~labels).sum())).double()
    a, b = (x - mean) / scale, (test - mean) / scale
    strength = 0.1 * (weight * a.pow(2).sum(1)).mean()
    y = torch.where(labels, 1.0, -1.0).double()
    normal = a.T @ (weight[:, None] * a) + strength * torch.eye(width, dtype=torch.float64)
    expected = b @ torch.linalg.solve(normal, a.T @ (weight * y))
    assert torch.allclose(ridge(x, labels, test, 0.1), expected, atol=1e-6)


@given(st.integers(2, 5), st.integers(0, 9), st.integers(0, 9))
def test_no_group_is_on_both_sides(num_folds, extra, seed):
    groups = [f"g{i % (2 * num_folds + extra)}" for i in range(60)]
    labels = [int(group[1:]) < num_folds for group in groups]
    found = folds(groups, labels, num_folds, seed)
    assert len({(g, f) for g, f in zip(groups, found, strict=True)}) == len(set(groups))
    for label in (True, False):
        assert {f for f, y in zip(found, labels, strict=True) if y is label} == set(
            range(num_folds)
        )


def test_a_signal_is_found_and_noise_is_not():
    generator = torch.Generator().manual_seed(0)
    groups = [f"g{i // 2}" for i in range(80)]
    labels = [i // 2 % 2 == 0 for i in range(80)]
    noise = torch.randn(80, 40, generator=generator)
    signal = noise.clone()
    signal[:, 7] += torch.tensor(labels) * 8
    fold = folds(groups, labels, 5, 0)
    accuracy = [
        balanced_accuracy(held_out_decisions(x, x, labels, fold, 0.1), labels)
        for x in (signal, noise)
    ]
    assert accuracy[0] > 0.9 and 0.25 < accuracy[1] < 0.75


def test_memorised_groups_do_not_help():
    """Features that name the group separate perfectly when it is seen, and not at all held out."""
    groups = [f"g{i // 4}" for i in range(48)]
    labels = [i // 4 % 2 == 0 for i in range(48)]
    x = torch.nn.functional.one_hot(torch.arange(48) // 4).double()
    fold = folds(groups, labels, 3, 0)
    assert balanced_accuracy(held_out_decisions(x, x, labels, fold, 0.1), labels) <= 0.5
    assert (ridge(x, torch.tensor(labels), x, 0.1) > 0).tolist() == labels


def test_states_are_those_of_one_row_alone(context, data):
    from midspan.decoding import Request

    lm = context.lm
    requests = [Request(tuple(lm.encode_chat(request.prompt + " the sea" * i)))
                for i, request in enumerate(data.requests[:3])]  # fmt: skip
    made = decode(lm, requests, context.decodings["one block"])
    canvases = [shown_at(one, 4, lm.tokens.mask) for one in made]
    assert all(canvas.count(lm.tokens.mask) == 16 for canvas in canvases)
    layers = chosen_layers(lm, 9)
    assert layers == [0, 1, 2]
    found = read_states(context, requests, canvases, (layers, (-1, 5)))
    for row, (request, canvas) in enumerate(zip(requests, canvases, strict=True)):
        with torch.no_grad():
            ids = torch.tensor([[*request.prompt_ids, *canvas]])
            states = lm.base.model(input_ids=ids, output_hidden_states=True).hidden_states
        start = len(request.prompt_ids)
        # transformers' last entry is behind the final norm, so the last layer is not compared.
        for index, layer in enumerate(layers[:-1]):
            one = states[layer][0]
            expected = torch.stack([one[start - 1], one[start + 5], one[start:].mean(0)])
            assert torch.allclose(found[row, index], expected, atol=1e-5)
    assert torch.equal(found, read_states(context, requests, canvases, (layers, (-1, 5))))


def test_one_record_a_place_and_a_second_model_is_compared(context, data):
    probe = Activations()
    first = probe(context, data, CONFIG)
    assert len(first) == 2 * 2 * 3 * 4
    assert {row["position"] for row in first} == {-1, 0, 20, RESPONSE_MEAN}
    assert all(row["n"] == 8 and len(row["permuted_accuracy"]) == 3 for row in first)
    # Before the first layer the prompt's last token and a masked canvas are the same for all.
    blind = [row for row in first if row["layer"] == 0 and row["progress"] == 0]
    assert {row["balanced"] for row in blind} == {0.5}
    second = probe(context, data, CONFIG)
    for one, two in zip(first, second, strict=True):
        assert two["transferred_accuracy"] == two["balanced"] == one["balanced"]
        assert two["cosine"] is None or two["cosine"] == pytest.approx(1)
    assert all(row["cosine"] is None for row in second if row["layer"] + row["progress"] == 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_folds": 3}, "num_folds=3: there are 2 harmful and 2 benign groups"),
     ({"positions": (40,)}, r"positions: 40 is outside -1\.\.31")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(context, data, changes, message):
    with pytest.raises(MidspanError, match=message):
        Activations()(context, data, CONFIG.model_copy(update=changes))
