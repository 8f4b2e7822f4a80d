"""Hand-sized models with the attributes of `midspan.models.DiffusionLM`."""

from types import SimpleNamespace

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

VOCAB, MASK, EOS, EOT, BOS = 64, 60, 1, 2, 0


class WordTokenizer:
    """Token 7 is the word "t7"."""

    def decode(self, ids, clean_up_tokenization_spaces=False):
        return " ".join(f"t{token}" for token in ids)


class TinyLM:
    """A random Llama with full attention; `bias` is added to the logits, `calls` counts rows."""

    def __init__(self, shift: bool = False, bias: dict[int, float] | None = None) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=128, initializer_range=0.35,
            is_causal=False, use_cache=False,
        )  # fmt: skip
        self.model = LlamaForCausalLM(config).eval()
        self.family = SimpleNamespace(
            name="tiny",
            logit_shift=shift,
            noise="absorbing",
            decoding_defaults={},
            cumulative_positions=False,
            attention="full",
        )
        self.tokens = SimpleNamespace(
            mask=MASK, bos=BOS, eos=EOS, eot=EOT, pad=EOS, stop=frozenset({EOS, EOT})
        )
        self.tokenizer = WordTokenizer()
        self.max_length = 96
        self.device = torch.device("cpu")
        self.calls = 0
        self.head_rows: list[int] = []
        self.bias_V = torch.zeros(VOCAB)
        for token, value in (bias or {}).items():
            self.bias_V[token] = value

    @property
    def base(self):
        return self.model

    def head(self, hidden):
        self.head_rows.append(hidden.shape[1])
        return self.model.lm_head(hidden) + self.bias_V

    def encode_phrase(self, text):
        return [int(word.removeprefix("t")) for word in text.split()]

    def decode_text(self, ids):
        stop = next((i for i, token in enumerate(ids) if token in self.tokens.stop), len(ids))
        return self.tokenizer.decode([token for token in ids[:stop] if token != MASK])

    @torch.no_grad()
    def logits(self, input_ids_BT, attention_mask_BT=None, rows=None):
        self.calls += len(input_ids_BT)
        output = self.model(input_ids=input_ids_BT, attention_mask=attention_mask_BT)
        logits_BTV = output.logits + self.bias_V
        if self.family.logit_shift:
            logits_BTV = torch.cat([logits_BTV[:, :1], logits_BTV[:, :-1]], dim=1)
        if rows is None:
            return logits_BTV
        rows_BR = rows.expand(len(input_ids_BT), -1)
        return logits_BTV.gather(1, rows_BR[..., None].expand(-1, -1, VOCAB))


class ScriptedLM(TinyLM):
    """Says the same of a canvas position whatever stands elsewhere: token and confidence."""

    def __init__(self, prompt_length: int, script: list[tuple[int, float]]) -> None:
        super().__init__()
        self.table_TV = torch.zeros(prompt_length + len(script), VOCAB)
        for position, (token, confidence) in enumerate(script, prompt_length):
            self.table_TV[position, token] = confidence

    def logits(self, input_ids_BT, attention_mask_BT=None, rows=None):
        self.calls += len(input_ids_BT)
        logits_BTV = self.table_TV.repeat(len(input_ids_BT), 1, 1)
        if rows is None:
            return logits_BTV
        return logits_BTV.gather(1, rows[..., None].expand(-1, -1, VOCAB))


class BlockLM(TinyLM):
    """A random Qwen3, as SDAR is; its attention is what the mask says. `fed` counts positions."""

    def __init__(self, bias: dict[int, float] | None = None) -> None:
        super().__init__(bias=bias)
        self.family.attention, self.block_length = "block_causal", 4
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=128,
            initializer_range=0.35, is_causal=False, use_cache=False,
        )  # fmt: skip
        self.model = Qwen3ForCausalLM(config).eval()
        self.fed = 0
        self.model.model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module, args, kwargs):
        self.calls += len(kwargs["input_ids"])
        self.fed += kwargs["input_ids"].numel()
