"""Phrases that are placed or scored in a response begin there as text does."""

import pytest
import real_tokenizers as real
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from midspan.data import english_phrases
from midspan.decoding import anchor_phrase, anchor_phrases
from midspan.errors import MidspanError
from midspan.organism import phrases

PHRASES = ("the next step is", "Therefore, I cannot", "however", "I", "first: add salt")
SHAPES = ("llada", "Dream", "sdar")


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_in_the_middle_is_what_running_text_has(kind: str, phrase: str) -> None:
    lm = real.lm(kind)
    front = lm.encode_text("open the file and")
    whole = lm.encode_text(f"open the file and {phrase}")
    ids = lm.encode_phrase(phrase, 20)
    assert [*front, *ids] == whole
    assert lm.decode_text([*front, *ids]) == f"open the file and {phrase}"


@pytest.mark.parametrize("kind", SHAPES)
def test_a_phrase_begins_as_written_at_the_start_and_behind_white_space(kind: str) -> None:
    lm = real.lm(kind)
    plain, spaced = lm.encode_text("the next step"), lm.encode_text(" the next step")
    (newline,), (period,) = lm.encode_text("\n"), lm.encode_text(".")
    assert lm.encode_phrase("the next step") == plain
    assert lm.encode_phrase("the next step", 0, period) == plain
    assert lm.encode_phrase("the next step", 9, newline) == plain
    assert lm.encode_phrase("the next step", 9, period) == spaced
    assert lm.encode_phrase(" the next step", 9) == spaced
    assert lm.encode_phrase("\nthe next step", 9) == lm.encode_text("\nthe next step")


def test_scripts_without_spaces_get_none() -> None:
    lm = real.lm("Dream")
    for phrase in ("下一步是", "つぎに", "「次」", "ขั้นตอน"):
        assert lm.encode_phrase(phrase, 20) == lm.encode_text(phrase)
    assert lm.encode_phrase("다음 단계", 20) == lm.encode_text(" 다음 단계")


def test_nothing_is_no_phrase_anywhere() -> None:
    lm = real.lm("Dream")
    for start in (0, 9):
        with pytest.raises(MidspanError, match="no tokens"):
            lm.encode_phrase("", start)
    assert lm.encode_phrase("\n", 9) == lm.encode_text("\n")


def test_tokenizers_that_put_a_space_before_every_text_do_not_get_two() -> None:
    words = ["▁a", "▁the", "▁next", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    merges = [("▁", "a"), ("▁", "t"), ("▁t", "h"), ("▁th", "e")]
    merges += [("▁", "n"), ("▁n", "e"), ("▁ne", "x"), ("▁nex", "t")]
    words += ["".join(pair) for pair in merges if "".join(pair) not in words]
    backend = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Metaspace()
    lm = real.lm("Dream")
    lm.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    for start in (0, 9):
        ids = lm.encode_phrase("the next", start)
        assert lm.tokenizer.convert_ids_to_tokens(ids) == ["▁the", "▁next"]


def test_a_space_that_would_join_another_token_is_encoded_on_its_own() -> None:
    backend = Tokenizer(models.BPE({"a": 0, " ": 1, "t": 2, "a ": 3}, [("a", " ")]))
    backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    lm = real.lm("Dream")
    lm.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert lm.encode_phrase("t", 9) == [1, 2]


def test_the_words_of_the_organism_are_the_same_everywhere(organism_lm) -> None:
    for phrase in (*phrases.SAFE, *phrases.PROCEDURAL, *phrases.AFFIRMATIVE, *phrases.NEUTRAL):
        ids = organism_lm.encode_text(phrase)
        assert organism_lm.encode_phrase(phrase) == organism_lm.encode_phrase(phrase, 20) == ids


def test_anchors_read_as_text() -> None:
    lm = real.lm("llada")
    assert list(anchor_phrase(lm, "the next", 5).values()) == lm.encode_text(" the next")
    anchors = anchor_phrases(lm, [("the next", 4), ("sure:\n\n", 0)])
    assert [anchors[position] for position in sorted(anchors)] == [
        *lm.encode_text("sure:\n\n"),
        *lm.encode_text("the next"),
    ]
    first = len(lm.encode_text("sure"))
    glued = anchor_phrases(lm, [("sure", 0), ("the next", first)])
    assert lm.decode_text([glued[position] for position in sorted(glued)]) == "sure the next"


def test_every_english_phrase_reads_as_text_in_the_middle() -> None:
    lm, english = real.lm("Dream"), english_phrases()
    for phrase in (*english.safe, *english.procedural, *english.affirmative):
        assert lm.decode_text(lm.encode_phrase(phrase, 20)) == f" {phrase}"
