"""Text to ids and back, so that a user's text never becomes a special token."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from midspan.errors import MidspanError
from midspan.models.family import Family, Message, Piece, PublishedTokens, Special, SpecialTokens


def special_tokens(
    tokenizer: PreTrainedTokenizerFast, config: Any, family: Family
) -> SpecialTokens:
    """The family's special tokens by their ids in this tokenizer.

    Args:
        tokenizer: The checkpoint's tokenizer; ids come from it, by token text.
        config: The checkpoint's config; where it states an id, the tokenizer must agree.
        family: Its table holds for vocabularies of the published size.

    Raises:
        MidspanError: Naming the token that is missing, or numbered differently in two places.
    """
    table = family.special_tokens
    vocabulary = tokenizer.get_vocab()
    texts = {
        role: token.text or getattr(tokenizer, f"{role}_token")
        for role, token in table.items().items()
    }
    ids = {role: vocabulary.get(text) for role, text in texts.items()}
    for role in ("mask", "eos", "pad"):
        if role in ids and ids[role] is None:
            what = texts[role] or role
            raise MidspanError(f"the tokenizer has no {what} token ({family.name}'s {role})")
    # Composed configs keep the ids of their text part there.
    _check_ids(ids, config.get_text_config(), table)
    return SpecialTokens(**{"mask": None, "bos": None, "eot": None, **ids})


def _check_ids(ids: dict[str, int | None], config: Any, table: PublishedTokens) -> None:
    for role, token in table.items().items():
        token_id = ids[role]
        if token_id is None:
            continue
        # Where the tokenizer has the say, config.json may name another token.
        stated = getattr(config, f"{role}_token_id", None) if token.text else None
        accepted = stated if isinstance(stated, list) else [stated]
        if stated is not None and token_id not in accepted:
            raise MidspanError(
                f"{token.text} is {token_id} in the tokenizer but config.json says "
                f"{role}_token_id={stated}"
            )
        published = token.id if config.vocab_size == table.vocab_size else None
        if published not in (None, token_id):
            raise MidspanError(
                f"{token.text} is {token_id} in the tokenizer but was published as {token.id}"
            )
        if token_id >= config.vocab_size:
            what = f"{token.text or role} is {token_id}"
            raise MidspanError(f"{what}, outside the model's {config.vocab_size} rows")


def name_special_tokens(tokenizer: PreTrainedTokenizerFast, table: PublishedTokens) -> None:
    """Let the tokenizer name pad and mask as the family has them, in place.

    Published tokenizers leave out the mask, or name another pad than their config. Where the
    tokenizer has the say, one of pad and end stands in for the other, and the pad for the
    beginning, as in dllm.
    """
    vocabulary = tokenizer.get_vocab()
    if table.pad.text in vocabulary:
        tokenizer.pad_token = table.pad.text
    if table.eos.text is None:
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tokenizer.eos_token = tokenizer.eos_token or tokenizer.pad_token
        tokenizer.bos_token = tokenizer.bos_token or tokenizer.pad_token
    if table.mask is None:
        return
    if table.adds_mask:
        tokenizer.add_special_tokens({"mask_token": table.mask.text})
    elif table.mask.text in vocabulary:
        tokenizer.mask_token = table.mask.text


def control_ids(tokenizer: PreTrainedTokenizerFast, tokens: SpecialTokens) -> frozenset[int]:
    """The ids that plain text must never yield: all added tokens but unknown and white space.

    An added token need not be marked special to be one: LLaDA's mask is not. Qwen2 names its
    end-of-text token as the unknown one, which must not exempt it.
    """
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    known = {tokens.mask, tokens.bos, tokens.eos, tokens.eot, tokens.pad}
    listed = (added | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id}
    return frozenset(listed | {i for i in known if i is not None})


def encode_plain(
    tokenizer: PreTrainedTokenizerFast, text: str, forbidden: frozenset[int]
) -> list[int]:
    """Ids of a text in which nothing is special.

    Where the tokenizer still finds a forbidden token (one not marked special, or one that is also
    an ordinary word), the text is cut inside it and the parts are encoded on their own.

    Raises:
        MidspanError: If a single character is itself a forbidden token.
    """
    encoding = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    ids: list[int] = encoding["input_ids"]
    hit = next((i for i, token in enumerate(ids) if token in forbidden), None)
    if hit is None:
        return ids
    if len(text) == 1:
        raise MidspanError(f"the character {text!r} is a special token and cannot stand in a text")
    start, end = encoding["offset_mapping"][hit]
    cut = min(max((start + end) // 2, 1), len(text) - 1)
    return [
        *encode_plain(tokenizer, text[:cut], forbidden),
        *encode_plain(tokenizer, text[cut:], forbidden),
    ]


def template_pieces(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    forbidden: frozenset[int],
    options: Mapping[str, object],
) -> list[Piece]:
    """The pieces of the tokenizer's own chat template, with the contents as plain text.

    The template is rendered around private-use marks in place of the contents, so that what it
    writes itself can be told from what a user wrote.
    """
    marked = [
        {"role": message["role"], "content": f"\ue000{i}\ue001"}
        for i, message in enumerate(messages)
    ]
    text = tokenizer.apply_chat_template(
        marked, tokenize=False, add_generation_prompt=True, **options
    )
    return [
        re.sub("\ue000(\\d+)\ue001", lambda m: messages[int(m[1])]["content"], piece)
        if isinstance(piece, str)
        else piece
        for piece in marked_pieces(tokenizer, text, forbidden)
    ]


def marked_pieces(
    tokenizer: PreTrainedTokenizerFast, text: str, forbidden: frozenset[int]
) -> list[Piece]:
    """The pieces of a text in which the name of a special token is that token."""
    names = sorted(map(str, tokenizer.convert_ids_to_tokens(sorted(forbidden))), key=len)
    pattern = "|".join(map(re.escape, reversed(names)))
    parts = filter(None, re.split(f"({pattern})", text))
    return [Special(part) if part in names else part for part in parts]


def encode_pieces(
    tokenizer: PreTrainedTokenizerFast, pieces: Iterable[Piece], forbidden: frozenset[int]
) -> list[int]:
    """Ids of a chat prompt: special pieces by name, plain pieces as plain text.

    Raises:
        MidspanError: If the tokenizer lacks a special token of the chat format.
    """
    vocabulary = tokenizer.get_vocab()
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, str):
            ids += encode_plain(tokenizer, piece, forbidden)
        elif piece.token in vocabulary:
            ids.append(vocabulary[piece.token])
        else:
            raise MidspanError(f"the tokenizer has no {piece.token} token, which the chat needs")
    return ids


def merge_plain(pieces: Sequence[Piece]) -> list[Piece]:
    """Join neighbouring plain pieces, which one published string would tokenise together."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
