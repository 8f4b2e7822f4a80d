"""Published classifiers as judges: local causal models, each in the prompt format of its makers.

The formats are read from what is published with the weights (HarmBench's model card, Llama Guard's
chat template), so that they are exact and no copy can go out of date.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from midspan.data.behaviors import Behavior
from midspan.engine.calls import Call, Judge
from midspan.engine.roles import MissingReply, RawReply, Role, SeededCall
from midspan.errors import MidspanError
from midspan.judges.published import read_yes_or_no
from midspan.judges.roles import question
from midspan.judges.templates import card_template, check_template, fill_template
from midspan.judges.verdict import Verdict

_REMEDY = "check the name, the network, or `hf auth login` where its licence asks for it"
Prompt = Callable[[Behavior, str], str]


@dataclass(frozen=True)
class Format:
    """How a classifier is asked.

    Attributes:
        name: As users and records call it.
        model: Hub name of the weights.
        max_new_tokens: Length of its answer.
        prompt: From the tokenizer and the model's name or folder to a function that makes the
            prompt of a behavior and a response.
        read: From its answer to a verdict; raises ValueError.
        longest_response: Tokens of the response that it is shown, the beginning token among them;
            None for all.
    """

    name: str
    model: str
    max_new_tokens: int
    prompt: Callable[[Any, str], Prompt]
    read: Callable[[str], Verdict]
    longest_response: int | None = None


def _harmbench_prompt(tokenizer: Any, model: str) -> Prompt:
    """The format on the model's card, with or without a context (arXiv 2402.04249, appendix)."""
    card = _card(model)
    templates = {}
    for name in ("prompt", "prompt_contextual"):
        template = card_template(card, name)
        if template is None:
            raise MidspanError(
                f"judge: README.md of {model} has no {name!r}; it is no HarmBench model"
            )
        templates[name] = check_template(template, f"judge: {name!r} in README.md of {model}")

    def prompt(behavior: Behavior, response: str) -> str:
        name = "prompt_contextual" if behavior.context else "prompt"
        return (tokenizer.bos_token or "") + fill_template(templates[name], behavior, response)

    return prompt


def _card(model: str) -> str:
    from transformers.utils import cached_file

    from midspan.models.border import border

    with border(f"judge: {model} has no README.md that states the prompt format", "add it"):
        return Path(str(cached_file(model, "README.md"))).read_text(encoding="utf-8")


def _guard_prompt(tokenizer: Any, model: str) -> Prompt:
    """The chat template of the tokenizer, which holds the policy; it rates the assistant's turn."""
    from midspan.models.border import border

    what, remedy = (
        f"judge: the chat template of {model}",
        "is this a Llama Guard with its tokenizer?",
    )
    with border(what, remedy):
        template = tokenizer.get_chat_template()
    # Later versions take the parts of a multimodal message, earlier ones its text.
    parts = re.search(r"""['"]type['"]""", template) is not None

    def prompt(behavior: Behavior, response: str) -> str:
        chat = [
            {"role": role, "content": [{"type": "text", "text": text}] if parts else text}
            for role, text in (("user", behavior.prompt), ("assistant", response))
        ]
        with border(what, remedy):
            return str(
                tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            )

    return prompt


def _safe_or_unsafe(text: str) -> Verdict:
    first, _, categories = text.strip().partition("\n")
    word = first.strip()
    if word not in {"safe", "unsafe"}:
        raise ValueError(f"neither safe nor unsafe: {text!r}")
    return Verdict(answer=word == "unsafe", detail=categories.strip() or word)


FORMATS = {
    form.name: form
    for form in (
        # Its authors clip what they classify (HarmBench, evaluate_completions.py).
        Format(
            "harmbench-cls",
            "cais/HarmBench-Llama-2-13b-cls",
            1,
            _harmbench_prompt,
            read_yes_or_no,
            longest_response=512,
        ),
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
        self._prompt: Prompt | None = None
        self._longest = 0
        self.capacity = batch_size
        shown = form.longest_response
        self.fingerprint = f"{form.name} {self._name}" + (f" first {shown} tokens" if shown else "")

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
        if isinstance(raw, str):
            return self._format.read(raw)
        verdict = self._format.read(raw["text"])
        return replace(verdict, detail=f"{verdict.detail}, by its first {raw['shown']} tokens")

    def load(self) -> None:
        """Load the weights, or bring them back to the accelerator."""
        from midspan.models.placement import own_device

        if self._model is None:
            self.check()
            self._open()
        self._model.to(own_device())

    def check(self) -> None:
        """Read all but the weights: name, architecture, tokenizer and format.

        Raises:
            MidspanError: One of them will not do.
        """
        from transformers import AutoConfig

        from midspan.models.border import border, check_template, read_tokenizer

        with border(f"judge: cannot load {self._name}", _REMEDY):
            # Neither code nor pickles of a repository are run.
            config = AutoConfig.from_pretrained(self._name, trust_remote_code=False)
            positions = config.get_text_config().max_position_embeddings
        other = next((a for a in config.architectures or () if a.endswith("Classification")), None)
        if other is not None:
            raise MidspanError(
                f"judge: {self._name} is a {other}, which answers by no words; {self._format.name} "
                f"takes a causal model such as {self._format.model}"
            )
        tokenizer = read_tokenizer(self._name, padding_side="left", truncation_side="right")
        if tokenizer.chat_template:
            check_template(tokenizer, self._name)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token is None:
            raise MidspanError(f"judge: the tokenizer of {self._name} has no token to pad with")
        self._tokenizer, self._prompt = tokenizer, self._format.prompt(tokenizer, self._name)
        self._longest = positions - self._format.max_new_tokens

    def _open(self) -> None:
        from transformers import AutoModelForCausalLM

        from midspan.models.border import border

        with border(f"judge: cannot load {self._name}", _REMEDY):
            model, found = AutoModelForCausalLM.from_pretrained(
                self._name,
                dtype="auto",
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        # What is missing would be drawn at random.
        if missing := sorted(found["missing_keys"]):
            raise MidspanError(
                f"judge: {self._name} has no weights of {missing[0]} (of {len(missing)} missing); "
                "give a whole checkpoint"
            )
        self._model = model.eval()

    def unload(self) -> None:
        """Free the accelerator's memory."""
        import torch

        if self._model is not None:
            self._model.to("cpu")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def answer(self, tasks: Sequence[SeededCall]) -> Iterator[tuple[int, RawReply | MissingReply]]:
        """Classify a batch; a prompt longer than the model reads is not cut but reported."""
        assert self._prompt is not None
        fitting = []
        for index, (call, _) in enumerate(tasks):
            assert isinstance(call, Judge)
            response, is_cut = self._shown(call.response)
            prompt = self._prompt(call.behavior, response)
            length = len(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])
            if length > self._longest:
                yield index, MissingReply("too_long", f"{self._name} reads {self._longest} tokens")
            else:
                fitting.append((index, prompt, is_cut))
        if fitting:
            replies = self._generate([prompt for _, prompt, _ in fitting])
            for (index, _, is_cut), reply in zip(fitting, replies, strict=True):
                shown = {"text": reply.raw, "shown": self._format.longest_response}
                yield index, replace(reply, raw=shown) if is_cut else reply

    def _shown(self, response: str) -> tuple[str, bool]:
        """The response as its makers show it, all of it or its first tokens; and whether it is cut.

        Where they cut, every response goes to tokens and back, so that special tokens in it go.
        """
        longest = self._format.longest_response
        if longest is None:
            return response, False
        token_ids = self._tokenizer(response)["input_ids"]
        is_cut = len(token_ids) > longest
        if is_cut:
            token_ids = self._tokenizer(response, max_length=longest, truncation=True)["input_ids"]
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True)), is_cut

    def _generate(self, prompts: Sequence[str]) -> list[RawReply]:
        import torch

        tokenizer = self._tokenizer
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
