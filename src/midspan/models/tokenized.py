"""A model's text side without its weights, for models that answer elsewhere."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from midspan.models.checkpoint import resolve_folder
from midspan.models.family import Family, SpecialTokens, family_of
from midspan.models.loading import load_config, load_tokenizer
from midspan.models.sources import parse_spec
from midspan.models.text import TextModel
from midspan.models.tokens import special_tokens
from midspan.models.vocabulary import Vocabulary


@dataclass
class TokenizedModel(TextModel):
    """What config.json and the tokenizer of a model say.

    Attributes:
        tokenizer: Its tokenizer.
        family: What its family says.
        tokens: Special token ids.
        name: The spec it was read from.
        max_length: Positions that prompt and response may take together.
        num_rows: Rows of its embedding: ids are below it.
        canvas_length: Tokens that are denoised together, where config.json says so.
    """

    tokenizer: PreTrainedTokenizerFast
    family: Family
    tokens: SpecialTokens
    name: str
    max_length: int
    num_rows: int
    canvas_length: int | None = None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the tokenizer's entries are to the model, read once."""
        return Vocabulary(self.tokenizer, self.tokens, self.num_rows)


def load_text(spec: str | Path) -> TokenizedModel:
    """Read a model's config.json and tokenizer; its weights are not asked for.

    Args:
        spec: A folder, a hub id or a registered name.

    Raises:
        MidspanError: One line saying what is missing or does not fit.
    """
    folder = resolve_folder(parse_spec(spec).base, weights=False)
    config = load_config(folder, weights=False)
    family = family_of(config)
    tokenizer = load_tokenizer(folder, family)
    text_config = config.get_text_config()
    return TokenizedModel(
        tokenizer=tokenizer,
        family=family,
        tokens=special_tokens(tokenizer, config, family),
        name=str(spec),
        max_length=min(family.max_length, text_config.max_position_embeddings),
        num_rows=text_config.vocab_size,
        canvas_length=getattr(config, "canvas_length", None),
    )
