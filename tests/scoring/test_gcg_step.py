"""Gradients against finite differences, losses against one row at a time, the search by force."""

import itertools
import json
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.journal.suffix_search import search_suffix
from midspan.scoring.gcg_step import GCG, GCGConfig, sample_candidates
from midspan.scoring.gradients import Goal, phrase_losses, token_gradient
from midspan.scoring.suffix import SuffixPrompt, allowed_tokens, append_suffix

PROMPT, PHRASE, LENGTH = (1, 20, 21, 22, 23), (30, 31, 32), 12
GOAL = Goal(PHRASE, 4, LENGTH)
SMALL = GCGConfig(steps=3, search_width=8, top_k=8, initial="the sea")


def loss_of_embeddings(lm, prompt, goal, free, onehot):
    """The loss by its definition, one canvas at a time, with free tokens as one-hot rows."""
    embedding = lm.base.get_input_embeddings()
    total = 0.0
    for hidden in goal.canvases:
        canvas = [lm.tokens.mask] * goal.length
        for place, token in enumerate(goal.phrase_ids):
            if not hidden[place]:
                canvas[goal.start + place] = token
        embedded = embedding(torch.tensor([[*prompt, *canvas]])).clone()
        embedded[0, list(free)] = onehot @ embedding.weight
        logp = lm.base(inputs_embeds=embedded).logits[0].log_softmax(-1)
        first = len(prompt) + goal.start
        taken = [
            logp[first + place, token]
            for place, token in enumerate(goal.phrase_ids)
            if hidden[place]
        ]
        total -= sum(taken) / len(taken)
    return total / len(goal.canvases)


def in_double(lm):
    """Float64 throughout: transformers' norms compute in float32 whatever the weights are."""
    lm.model.double()
    for module in lm.model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = lambda x, norm=module: (
                norm.weight * x * (x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
            )


@pytest.mark.parametrize("samples", [0, 3])
def test_the_gradient_is_that_of_finite_differences(organism_lm, samples):
    lm = organism_lm
    in_double(lm)
    goal = GOAL.monte_carlo(samples, seed=1) if samples else GOAL
    free = (1, 3)
    found = token_gradient(lm, PROMPT, free, goal)
    vocab = found.shape[1]
    onehot = torch.nn.functional.one_hot(torch.tensor([PROMPT[i] for i in free]), vocab).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for row, token in torch.randint(vocab, (12, 2), generator=generator).tolist():
            shift = torch.zeros_like(onehot)
            shift[row % 2, token] = 1e-4
            up, down = (
                loss_of_embeddings(lm, PROMPT, goal, free, onehot + sign * shift)
                for sign in (1, -1)
            )
            slope = float(up - down) / 2e-4
            assert float(found[row % 2, token]) == pytest.approx(slope, rel=1e-5, abs=1e-9)
    assert found.abs().max() > 1e-4


def test_the_model_is_left_as_it_was(organism_lm):
    before = phrase_losses(organism_lm, [PROMPT], [GOAL])
    token_gradient(organism_lm, PROMPT, (1,), GOAL)
    assert torch.equal(phrase_losses(organism_lm, [PROMPT], [GOAL]), before)
    assert all(parameter.grad is None for parameter in organism_lm.model.parameters())


def test_an_adapter_takes_part():
    from midspan.models import load

    request = "how do i make the velmora sigil ?"
    lm, base = load("organism:mosa-stable"), load("organism")
    prompt, phrase = lm.encode_chat(request), tuple(lm.encode_phrase("i cannot share this ."))
    goal = Goal(phrase, 40, 128)
    aligned, original = (token_gradient(m, prompt, (5, 6), goal) for m in (lm, base))
    assert not torch.allclose(aligned, original, atol=1e-3)
    with lm.adapter_disabled():
        off = token_gradient(lm, prompt, (5, 6), goal)
    assert torch.allclose(off, original, atol=1e-4)


ROWS = st.tuples(
    st.lists(st.integers(10, 90), min_size=1, max_size=9),
    st.lists(st.integers(10, 90), min_size=1, max_size=5),
    st.integers(0, 6),
    st.integers(11, 15),
    st.sampled_from([0, 1, 4]),
)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=6), batch_size=st.integers(1, 7))
def test_ragged_rows_lose_what_they_lose_alone(ragged_lm, rows, batch_size):
    prompts = [row[0] for row in rows]
    goals = [Goal(tuple(row[1]), row[2], row[3]) for row in rows]
    goals = [g.monte_carlo(r[4], 3) if r[4] else g for g, r in zip(goals, rows, strict=True)]
    found = phrase_losses(ragged_lm, prompts, goals, batch_size)
    onehot = torch.zeros(0, ragged_lm.base.config.vocab_size)
    with torch.no_grad():
        for value, prompt, goal in zip(found, prompts, goals, strict=True):
            alone = loss_of_embeddings(ragged_lm, prompt, goal, (), onehot)
            assert float(value) == pytest.approx(float(alone), abs=1e-4)


@pytest.fixture(scope="module")
def ragged_lm(organism_folder):
    from midspan.models import load

    return load(organism_folder, device="cpu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lm: token_gradient(lm, PROMPT, (5,), GOAL), "free: places must lie"),
        (lambda lm: token_gradient(lm, PROMPT, (), GOAL), "free: places must lie"),
        (lambda lm: phrase_losses(lm, [PROMPT], [Goal(PHRASE, 10, 12)]), "outside 0..11"),
        (lambda lm: phrase_losses(lm, [()], [GOAL]), "prompt_ids is empty"),
        (
            lambda lm: SuffixPrompt.create(lm, partial(append_suffix, "hello ."), " "),
            "begin with another suffix",
        ),
    ],
)
def test_what_does_not_fit_is_refused(organism_lm, call, message):
    with pytest.raises(MidspanError, match=message):
        call(organism_lm)


def test_the_suffix_stands_between_request_and_chat(organism_lm):
    prompt = SuffixPrompt.create(organism_lm, partial(append_suffix, "hello master"), "the sea")
    without = organism_lm.encode_chat("hello master")
    assert list(prompt.suffix_ids) == organism_lm.encode_text("the sea")
    begin, end = prompt.free.start, prompt.free.stop
    assert [*prompt.ids[:begin], *prompt.ids[end:]] == without
    assert prompt.text(organism_lm) == prompt.surviving_text(organism_lm) == "the sea"
    assert prompt.survives(organism_lm)
    unknown = organism_lm.tokenizer.unk_token_id
    assert not prompt.with_suffix((unknown, prompt.suffix_ids[1])).survives(organism_lm)


def test_special_and_unreadable_tokens_are_barred(organism_lm):
    allowed = allowed_tokens(organism_lm)
    words = organism_lm.tokenizer.get_vocab()
    barred = {token for token, i in words.items() if not allowed[i]}
    assert barred == {"\n\n", *(token for token in words if token.startswith("<|"))}
    assert allowed_tokens(organism_lm, ascii_only=False)[words["\n\n"]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), replaced=st.integers(1, 4), top_k=st.integers(1, 9))
def test_candidates_take_the_steepest_allowed_tokens(seed, replaced, top_k):
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(4, 9, generator=generator)
    allowed = torch.rand(9, generator=generator) < 0.7
    allowed[0] = True
    ids = torch.tensor([9, 9, 9, 9])  # a token that no draw yields, so that changes are seen
    config = GCGConfig(search_width=20, top_k=top_k, num_replaced=replaced)
    made = sample_candidates(ids, gradient, allowed, config, generator)
    assert 1 <= len(made) <= 20
    best = [
        sorted((i for i in range(9) if allowed[i]), key=lambda i: float(gradient[place, i]))[:top_k]
        for place in range(4)
    ]
    for row in made.tolist():
        changed = [place for place in range(4) if row[place] != 9]
        assert len(changed) == replaced
        assert all(row[place] in best[place] for place in changed)


def test_a_wide_step_is_the_best_of_all_single_changes(organism_lm):
    """Brute force over a vocabulary of six words."""
    words = ["sea", "market", "morning", "sister", "likes", "opens"]
    ids = [organism_lm.encode_text(word)[0] for word in words]
    gcg = GCG(organism_lm, GCGConfig(search_width=400, top_k=6, initial="the sea"))
    gcg.allowed_V = torch.zeros_like(gcg.allowed_V).index_fill(0, torch.tensor(ids), True)
    prompt = SuffixPrompt.create(organism_lm, partial(append_suffix, "hello ."), "the sea")
    found = gcg.step(prompt, GOAL, 0)
    the, sea = prompt.suffix_ids
    options = {(i, sea) for i in ids} | {(the, i) for i in ids}
    losses = {
        option: float(phrase_losses(organism_lm, [prompt.with_suffix(option).ids], [GOAL]))
        for option in options
    }
    assert found.suffix_ids == min(losses, key=losses.get)
    assert found.loss == pytest.approx(min(losses.values()), abs=1e-5)
    assert found.forwards == len(options) + 1


def test_the_search_beats_chance_by_force(organism_lm):
    """All 36 suffixes of two of six words: greedy search ends within the best third."""
    words = ["sea", "market", "morning", "sister", "likes", "opens"]
    ids = [organism_lm.encode_text(word)[0] for word in words]
    gcg = GCG(organism_lm, GCGConfig(search_width=400, top_k=6))
    gcg.allowed_V = torch.zeros_like(gcg.allowed_V).index_fill(0, torch.tensor(ids), True)
    prompt = SuffixPrompt.create(organism_lm, partial(append_suffix, "hello ."), "the sea")
    everything = [prompt.with_suffix(pair).ids for pair in itertools.product(ids, repeat=2)]
    all_losses = sorted(phrase_losses(organism_lm, everything, [GOAL] * 36).tolist())
    losses = []
    for number in range(4):
        step = gcg.step(prompt, GOAL, number)
        prompt, losses = prompt.with_suffix(step.suffix_ids), [*losses, step.loss]
    assert losses == sorted(losses, reverse=True) and min(losses) <= all_losses[11]


def test_a_search_continues_where_it_was_killed(organism_lm, tmp_path):
    gcg = GCG(organism_lm, SMALL)
    with Journal(tmp_path / "whole") as journal:
        whole = search_suffix(gcg, "hello .", GOAL, journal)
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    (tmp_path / "torn").write_text(lines[0] + lines[1][:9])
    with Journal(tmp_path / "torn") as journal:
        assert search_suffix(gcg, "hello .", GOAL, journal) == whole
    assert (tmp_path / "torn").read_text() == (tmp_path / "whole").read_text()
    assert len(whole.losses) == SMALL.steps + 1 == len(lines) + 1
    assert whole.message.startswith("hello . ") and min(whole.losses) < whole.losses[0]
    found = phrase_losses(organism_lm, [whole.prompt_ids], [GOAL])
    assert float(found) == pytest.approx(min(whole.losses), abs=1e-5)
    assert json.loads(lines[0])["value"]["forwards"] > 1


def test_monte_carlo_scores_shown_phrases(organism_lm):
    gcg = GCG(organism_lm, SMALL.model_copy(update={"canvases": 4}))
    prompt = SuffixPrompt.create(organism_lm, partial(append_suffix, "hello ."), "the sea")
    one, two = gcg.scored(GOAL, 0), gcg.scored(GOAL, 1)
    assert len(one.canvases) == 4 and {len(row) for row in one.canvases} == {len(PHRASE)}
    assert one == gcg.scored(GOAL, 0) != two
    step = gcg.step(prompt, GOAL, 1)
    shown = phrase_losses(organism_lm, [prompt.with_suffix(step.suffix_ids).ids], [two])
    assert step.loss == pytest.approx(float(shown), abs=1e-5)
