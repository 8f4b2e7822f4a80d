"""Rules that act on conversations: copies and their vote, what is rejected, who may do both."""

import math
from collections import Counter

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from midspan.decoding import as_rule, chat_request, decode, decoding_config
from midspan.decoding.rule import hear
from midspan.decoding.trace import REJECTION
from midspan.errors import MidspanError

ASK = "how do i make the lomthorn lantern ?"
TURNS = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "second"},
    {"role": "user", "content": ASK},
)


def config_of(*rules):
    return decoding_config(sampler="llada", length=12, steps=12, early_stop=False, rules=rules)


@pytest.fixture
def scorer(organism_lm, tmp_path):
    """A hand-sized causal model over the organism's words, in a folder."""
    folder = tmp_path / "scorer"
    torch.manual_seed(0)
    size = len(organism_lm.tokenizer)
    GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=1)).save_pretrained(
        folder
    )
    organism_lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["swap", "insert", "patch"])
def test_copies_change_their_share_of_the_last_request_alone(kind):
    rule = as_rule({"rule": "smoothllm", "count": 4, "share": 0.25, "kind": kind})
    heard = hear(TURNS, (rule,), seed=3)
    assert heard.messages == TURNS and len(heard.copies) == 4
    size = len(ASK) // 4
    for copy in heard.copies:
        assert tuple(copy[:3]) == TURNS[:3]
        text = copy[3]["content"]
        if kind == "insert":
            assert len(text) == len(ASK) + size
            letters = iter(text)
            assert all(letter in letters for letter in ASK)  # in order, with others between
            continue
        assert len(text) == len(ASK)
        changed = [place for place, (a, b) in enumerate(zip(text, ASK, strict=True)) if a != b]
        assert 0 < len(changed) <= size
        if kind == "patch":
            assert changed[-1] - changed[0] < size
    assert len({copy[3]["content"] for copy in heard.copies}) == 4
    assert hear(TURNS, (rule,), seed=3) == heard
    assert hear(TURNS, (rule,), seed=4) != heard


def test_a_vote_draws_from_the_majority_and_a_tie_refuses():
    rule = as_rule("smoothllm")
    texts = ["Sure.", "I CANNOT do that", "Here it is.", "I can\N{RIGHT SINGLE QUOTATION MARK}t"]
    drawn = Counter(rule.vote(texts, seed) for seed in range(60))
    assert set(drawn) == {1, 3}
    assert set(Counter(rule.vote([*texts, "Step 1"], seed) for seed in range(60))) == {0, 2, 4}


def test_copies_are_decoded_in_place_of_the_prompt_and_one_is_the_answer(organism_lm):
    rule = as_rule({"rule": "smoothllm", "count": 3})
    config = config_of(rule)
    request, plain = (
        chat_request(organism_lm, text, config_of(*rules), seed=5)
        for text, rules in ((ASK, (rule,)), ("what is 1 plus 1 ?", ()))
    )
    before, answer, after = decode(organism_lm, [plain, request, plain], config)
    alone = [
        decode(organism_lm, [chat_request(organism_lm, turns, config_of())], config_of())[0]
        for turns in hear(ASK, (rule,), 5).copies
    ]
    chosen = alone[rule.vote([one.text for one in alone], 5)]
    assert answer.tokens == chosen.tokens and answer.text == chosen.text
    assert answer.forwards == sum(one.forwards for one in alone)
    assert before.tokens == after.tokens == decode(organism_lm, [plain], config)[0].tokens


def naive_windows(scorer, text, window):
    """Perplexity of each window, a token at a time."""
    from transformers import AutoTokenizer

    model = GPT2LMHeadModel.from_pretrained(scorer).eval()
    ids = AutoTokenizer.from_pretrained(scorer)(text, add_special_tokens=False).input_ids
    losses = []
    for place in range(1, len(ids)):
        with torch.no_grad():
            logits_V = model(torch.tensor([ids[:place]])).logits[0, -1]
        losses.append(-math.log(float(logits_V.softmax(-1)[ids[place]])))
    parts = [losses[start : start + window] for start in range(0, len(losses), window)]
    return [math.exp(sum(part) / len(part)) for part in parts]


@pytest.mark.parametrize("window", [3, None])
def test_the_highest_window_decides_whether_a_request_is_rejected(organism_lm, scorer, window):
    highest = max(naive_windows(scorer, ASK, window or 99))
    for factor, is_rejected in ((0.999, True), (1.001, False)):
        rule = as_rule({
            "rule": "perplexity_filter", "scorer": str(scorer), "window": window,
            "threshold": highest * factor,
        })  # fmt: skip
        assert rule.rejects(TURNS) is is_rejected
    assert rule.rejects(TURNS[:1]) is False
    assert rule.rejects([{"role": "user", "content": "lantern"}]) is False


def test_what_is_rejected_is_not_decoded_and_says_by_whom(organism_lm, scorer):
    rule = as_rule({"rule": "perplexity_filter", "scorer": str(scorer), "threshold": 1.01})
    config = config_of(rule)
    anchored = chat_request(organism_lm, ASK, config, {3: 7})
    (answer,) = decode(organism_lm, [anchored], config)
    assert answer.text == REJECTION and answer.rejected_by == "perplexity_filter"
    assert answer.forwards == 0 and len(answer.trace) == 0
    mask = organism_lm.tokens.mask
    assert list(answer.tokens) == [mask, mask, mask, 7, *[mask] * 8]


def test_rules_on_conversations_act_in_their_order(scorer):
    reminder, copies = as_rule({"rule": "self_reminder", "before": "B"}), as_rule("smoothllm")
    heard = hear(ASK, (reminder, as_rule("past_end"), copies))
    assert heard.messages[0]["content"].startswith("B\n")
    with pytest.raises(MidspanError, match="smoothllm makes copies; put self_reminder before"):
        hear(ASK, (copies, reminder))
    with pytest.raises(MidspanError, match="put smoothllm before it, or leave it out"):
        hear(ASK, (copies, copies))


def test_a_scorer_that_is_not_there_is_one_line(tmp_path):
    rule = as_rule({"rule": "perplexity_filter", "scorer": str(tmp_path)})
    with pytest.raises(MidspanError, match="scorer: cannot load .*; name a causal model") as error:
        rule.rejects(TURNS)
    assert "\n" not in str(error.value)
