"""Text to ids and back: does the tokenizer say what the model reads?"""

import statistics
import time
from collections.abc import Mapping, Sequence

from midspan.doctor.finding import Status, Subject, fault, note, ok
from midspan.errors import MidspanError
from midspan.models import DiffusionLM

Look = tuple[Status, str, str]
Chat = Sequence[Mapping[str, str]]

_SENTENCE = 'Fold the paper twice: 3 + 4 = 7.\n\nGrüße, and "that\'s it".'
# Words of every vocabulary that midspan ships, for one without letters.
_PHRASE = ("the next", " step is")
_SLOW_MS = 5.0
_REPEATS = 5


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHATS: dict[str, Chat] = {
    "one turn": [_turn("user", "hello")],
    "three turns": [_turn("user", "hello"), _turn("assistant", "yes"), _turn("user", "and then ?")],
    "a system turn": [_turn("system", "be brief"), _turn("user", "hello")],
    "blanks around": [_turn("user", "  hello \n")],
    "a thought": [
        _turn("user", "hello"),
        _turn("assistant", "<think>\nso it is\n</think>\n\nyes"),
        _turn("user", "and then ?"),
    ],
}


def plain_text(subject: Subject) -> Look:
    """Text comes back as it went in, and the names of special tokens stay text."""
    lm = subject.lm
    roles = {getattr(lm.tokens, role) for role in ("mask", "bos", "eos", "eot", "pad")} - {None}
    special = roles | set(lm.tokenizer.all_special_ids) - {lm.tokenizer.unk_token_id}
    names = lm.tokenizer.convert_ids_to_tokens(sorted(special))
    for text in (_SENTENCE, *names):
        found = special.intersection(lm.encode_text(text))
        if found:
            name = lm.tokenizer.convert_ids_to_tokens(min(found))
            return fault(f"the text {text!r} becomes the token {name}", _TOKENIZER)
    text = _known(lm)
    back = lm.decode_text(lm.encode_text(text))
    if back == text:
        return ok(f"comes back whole; {len(names)} special names stay text")
    if "".join(back.split()).casefold() == "".join(text.split()).casefold():
        return note(f"{text!r} comes back as {back!r}: white space or case is normalised")
    return fault(f"{text!r} comes back as {back!r}", _TOKENIZER)


_TOKENIZER = "Take the tokenizer's files from where the weights are published."


def _known(lm: DiffusionLM) -> str:
    """A text that the vocabulary has words for."""
    if lm.tokenizer.unk_token_id not in lm.encode_text(_SENTENCE):
        return _SENTENCE
    return "".join(_PHRASE)


def rows(subject: Subject) -> Look:
    """Every token has a row of logits; rows without a token are known of."""
    num_rows = subject.lm.base.get_output_embeddings().weight.shape[0]
    ids = subject.lm.tokenizer.get_vocab().values()
    if max(ids) >= num_rows:
        return fault(
            f"the tokenizer has ids up to {max(ids)}, the model {num_rows} rows",
            "Tokenizer and weights are of two models, or tokens were added without training.",
        )
    unused = num_rows - len(set(ids))
    return ok(f"{num_rows} rows" + (f", {unused} of them without a token" if unused else ""))


def mask_and_stops(subject: Subject) -> Look:
    """The mask is nobody else, and generation_config.json agrees where it names tokens."""
    from midspan.models.checkpoint import read_json

    tokens, file = subject.lm.tokens, subject.folder / "generation_config.json"
    others = {role: getattr(tokens, role) for role in ("bos", "eos", "eot", "pad")}
    same = [role for role, token in others.items() if token == tokens.mask is not None]
    if same:
        return fault(f"the mask, {tokens.mask}, is also the {same[0]} token", _TOKENIZER)
    stated = read_json(file) if file.exists() else {}
    for role in ("mask", "eos", "pad"):
        value, own = stated.get(f"{role}_token_id"), getattr(tokens, role)
        if value is None or own is None or own in (value if isinstance(value, list) else [value]):
            continue
        detail = f"generation_config.json says {role}_token_id={value}, the tokenizer {own}"
        if role == "mask":
            return fault(detail, "Take both files from where the weights are published.")
        return note(detail, "midspan takes the tokenizer's; other programs may not.")
    return ok(f"mask {tokens.mask}, stop tokens {', '.join(map(str, sorted(tokens.stop)))}")


def chat_template(subject: Subject) -> Look:
    """What `encode_chat` gives is what the checkpoint's own template writes."""
    lm = subject.lm
    if not lm.tokenizer.chat_template:
        lm.encode_chat("hello")
        return ok(f"none in the folder; {lm.family.name}'s published format")
    different, refused = [], []
    for name, chat in CHATS.items():
        try:
            ids = lm.encode_chat(chat)
        except MidspanError as error:
            refused.append(f"{name} ({error})")
            continue
        if ids != _by_template(lm, chat):
            different.append(name)
    if different and lm.family.template_first:
        return fault(
            f"not followed for {', '.join(different)}",
            "Report it with the template; until then prompts differ from the published ones there.",
        )
    if different:
        return note(f"{lm.family.name}'s published format differs for {', '.join(different)}")
    if refused:
        return note(f"followed, and refuses {'; '.join(refused)}")
    return ok(f"followed in {len(CHATS)} conversations")


def _by_template(lm: DiffusionLM, chat: Chat) -> list[int]:
    from midspan.models.border import border

    with border("the chat template"):
        text = lm.tokenizer.apply_chat_template(
            list(map(dict, chat)), tokenize=False, add_generation_prompt=True
        )
    return list(lm.tokenizer(text, add_special_tokens=False)["input_ids"])


def phrases(subject: Subject) -> Look:
    """A phrase in the middle of a text is split as running text is."""
    lm = subject.lm
    first, second = (lm.encode_text(part) for part in _PHRASE)
    if lm.encode_text("".join(_PHRASE)) != first + second:
        return note(
            f"{_PHRASE[1]!r} is split otherwise behind {_PHRASE[0]!r} than alone",
            "Compare scores of placed phrases with each other, not with those of running text.",
        )
    spaced = second != lm.encode_text(_PHRASE[1].strip())
    return ok("words in a text begin with their space" if spaced else "spaces are no part of words")


def encode_chat_time(subject: Subject) -> Look:
    """A prompt is encoded in milliseconds: a study encodes thousands, GCG half a million."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        subject.lm.encode_chat("hello")
        seconds.append(time.perf_counter() - start)
    milliseconds = 1000 * statistics.median(seconds)
    if milliseconds > _SLOW_MS:
        return note(f"{milliseconds:.1f} ms a prompt", "Expect searches over prompts to be slow.")
    return ok(f"{milliseconds:.2f} ms a prompt")
