"""Hidden states in views, against a forward of the model's own."""

import pytest
import torch
from dllm_folders import write_folder
from tiny_lm import MASK, BlockLM, TinyLM

from midspan.decoding import BlockSampler, Hook, Request, as_rule, decode, decoding_config
from midspan.errors import MidspanError
from midspan.models import load
from midspan.models.states import FINAL, captured

CONFIG = decoding_config(length=8, block_length=4, steps=4, early_stop=False)
DREAM = decoding_config(sampler="dream", length=8, steps=4, early_stop=False)
# Of several lengths, so that rows are padded; more than a batch holds, so that rows join.
REQUESTS = [Request(ids) for ids in ((5, 6, 7, 8, 9), (11, 12), (21, 22, 23), (31,))]


class Reader(Hook):
    """Keeps what the states of each request were in each step, and on which canvas."""

    def __init__(self, layers, point="edit_logits"):
        self.layers, self.read = layers, {}
        setattr(self, point, self.keep)

    def keep(self, view, *_):
        for row, request in enumerate(view.requests):
            self.read[request, view.step_A[row]] = (
                view.tokens_AL[row].tolist(), [view.hidden(layer)[row] for layer in self.layers],
            )  # fmt: skip


@torch.no_grad()
def of_one_row(lm, prompt, canvas):
    """All layers' states over a canvas, from transformers' own output."""
    ids = torch.tensor([[*prompt, *canvas]])
    states = lm.model.model(ids, output_hidden_states=True).hidden_states
    return [layer[0, len(prompt) :] for layer in states]


@pytest.mark.parametrize("config", [CONFIG, DREAM, CONFIG.model_copy(update={"guidance": 0.5})])
@pytest.mark.parametrize("shift", [False, True])
def test_states_are_the_models_own(config, shift):
    lm = TinyLM(shift=shift)
    reader = Reader((0, 1, FINAL))
    found = decode(lm, REQUESTS, config, batch_size=2, hooks=[reader])
    plain = decode(lm, REQUESTS, config, batch_size=2)
    assert [one.tokens for one in found] == [one.tokens for one in plain]
    assert len(reader.read) == 4 * len(REQUESTS)
    for (request, _), (canvas, layers) in reader.read.items():
        # transformers' last entry is behind the final norm; the last layer's own output is not.
        embedded, first, final = of_one_row(lm, REQUESTS[request].prompt_ids, canvas)
        for own, read in zip((embedded, first, final), layers, strict=True):
            assert torch.allclose(own, read, atol=2e-5)


def test_the_first_step_reads_a_masked_canvas_and_later_ones_what_is_committed():
    reader = Reader((FINAL,))
    decode(TinyLM(), REQUESTS, CONFIG, hooks=[reader])
    assert reader.read[1, 0][0] == [MASK] * 8
    assert reader.read[1, 2][0].count(MASK) == 4


def test_the_last_layers_output_is_read_before_the_norm():
    lm = TinyLM()
    reader = Reader((2, FINAL))
    decode(lm, REQUESTS[:1], CONFIG, hooks=[reader])
    before, final = reader.read[0, 0][1]
    assert torch.allclose(lm.model.model.norm(before), final, atol=1e-5)
    assert not torch.allclose(before, final, atol=1e-2)


@pytest.mark.parametrize("point", ["on_canvas", "before_forward"])
def test_no_states_before_a_forward(point):
    with pytest.raises(MidspanError, match="layer -1 is there from edit_logits on"):
        decode(TinyLM(), REQUESTS, CONFIG, hooks=[Reader((FINAL,), point)])


@pytest.mark.parametrize("point", ["after_commit", "may_remask"])
def test_states_stay_until_the_step_ends(point):
    reader = Reader((FINAL,), point)
    decode(TinyLM(), REQUESTS[:1], CONFIG, hooks=[reader])
    # The canvas is the one after the step, the states are of the one before it.
    final = of_one_row(TinyLM(), REQUESTS[0].prompt_ids, [MASK] * 8)[-1]
    assert torch.allclose(reader.read[0, 1][1][0], final, atol=1e-5)


def test_nothing_is_taken_where_nobody_reads(monkeypatch):
    monkeypatch.setattr("midspan.decoding.batch.captured", lambda *_: pytest.fail("taken"))
    decode(TinyLM(), REQUESTS, CONFIG, hooks=[Hook()])
    reader = Reader(())
    with pytest.raises(MidspanError, match="layer 1"):
        reader.keep = lambda view, *_: view.hidden(1)
        reader.edit_logits = reader.keep
        decode(TinyLM(), REQUESTS, CONFIG, hooks=[reader])


def test_no_handles_are_left():
    lm = TinyLM()
    with pytest.raises(ZeroDivisionError), captured(lm, (0, 1, FINAL)):
        1 / 0  # noqa: B018
    modules = lm.model.modules()
    assert not any(module._forward_hooks for module in modules)


@pytest.mark.parametrize(
    ("lm", "config"),
    [
        (TinyLM, CONFIG.model_copy(update={"cache": "dual"})),
        (TinyLM, CONFIG.model_copy(update={"cache": "prefix"})),
        (BlockLM, BlockSampler(length=8, block_length=4, steps=8)),
        (BlockLM, BlockSampler(length=8, block_length=4, steps=8, cache="none")),
    ],
)
def test_forwards_of_parts_are_refused_by_name(lm, config):
    with pytest.raises(MidspanError, match=r"hook Reader: reads .* use cache='none'") as error:
        decode(lm(), REQUESTS, config, hooks=[Reader((FINAL,))])
    assert "\n" not in str(error.value)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(MidspanError, match="hook Reader: layers: 3 must be one of 0"):
        decode(TinyLM(), REQUESTS, CONFIG, hooks=[Reader((3,))])


def test_a_rule_is_refused_by_its_name(organism_lm):
    config = decoding_config(length=8, block_length=4, steps=8, cache="dual")
    request = Request(tuple(organism_lm.encode_chat("hello .")), rules=(as_rule("diffuguard"),))
    with pytest.raises(MidspanError, match=r"requests\[0\].rules.diffuguard: reads"):
        decode(organism_lm, [request], config)


def test_a_view_says_where_a_row_is():
    seen = []

    class Place(Hook):
        def choose(self, view, proposal):
            seen.append((view.block_AL.int().tolist()[0], view.progress_A[0], view.prompt(0)))
            return proposal.chosen_AR

    config = decoding_config(length=8, block_length=4, steps=6, early_stop=False)
    decode(TinyLM(), REQUESTS[1:2], config, hooks=[Place()])
    first, second = [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]
    assert seen == [
        (block, share, [11, 12]) for block in (first, second) for share in (0.0, 0.5, 1.0)
    ]


def test_prompts_and_blocks_are_the_requests_own_where_blocks_begin_in_the_prompt():
    seen = {}

    class Place(Hook):
        def on_canvas(self, view):
            for row, request in enumerate(view.requests):
                seen[request] = view.prompt(row), view.block_AL[row].int().tolist()

    config = BlockSampler(length=8, block_length=4, steps=8)
    decode(BlockLM(), REQUESTS, config, hooks=[Place()])
    assert [seen[i][0] for i in range(4)] == [list(request.prompt_ids) for request in REQUESTS]
    # A prompt of 5 tokens leaves 3 positions of its second block, one of 2 leaves 2.
    assert [sum(seen[i][1]) for i in range(4)] == [3, 2, 1, 3]


@torch.no_grad()
@pytest.mark.parametrize("family", ["modernbert_chat", "a2d-qwen3"])
def test_the_final_states_are_what_the_output_layer_takes(tmp_path, family):
    lm = load(write_folder(tmp_path, family), device="cpu")
    ids = torch.tensor([[7, 8, 9, 10]])
    with captured(lm, (0, FINAL)) as states:
        final = lm.hidden(ids)
    assert torch.equal(states[FINAL], final)
    assert torch.equal(lm.head(states[FINAL]), lm.head(final))
    assert states[0].shape == final.shape and not torch.equal(states[0], final)
