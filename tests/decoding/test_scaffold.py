import math

import pytest

from midspan.decoding import (
    Request,
    decode,
    decoding_config,
    merge_anchors,
    scaffold_anchors,
    user_canvas,
)
from midspan.decoding.scaffold import Hole, parse_scaffold
from midspan.errors import MidspanError

USER = ({"role": "user", "content": "write a poem about the sea"},)


def test_a_scaffold_is_texts_and_holes(real_lm):
    assert parse_scaffold(real_lm, "the [4] and [2].") == ["the", Hole(4), " and", Hole(2), "."]
    assert parse_scaffold(real_lm, "[1]") == [Hole(1)]
    assert parse_scaffold(real_lm, "[3 words]") == [Hole(4)]
    assert parse_scaffold(real_lm, "the next step [3 words]") == ["the next step", Hole(3)]
    rate = len(real_lm.encode_text("the xyzzy")) / 2
    assert rate > 1
    assert parse_scaffold(real_lm, "the [2 words] xyzzy")[1] == Hole(math.ceil(2 * rate))


@pytest.mark.parametrize("text", ["no hole", "a [0] b", "a [0 words] b", "[x]"])
def test_a_scaffold_without_holes_is_refused(real_lm, text):
    with pytest.raises(MidspanError, match=r"scaffold: must have holes"):
        parse_scaffold(real_lm, text)


def test_what_is_read_around_holes_is_what_was_written(real_lm):
    anchors, length = scaffold_anchors(real_lm, "the [2] and[1] sea.")
    texts, run = [], []
    for position in range(length + 1):
        if position in anchors:
            run.append(anchors[position])
        elif run:
            texts.append(real_lm.tokenizer.decode(run))
            run = []
    assert texts == ["the", " and", " sea."]
    assert length == len(anchors) + 3


@pytest.mark.parametrize("extend", [0, 5])
def test_a_canvas_in_the_users_turn_is_the_prompt_with_masks(real_lm, extend):
    text = "\nfirst [3] and then [2]."
    canvas = user_canvas(real_lm, USER, text, extend)
    mask = real_lm.tokens.mask
    row = [*canvas.prompt_ids, *(canvas.anchors.get(p, mask) for p in range(canvas.length))]
    assert row.count(mask) == 5 + extend
    # The chat prompt of the same text with other words in the holes has the same frame.
    plain = real_lm.encode_chat(USER)
    shown = real_lm.tokenizer.decode(row)
    name = real_lm.tokenizer.convert_ids_to_tokens(mask)
    asked = real_lm.tokenizer.decode(plain)
    begin = asked.index(USER[0]["content"]) + len(USER[0]["content"])
    masked = text.replace(" [3]", name * 3).replace(" [2]", name * 2)
    assert shown == asked[:begin] + masked + asked[begin:] + name * extend


def test_its_text_is_the_filled_scaffold(real_lm):
    canvas = user_canvas(real_lm, USER, "\nfirst [3] and then [2].")
    config = decoding_config(
        sampler="llada", length=canvas.length, steps=canvas.length, early_stop=False
    )
    (found,) = decode(real_lm, [Request(canvas.prompt_ids, canvas.anchors)], config)
    text = canvas.text(real_lm, found.tokens)
    assert text.startswith("first")
    assert " and then" in text
    assert "assistant" not in text
    assert USER[0]["content"] not in text
    assert all(found.tokens[p] == token for p, token in canvas.anchors.items())


def test_a_mask_in_the_users_own_text_is_no_hole(real_lm):
    turns = ({"role": "user", "content": "a \N{OBJECT REPLACEMENT CHARACTER} b"},)
    canvas = user_canvas(real_lm, turns, " [2]")
    row = [*canvas.prompt_ids, *(canvas.anchors.get(p, -1) for p in range(canvas.length))]
    assert row.count(-1) == 2
    assert real_lm.tokens.mask not in row


def test_scaffolds_stand_behind_the_users_turn_alone(real_lm):
    for turns in ((), (*USER, {"role": "assistant", "content": "sure"})):
        with pytest.raises(MidspanError, match="the user's"):
            user_canvas(real_lm, turns, "[1]")


def test_words_that_the_vocabulary_lacks_are_refused(organism_lm):
    with pytest.raises(MidspanError, match="vocabulary lacks"):
        scaffold_anchors(organism_lm, "xyzzy [2]")


def test_anchors_and_scaffold_must_not_meet(organism_lm):
    anchors, _ = scaffold_anchors(organism_lm, "the lantern [2]")
    with pytest.raises(MidspanError, match="overlap"):
        merge_anchors(anchors, {0: 5})
