"""Hand-sized models with the attributes of `midspan.models.DiffusionLM`."""

from types import SimpleNamespace

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from midspan.models.model import DiffusionLM

VOCAB, MASK, EOS, EOT, BOS = 64, 60, 1, 2, 0


class WordTokenizer:
    """Token 7 is the word "t7"."""

    def decode(self, ids, clean_up_tokenization_spaces=False):
        return " ".join(f"t{token}" for token in ids)


class TinyLM(DiffusionLM):
    """A random Llama with full attention; `bias` is added to the logits, `calls` counts rows."""

    attention = "full"

    def __init__(self, shift: bool = False, bias: dict[int, float] | None = None) -> None:
        self.calls, self.head_rows = 0, []
        self.bias_V = torch.zeros(VOCAB)
        for token, value in (bias or {}).items():
            self.bias_V[token] = value
        torch.manual_seed(0)
        super().__init__(
            model=self.make_model(),
            tokenizer=WordTokenizer(),
            family=SimpleNamespace(
                name="tiny", logit_shift=shift, noise="absorbing", decoding_defaults={},
                cumulative_positions=False, attention=self.attention, block_length=4,
                blocks_from="prompt", in_blocks=None, caches=True,
            ),
            tokens=SimpleNamespace(
                mask=MASK, bos=BOS, eos=EOS, eot=EOT, pad=EOS, stop=frozenset({EOS, EOT})
            ),
            name="tiny",
            max_length=96,
            fingerprint="",
        )  # fmt: skip

    def make_model(self):
        config = LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=128, initializer_range=0.35,
            is_causal=False, use_cache=False,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()

    def hidden(self, ids, *args, **kwargs):
        self.calls += len(ids)
        return super().hidden(ids, *args, **kwargs)

    def head(self, hidden):
        self.head_rows.append(hidden.shape[1])
        return self.model.lm_head(hidden) + self.bias_V

    @torch.no_grad()
    def logits(self, *args, **kwargs):
        return super().logits(*args, **kwargs)

    def encode_phrase(self, text):
        return [int(word.removeprefix("t")) for word in text.split()]

    def decode_text(self, ids):
        stop = next((i for i, token in enumerate(ids) if token in self.tokens.stop), len(ids))
        return self.tokenizer.decode([token for token in ids[:stop] if token != MASK])


class ScriptedLM(TinyLM):
    """Says the same of a canvas position whatever stands elsewhere: token and confidence."""

    def __init__(self, prompt_length: int, script: list[tuple[int, float]]) -> None:
        super().__init__()
        self.table_TV = torch.zeros(prompt_length + len(script), VOCAB)
        for position, (token, confidence) in enumerate(script, prompt_length):
            self.table_TV[position, token] = confidence

    def logits(self, ids, attention=None, rows=None):
        self.calls += len(ids)
        logits_BTV = self.table_TV.repeat(len(ids), 1, 1)
        if rows is None:
            return logits_BTV
        return logits_BTV.gather(1, rows[..., None].expand(-1, -1, VOCAB))


class BlockLM(TinyLM):
    """A random Qwen3, as SDAR is; its attention is what the mask says. `fed` counts positions."""

    attention = "block_causal"

    def __init__(self, bias: dict[int, float] | None = None) -> None:
        super().__init__(bias=bias)
        self.fed = 0

    def make_model(self):
        config = Qwen3Config(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=128,
            initializer_range=0.35, is_causal=False, use_cache=False,
        )  # fmt: skip
        return Qwen3ForCausalLM(config).eval()

    def hidden(self, ids, *args, **kwargs):
        self.fed += ids.numel()
        return super().hidden(ids, *args, **kwargs)
