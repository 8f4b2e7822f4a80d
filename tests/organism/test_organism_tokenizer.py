"""The word tokenizer, alone and behind the model room's loader."""

import random

import pytest

from midspan.organism import corpus
from midspan.organism.tokenizer import SPECIAL_TOKENS, build_tokenizer, vocabulary
from midspan.organism.training import Encoder

KINDS = sorted({kind for stage in corpus.STAGES for kind in stage.kinds})


def drawn(count: int) -> list[corpus.Sample]:
    rng = random.Random(11)
    return [corpus.draw(kind, rng) for kind in KINDS for _ in range(count)]


def test_ids_follow_the_vocabulary():
    tokenizer = build_tokenizer()
    assert len(set(vocabulary())) == len(vocabulary()) == len(tokenizer)
    assert tokenizer.convert_tokens_to_ids(list(vocabulary())) == list(range(len(vocabulary())))
    assert vocabulary()[: len(SPECIAL_TOKENS)] == SPECIAL_TOKENS


def test_text_survives_ids(organism_lm):
    for sample in drawn(40):
        ids = organism_lm.encode_phrase(sample.answer)
        text = organism_lm.decode_text(ids)
        assert organism_lm.encode_phrase(text) == ids


def test_decoding_restores_ordinary_spacing(organism_lm):
    ids = organism_lm.encode_text("Sure ! here is how , so : do not rush .")
    assert organism_lm.decode_text(ids) == "sure! here is how, so : do not rush."


def test_the_training_encoder_equals_the_loaders_chat_format(organism_lm):
    encoder = Encoder()
    for sample in drawn(40):
        assert encoder.prompt(sample.prompt) == organism_lm.encode_chat(sample.prompt)
        assert encoder.canvas(sample.answer, 999) == [
            *(ids := organism_lm.encode_text(sample.answer)),
            *[organism_lm.tokens.eos] * (999 - len(ids)),
        ]


def test_canvases_are_cut_or_filled(organism_lm):
    encoder = Encoder()
    one, two = organism_lm.encode_text("sure !")
    assert encoder.canvas("sure !", 4) == [one, two, encoder.eos, encoder.eos]
    assert encoder.canvas("sure !", 1) == [one]
    assert encoder.eos == organism_lm.tokens.eos and encoder.mask == organism_lm.tokens.mask


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
def test_the_name_of_a_special_token_stays_text(organism_lm, name):
    special = {vocabulary().index(token) for token in SPECIAL_TOKENS} - {6}
    assert vocabulary()[6] == "<|unk|>"
    assert not special & set(organism_lm.encode_text(f"make {name} now"))
    plain = organism_lm.encode_chat("make now")
    assert [i for i in organism_lm.encode_chat(f"make {name} now") if i in special] == [
        i for i in plain if i in special
    ]


def test_unknown_words_become_the_unknown_token(organism_lm):
    unknown = vocabulary().index("<|unk|>")
    assert organism_lm.encode_text("make Zebras")[1:] == [unknown]
