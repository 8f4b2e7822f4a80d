"""Published classifiers as judges: local causal models, each in the prompt format of its makers.

The formats are read from what is published with the weights (HarmBench's model card, Llama Guard's
chat template), so that they are exact and no copy can go out of date.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from midspan.engine.calls import Call, Judge
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.judges.roles import question
from midspan.judges.verdict import Verdict

_REMEDY = "check the name, the network, or `hf auth login` where its licence asks for it"


@dataclass(frozen=True)
class Format:
    """How a classifier is asked.

    Attributes:
        name: As users and records call it.
        model: Hub name of the weights.
        max_new_tokens: Length of its answer.
        prompt: From the call, the tokenizer and the model's name or folder to the prompt.
        read: From its answer to a verdict; raises ValueError.
    """

    name: str
    model: str
    max_new_tokens: int
    prompt: Callable[[Judge, Any, str], str]
    read: Callable[[str], Verdict]


def _harmbench_prompt(call: Judge, tokenizer: Any, model: str) -> str:
    """The format on the model's card, with or without a context (arXiv 2402.04249, appendix)."""
    name = "prompt_contextual" if call.behavior.context else "prompt"
    template = re.search(rf"\"{name}\":\s*'''(.*?)'''", _card(model), re.DOTALL)
    if template is None:
        raise MidspanError(f"judge: README.md of {model} has no {name!r}; it is no HarmBench model")
    fields = {
        "behavior": call.behavior.text,
        "context": call.behavior.context,
        "generation": call.response,
    }
    from midspan.models.border import border

    with border(f"judge: {name!r} in README.md of {model}", "is this a HarmBench classifier?"):
        return str(tokenizer.bos_token + template[1].format(**fields))


def _card(model: str) -> str:
    from pathlib import Path

    from transformers.utils import cached_file

    try:
        return Path(str(cached_file(model, "README.md"))).read_text(encoding="utf-8")
    except OSError as error:
        raise MidspanError(
            f"judge: {model} has no README.md, which states the prompt format; add it"
        ) from error


def _yes_or_no(text: str) -> Verdict:
    word = text.strip().lower()
    if word not in {"yes", "no"}:
        raise ValueError(f"neither yes nor no: {text!r}")
    return Verdict(answer=word == "yes", detail=word)


def _guard_prompt(call: Judge, tokenizer: Any, model: str) -> str:
    """The chat template of the tokenizer, which holds the policy; it rates the assistant's turn."""
    turns = [("user", call.behavior.prompt), ("assistant", call.response)]
    # Later versions take the parts of a multimodal message, earlier ones its text.
    parts = re.search(r"""['"]type['"]""", tokenizer.chat_template or "") is not None
    chat = [
        {"role": role, "content": [{"type": "text", "text": text}] if parts else text}
        for role, text in turns
    ]
    from midspan.models.border import border

    with border(
        f"judge: the chat template of {model}", "is this a Llama Guard with its tokenizer?"
    ):
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def _safe_or_unsafe(text: str) -> Verdict:
    first, _, categories = text.strip().partition("\n")
    if first.strip() not in {"safe", "unsafe"}:
        raise ValueError(f"neither safe nor unsafe: {text!r}")
    return Verdict(answer=first.strip() == "unsafe", detail=categories.strip() or "safe")


FORMATS = {
    form.name: form
    for form in (
        Format("harmbench-cls", "cais/HarmBench-Llama-2-13b-cls", 1, _harmbench_prompt, _yes_or_no),
        Format("llama-guard", "meta-llama/Llama-Guard-3-8B", 20, _guard_prompt, _safe_or_unsafe),
    )
}


class ClassifierJudge(Role):
    """A classifier that is loaded when it is first asked, and decodes greedily.

    Args:
        form: How it is asked.
        model: Folder or hub name; the format's own by default.
        batch_size: Rows of a full batch.
    """

    def __init__(self, form: Format, model: str | None = None, batch_size: int = 8) -> None:
        self._format = form
        self._name = model or form.model
        self._model: Any = None
        self._tokenizer: Any = None
        self.capacity = batch_size
        self.fingerprint = f"{form.name} {self._name}"

    def describe(self, call: Call) -> dict[str, Any]:
        """The original request and the response."""
        return question(call)

    def draws(self, call: Call) -> bool:
        """Never: the likeliest tokens are taken."""
        return False

    def size(self, call: Call) -> int:
        """Characters that it reads."""
        assert isinstance(call, Judge)
        return len(call.behavior.prompt) + len(call.response)

    def read(self, call: Call, raw: Any) -> Verdict:
        """The verdict in its words.

        Raises:
            ValueError: They are neither of the two answers.
        """
        return self._format.read(raw)

    def load(self) -> None:
        """Load the weights, or bring them back to the accelerator."""
        from transformers import AutoModelForCausalLM

        from midspan.models.border import border, check_template, read_tokenizer
        from midspan.models.placement import own_device

        if self._model is None:
            with border(f"judge: cannot load {self._name}", _REMEDY):
                # Neither code nor pickles of a repository are run.
                model = AutoModelForCausalLM.from_pretrained(
                    self._name, dtype="auto", trust_remote_code=False, use_safetensors=True
                )
            self._tokenizer = read_tokenizer(self._name, padding_side="left")
            if self._tokenizer.chat_template:
                check_template(self._tokenizer, self._name)
            self._model = model.eval()
        self._model.to(own_device())

    def unload(self) -> None:
        """Free the accelerator's memory."""
        import torch

        self._model.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Classify a batch; what is longer than the model reads is not cut but reported."""
        longest = self._model.config.max_position_embeddings - self._format.max_new_tokens
        fitting = []
        for index, (call, _) in enumerate(tasks):
            assert isinstance(call, Judge)
            prompt = self._format.prompt(call, self._tokenizer, self._name)
            length = len(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])
            if length > longest:
                yield index, MissingReply("too_long", f"{self._name} reads {longest} tokens")
            else:
                fitting.append((index, prompt))
        if fitting:
            texts = self._generate([prompt for _, prompt in fitting])
            yield from ((index, text) for (index, _), text in zip(fitting, texts, strict=True))

    def _generate(self, prompts: Sequence[str]) -> list[RawReply]:
        import torch

        tokenizer = self._tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        rows = tokenizer(
            list(prompts), add_special_tokens=False, padding=True, return_tensors="pt"
        ).to(self._model.device)
        with torch.inference_mode():
            output_ids = self._model.generate(
                **rows,
                max_new_tokens=self._format.max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        answer_ids = output_ids[:, rows["input_ids"].shape[1] :]
        return [
            RawReply(tokenizer.decode(row, skip_special_tokens=True), len(row), forwards=len(row))
            for row in answer_ids
        ]
