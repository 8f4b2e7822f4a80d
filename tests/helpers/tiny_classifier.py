"""A tiny causal model with hand-made weights that answers as published classifiers do.

It attends evenly to all that it reads and says its word for "success" when the word "recipe" stands
anywhere in it, else its other word.
"""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ("<unk>", "<s>", "</s>", "recipe", "yes", "no", "unsafe", "safe", "asked", "in", "said")
CARD = """# A card
P = {
    "prompt": '''asked {behavior}
said {generation}''',
    "prompt_contextual": '''in {context} asked {behavior} said {generation}'''
}
"""
TEMPLATE = (
    "{% for m in messages %}{{ 'asked ' if m.role == 'user' else 'said ' }}{{ m.content }} "
    "{% endfor %}"
)


def make_model(folder, hit, miss, template=TEMPLATE, longest=64, weight=1000.0):
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        padding_side="right", truncation_side="left",
    )  # fmt: skip
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=4, intermediate_size=4, num_hidden_layers=1,
        num_attention_heads=1, max_position_embeddings=longest, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        block = model.model.layers[0]
        for norm in (block.input_layernorm, block.post_attention_layernorm, model.model.norm):
            norm.weight.fill_(1.0)
        embedding = model.model.embed_tokens.weight
        embedding[:, 1] = 1.0
        embedding[WORDS.index("recipe"), 0] = 1.0
        for word in (hit, miss):  # what has been said ends the answer
            embedding[WORDS.index(word), 2] = 1.0
        block.self_attn.v_proj.weight.copy_(torch.eye(4))
        block.self_attn.o_proj.weight.copy_(torch.eye(4))
        head = model.lm_head.weight
        head[WORDS.index(hit), 0] = weight
        head[WORDS.index(miss), 1] = 1.0
        head[WORDS.index("</s>"), 2] = 1e6
    model.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return str(folder)
