"""Text to ids, so that a user's text never becomes a special token."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from midspan.errors import MidspanError
from midspan.models.family import Family, Piece, PublishedTokens, SpecialTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def token_id(tokenizer: "PreTrainedTokenizerFast", text: str) -> int | None:
    """The id of a token, or None; `get_vocab` would build a dict of all of them first."""
    found: int | None = tokenizer.backend_tokenizer.token_to_id(text)
    return found


def special_tokens(
    tokenizer: "PreTrainedTokenizerFast", config: Any, family: Family
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
    texts = {
        role: token.text or getattr(tokenizer, f"{role}_token")
        for role, token in table.items().items()
    }
    ids = {role: text and token_id(tokenizer, text) for role, text in texts.items()}
    for role in ("mask", "eos", "pad"):
        if role in ids and ids[role] is None:
            what = texts[role] or role
            raise MidspanError(f"the tokenizer has no {what} token ({family.name}'s {role})")
    # Composed configs keep the ids of their text part there.
    _check_ids(ids, config.get_text_config(), table)
    known: dict[str, Any] = {"mask": None, "bos": None, "eot": None, **ids}
    return SpecialTokens(**known)


def _check_ids(ids: dict[str, int | None], config: Any, table: PublishedTokens) -> None:
    for role, token in table.items().items():
        token_id = ids[role]
        if token_id is None:
            continue
        # Where the tokenizer has the say, config.json may name another token.
        stated = getattr(config, f"{role}_token_id", None) if token.text else None
        accepted = stated if isinstance(stated, list) else [stated]
        # Padding is seen by nobody, and published files disagree on its token.
        if role != "pad" and stated is not None and token_id not in accepted:
            raise MidspanError(
                f"{token.text} is {token_id} in the tokenizer but config.json says "
                f"{role}_token_id={stated}"
            )
        published = token.id if table.hold_for(config.vocab_size) else None
        if published not in (None, token_id):
            raise MidspanError(
                f"{token.text} is {token_id} in the tokenizer but was published as {token.id}"
            )
        if token_id >= config.vocab_size:
            what = f"{token.text or role} is {token_id}"
            raise MidspanError(f"{what}, outside the model's {config.vocab_size} rows")


def name_special_tokens(tokenizer: "PreTrainedTokenizerFast", table: PublishedTokens) -> None:
    """Let the tokenizer name pad and mask as the family has them, in place.

    Published tokenizers leave out the mask, or name another pad than their config. Where the
    tokenizer has the say, one of pad and end stands in for the other, and the pad for the
    beginning, as in dllm.
    """
    if table.pad.text and token_id(tokenizer, table.pad.text) is not None:
        tokenizer.pad_token = table.pad.text
    if table.eos.text is None:
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tokenizer.eos_token = tokenizer.eos_token or tokenizer.pad_token
        tokenizer.bos_token = tokenizer.bos_token or tokenizer.pad_token
    if table.mask is None:
        return
    if table.adds_mask:
        tokenizer.add_special_tokens({"mask_token": table.mask.text})
    elif table.mask.text and token_id(tokenizer, table.mask.text) is not None:
        tokenizer.mask_token = table.mask.text


def control_ids(tokenizer: "PreTrainedTokenizerFast", tokens: SpecialTokens) -> frozenset[int]:
    """The ids that plain text must never yield: all added tokens but unknown and white space.

    An added token need not be marked special to be one: LLaDA's mask is not. Qwen2 names its
    end-of-text token as the unknown one, which must not exempt it.
    """
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    # A tokenizer's settings may name no unknown token, or another than the one that it yields.
    yielded = getattr(tokenizer.backend_tokenizer.model, "unk_token", None)
    unknown = {token_id(tokenizer, text) for text in (tokenizer.unk_token, yielded) if text}
    listed = (added | set(tokenizer.all_special_ids)) - unknown
    return frozenset(listed | _roles(tokens))


def silent_ids(tokenizer: "PreTrainedTokenizerFast", tokens: SpecialTokens) -> frozenset[int]:
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
    tokenizer: "PreTrainedTokenizerFast", text: str, forbidden: frozenset[int]
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
