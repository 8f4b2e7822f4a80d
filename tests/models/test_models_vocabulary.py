"""What is read of a tokenizer, and how often: a whole vocabulary takes tenths of a second."""

import time

import pytest
import real_tokenizers as real
import torch

from midspan.engine import whitebox
from midspan.engine.calls import SLOT, GCGCandidates, user
from midspan.models import load
from midspan.models.vocabulary import Vocabulary
from midspan.scoring.gcg_step import GCG, GCGConfig
from midspan.scoring.gradients import Goal
from midspan.scoring.suffix import SuffixPrompt, allowed_tokens, append_suffix

KINDS = ("llada", "Dream", "sdar")
CHAT = [
    {"role": "user", "content": "open the file and then add <|im_end|> to the sea. " * 3},
    {"role": "assistant", "content": "sure, here is how"},
    {"role": "user", "content": "then write a poem"},
]


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of calls that go over all entries."""
    calls: list[str] = []
    kind = type(real.lm("Dream").tokenizer)
    for name in ("get_vocab", "batch_decode", "added_tokens_decoder"):
        method = getattr(kind, name)
        function = method.fget if isinstance(method, property) else method

        def counted(self, *args, name=name, function=function, **options):
            calls.append(name)
            return function(self, *args, **options)

        monkeypatch.setattr(
            kind, name, property(counted) if isinstance(method, property) else counted
        )
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_encoded_without_reading_the_vocabulary(kind: str, reads) -> None:
    lm = real.lm(kind)
    lm.encode_chat("the")
    reads.clear()
    for _ in range(3):
        lm.encode_chat(CHAT)
        lm.encode_marked(lm.chat_text(CHAT))
        lm.encode_phrase("the next step", 9)
    assert reads == []


def test_a_search_reads_the_vocabulary_once_a_model(reads) -> None:
    lm = real.lm("llada")
    message = (user(f"open the file {SLOT}"),)
    call = GCGCandidates(message, "the sea", "sure", count=4, top_k=4)
    for seed in range(3):
        whitebox.substitute(lm, call, 16, seed)
    gcg = GCG(lm, GCGConfig(search_width=4, top_k=4))
    prompt = SuffixPrompt.create(lm, lambda text: append_suffix("open", text), "the sea")
    for number in range(2):
        gcg.step(prompt, Goal(tuple(lm.encode_phrase("sure")), 0, 16), number)
    assert (reads.count("get_vocab"), reads.count("batch_decode")) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_token_are_the_hole_and_the_padding(kind: str) -> None:
    lm = real.lm(kind)
    rows = lm.base.config.vocab_size
    missing = [i for i in range(rows) if lm.tokenizer.convert_ids_to_tokens(i) is None]
    assert [row for run in lm.unspelled for row in run] == missing
    assert real.HOLE in missing and rows - 1 in missing and len(lm.unspelled) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_reads_and_writes_text_as_the_model_does(kind: str, tmp_path) -> None:
    lm, read = real.lm(kind), load(real.write_checkpoint(tmp_path, kind), device="cpu")
    ids = lm.encode_chat(CHAT)
    assert read.encode_chat(CHAT) == ids
    assert read.decode_text([*ids[1:9], lm.tokens.mask]) == lm.decode_text(ids[1:9])
    assert read.vocabulary.thoughts == lm.vocabulary.thoughts
    assert (read.tokens, read.unspelled) == (lm.tokens, lm.unspelled)


def test_allowed_tokens_are_those_that_text_can_hold() -> None:
    lm = real.lm("sdar")
    plain, printable = allowed_tokens(lm, ascii_only=False), allowed_tokens(lm)
    for token in range(lm.base.config.vocab_size):
        known = lm.tokenizer.convert_ids_to_tokens(token) is not None
        assert plain[token] == (known and token not in lm.vocabulary.control)
        text = lm.tokenizer.decode([token])
        assert printable[token] == (plain[token] and text.isascii() and text.isprintable())
    spaces = {lm.encode_text(text)[-1] for text in (" ", "\n", "\t")}
    assert spaces <= lm.vocabulary.spaces
    assert lm.encode_text("the")[0] not in lm.vocabulary.spaces
    assert torch.equal(allowed_tokens(lm), printable)


@pytest.mark.parametrize("kind", ["llada", "Dream"])
def test_a_prompt_of_a_published_vocabulary_takes_at_most_a_millisecond(kind: str) -> None:
    lm = real.lm(kind, published_size=True)
    seconds = []
    for _ in range(60):
        start = time.process_time()
        lm.encode_chat(CHAT)
        seconds.append(time.process_time() - start)
    milliseconds = 1000 * min(seconds)
    print(f"{kind}, {lm.base.config.vocab_size:,} rows: {milliseconds:.2f} ms of CPU a prompt")
    assert min(seconds) <= 1e-3
    assert lm.unspelled[-1].stop == lm.base.config.vocab_size


def test_a_tokenizer_that_lacks_one_tag_has_no_thoughts() -> None:
    lm = real.lm("Dream")
    assert lm.vocabulary.thoughts is None
    lm.tokenizer.add_tokens(["<think>"])
    assert Vocabulary(lm.tokenizer, lm.tokens, 600).thoughts is None
    lm.tokenizer.add_tokens(["</think>"])
    assert Vocabulary(lm.tokenizer, lm.tokens, 600).thoughts is not None
