"""Text to ids, so that a user's text never becomes a special token."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from midspan.errors import MidspanError
from midspan.models.family import Family, Piece, PublishedTokens, SpecialTokens


def token_id(tokenizer: PreTrainedTokenizerFast, text: str) -> int | None:
    """The id of a token, or None; `get_vocab` would build a dict of all of them first."""
    found: int | None = tokenizer.backend_tokenizer.token_to_id(text)
    return found


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
    ids = {role: token_id(tokenizer, token.text) for role, token in table.items().items()}
    for role, token in table.items().items():
        if ids[role] is None and role in ("mask", "eos", "pad"):
            raise MidspanError(f"the tokenizer has no {token.text} token ({family.name}'s {role})")
    # Composed configs keep the ids of their text part there.
    _check_ids(ids, config.get_text_config(), table)
    known: dict[str, Any] = {"mask": None, "bos": None, "eot": None, **ids}
    return SpecialTokens(**known)


def _check_ids(ids: dict[str, int | None], config: Any, table: PublishedTokens) -> None:
    for role, token in table.items().items():
        token_id = ids[role]
        if token_id is None:
            continue
        stated = getattr(config, f"{role}_token_id", None)
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
            raise MidspanError(
                f"{token.text} is {token_id}, outside the model's {config.vocab_size}"
            )


def control_ids(tokenizer: PreTrainedTokenizerFast, tokens: SpecialTokens) -> frozenset[int]:
    """The ids that plain text must never yield: all added tokens but unknown and white space.

    An added token need not be marked special to be one: LLaDA's mask is not. Qwen2 names its
    end-of-text token as the unknown one, which must not exempt it.
    """
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    listed = (added | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id}
    return frozenset(listed | _roles(tokens))


def silent_ids(tokenizer: PreTrainedTokenizerFast, tokens: SpecialTokens) -> frozenset[int]:
    """The ids that text leaves out: special tokens and the mask.

    Tokens that were merely added, as Qwen3's ``<think>`` and ``<tool_call>``, are text, as
    `skip_special_tokens` of the published code has it.
    """
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = added | set(tokenizer.all_special_ids)
    return control_ids(tokenizer, tokens) & frozenset(special | _roles(tokens))


def _roles(tokens: SpecialTokens) -> set[int]:
    known = {tokens.mask, tokens.bos, tokens.eos, tokens.eot, tokens.pad}
    return {i for i in known if i is not None}


def encode_plain(
    tokenizer: PreTrainedTokenizerFast, text: str, forbidden: frozenset[int]
) -> list[int]:
    """Ids of a text in which nothing is special.

    Where the tokenizer still finds a forbidden token (one not marked special, or one that is also
    an ordinary word), the text is cut inside it and the parts are encoded on their own.

    Raises:
        MidspanError: If a single character is itself a forbidden token.
    """
    ids: list[int] = []
    waiting = [text]
    while waiting:
        part = waiting.pop()
        encoding = tokenizer(part, add_special_tokens=False, split_special_tokens=True)
        found: list[int] = encoding["input_ids"]
        if forbidden.isdisjoint(found):
            ids += found
            continue
        if len(part) == 1:
            raise MidspanError(
                f"the character {part!r} is a special token and cannot stand in a text"
            )
        offsets = encoding.encodings[0].offsets
        hits = [span for span, token in zip(offsets, found, strict=True) if token in forbidden]
        waiting += reversed(_cut(part, hits))
    return ids


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """The text in parts, cut in the middle of each span."""
    cuts = {min(max((start + end) // 2, 1), len(text) - 1) for start, end in spans}
    borders = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in zip(borders, borders[1:], strict=False)]


def merge_plain(pieces: Sequence[Piece]) -> list[Piece]:
    """Join neighbouring plain pieces, which one published string would tokenise together."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
