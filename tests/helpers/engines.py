"""Engines on the loopback that hold to their rules to the letter, over a model that is a formula.

What they accept, refuse and answer follows vLLM 0.32, SGLang 0.5 and ``midspan serve``; nothing of
`midspan.engine` is used here.
"""

import contextlib
import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROWS = 64
# Tokens of hand-sized tokenizers that are words, from "w16" on.
FIRST_WORD, WORDS = 30, 20
_REFUSED_BY_DIFFUSION = ("seed", "min_tokens", "logit_bias", "bad_words", "allowed_token_ids")


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def check(holds, message, status=400):
    if not holds:
        raise Refusal(status, message)


def logprobs(canvas, place):
    """Log-probabilities of all tokens at a place: they depend on the whole canvas and the place."""
    state = sum((at + 1) * token for at, token in enumerate(canvas)) % 997
    logits = [math.sin(0.7 * state + 1.3 * place + 2.1 * token) * 3 for token in range(ROWS)]
    total = math.log(sum(map(math.exp, logits)))
    return [logit - total for logit in logits]


class EngineServer(ThreadingHTTPServer):
    """Notes every request, and answers by its engine's rules.

    Args:
        tokenizer: The served model's.
        stops: Ids that end an answer.
        delay: Seconds that an answer takes.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, tokenizer=None, stops=(), delay=0.0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokenizer, self.stops, self.delay = tokenizer, set(stops), delay
        self.bodies, self.paths, self.lock = [], [], threading.Lock()
        self.under_way = self.most_under_way = self.answered = 0
        self.dies_after = None
        # Nobody is answered before so many are under way at once.
        self.waits_for = 0
        self.is_dead = False

    @property
    def root(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def text(self, ids):
        kept = [token for token in ids if token not in self.stops]
        with self.lock:
            return self.tokenizer.decode(kept, clean_up_tokenization_spaces=False)

    def handle_error(self, request, client_address):
        """Clients that hang up are expected."""


def _messages(body):
    messages = body.get("messages")
    check(isinstance(messages, list) and messages, "messages: field required", 422)
    for turn in messages:
        check(turn.keys() >= {"role", "content"}, "messages: role and content", 422)
    return messages


def _chat(text, finish, prompt, tokens, **choice):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text},
                **choice,
            }
        ],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens,
        },
    }  # fmt: skip


class FakeVllm(EngineServer):
    """vLLM with DiffusionGemma, or with a model of another kind."""

    def __init__(self, *args, canvas=32, diffusion=True, has_logprobs=True, **options):
        super().__init__(*args, **options)
        self.canvas, self.diffusion, self.has_logprobs = canvas, diffusion, has_logprobs

    def get(self, path):
        if path == "/health":
            return b""
        if path == "/metrics":
            lines = ["vllm:num_requests_running 0"]
            lines += ["vllm:diffusion_num_denoising_steps_total 1"] * self.diffusion
            return "\n".join(lines).encode()
        check(path == "/v1/models", "Not Found", 404)
        return {"data": [{"id": "gemma"}]}

    def post(self, path, body):
        check(path == "/v1/chat/completions", "Not Found", 404)
        name = body.get("model")
        check(name == "gemma", f"The model `{name}` does not exist.", 404)
        messages = _messages(body)
        xargs = body.get("vllm_xargs") or {}
        for value in xargs.values():
            for one in value if isinstance(value, list) else [value]:
                check(isinstance(one, str | int | float), "vllm_xargs: string or number", 422)
        self._check_logprobs(body)
        if not self.diffusion:
            return _chat("a plain answer", "stop", 9, 3)
        check(
            body.get("temperature", 1.0) == 1.0
            and not any(body.get(field) for field in _REFUSED_BY_DIFFUSION),
            "The temperature, min_p, seed, min_tokens, logit_bias, bad_words, and "
            "allowed_token_ids sampling parameters are not yet supported with diffusion models.",
        )
        check(
            not body.get("response_format"),
            "Structured outputs are not yet supported for diffusion language models.",
        )
        self._check_canvas(xargs)
        return self._answer(body, xargs, sum(len(turn["content"].split()) for turn in messages))

    def _check_logprobs(self, body):
        ids, top = body.get("logprob_token_ids"), body.get("top_logprobs") or 0
        check(not ids or body.get("logprobs"), "when using `logprob_token_ids`, `logprobs` must be")
        check(not top or body.get("logprobs"), "when using `top_logprobs`, `logprobs` must be")
        check(top <= 20, f"Requested sample logprobs of {top}, which is greater than max allowed")
        check(len(ids or ()) <= 128, "Requested logprob_token_ids of length, greater than 128")
        check(all(0 <= token < ROWS for token in ids or ()), "out-of-vocab token ids")

    def _check_canvas(self, xargs):
        seed, pins = xargs.get("diffusion_seed_canvas"), xargs.get("diffusion_pinned")
        steps, read = xargs.get("diffusion_max_steps"), xargs.get("diffusion_read_only")
        if seed is not None:
            check(all(type(t) is int for t in seed), "diffusion_seed_canvas must be a list of ids")
            check(all(0 <= t < ROWS for t in seed), f"diffusion_seed_canvas ids in [0, {ROWS}).")
            check(
                len(seed) == self.canvas,
                f"diffusion_seed_canvas must hold exactly {self.canvas} ids, got {len(seed)}.",
            )
        if pins is not None:
            check(seed is not None, "diffusion_pinned needs a diffusion_seed_canvas to hold.")
            check(
                all(type(p) is int and 0 <= p < self.canvas for p in pins),
                "diffusion_pinned positions must lie inside the canvas.",
            )
        check(steps is None or (type(steps) is int and steps > 0), "diffusion_max_steps positive")
        check(read in (None, 0, 1), "diffusion_read_only must be a boolean (or 0/1).")

    def _answer(self, body, xargs, prompt):
        limit = body.get("max_tokens") or self.canvas
        seed = xargs.get("diffusion_seed_canvas") or [0] * self.canvas
        if xargs.get("diffusion_read_only"):
            limit, stops = min(limit, self.canvas), set()
        else:
            stops = self.stops
        pinned = set(xargs.get("diffusion_pinned") or ())
        ids = [
            seed[place] if place in pinned else FIRST_WORD + place % WORDS
            for place in range(self.canvas)
        ][:limit]
        ends = [place for place, token in enumerate(ids) if token in stops]
        finish = "stop" if ends else "length"
        ids = ids[: ends[0] + 1] if ends else ids
        choice = {}
        if body.get("return_token_ids"):
            choice["token_ids"] = ids
        if body.get("logprobs"):
            choice["logprobs"] = self._content(body, seed, ids) if self.has_logprobs else None
        return _chat(self.text(ids), finish, prompt, len(ids), **choice)

    def _content(self, body, canvas, ids):
        asked, top = body.get("logprob_token_ids"), body.get("top_logprobs") or 0
        named = "token_id:{}" if body.get("return_tokens_as_token_ids") else "<{}>"
        content = []
        for place, token in enumerate(ids):
            values = logprobs(canvas, place)
            shown = asked or sorted(range(ROWS), key=lambda t: -values[t])[:top]
            tops = [{"token": named.format(t), "logprob": values[t]} for t in shown]
            own = {"token": named.format(token), "logprob": values[token]}
            content.append({**own, "top_logprobs": tops})
        return {"content": content}


class FakeSglang(EngineServer):
    """SGLang with a masked model: argmax, so nothing about chance is taken."""

    def __init__(self, *args, has_ids=True, **options):
        super().__init__(*args, **options)
        self.has_ids = has_ids

    def get(self, path):
        if path == "/health":
            return b""
        check(path == "/model_info", "Not Found", 404)
        return {"model_path": "inclusionAI/LLaDA2.1-mini", "is_generation": True}

    def post(self, path, body):
        refused = ("temperature", "seed", "sampling_seed", "logprobs", "return_logprob")
        if path == "/v1/chat/completions":
            _messages(body)
            check(not refused_in(body, refused), "not supported for diffusion LLMs")
            return _chat("chatted", "stop", 4, 1)
        check(path == "/generate", "Not Found", 404)
        check(("text" in body) != ("input_ids" in body), "Either text or input_ids is needed.")
        ids, sampling = body["input_ids"], body.get("sampling_params", {})
        check(all(type(t) is int and 0 <= t < ROWS for t in ids) and ids, "input_ids out of range")
        for fields in (body, sampling):
            check(not refused_in(fields, refused), "not supported for diffusion LLMs")
        limit = sampling.get("max_new_tokens", 8)
        check(limit > 0, "max_new_tokens must be positive")
        made = [FIRST_WORD + (sum(ids) + place) % WORDS for place in range(limit)]
        reply = {
            "text": self.text(made),
            "meta_info": {
                "prompt_tokens": len(ids),
                "completion_tokens": len(made),
                "finish_reason": {"type": "length", "length": limit},
            },
        }
        return reply | ({"output_ids": made} if self.has_ids else {})


class FakeMidspan(EngineServer):
    """``midspan serve`` as docs/serve.md has it: a field that is unknown is refused by name."""

    KNOWN = {
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p"),
        *("seed", "n", "stop", "stream", "stream_options", "midspan"),
    }
    OWN = {
        *("steps", "block_length", "sampler", "decoding", "anchors", "canvas", "rules"),
        *("trace", "frames"),
    }

    def get(self, path):
        if path == "/health":
            return {"status": "ok"}
        check(path == "/v1/models/organism", "no such model", 404)
        return {"id": "organism", "object": "model"}

    def post(self, path, body):
        check(path == "/v1/chat/completions", "no such route", 404)
        _messages(body)
        for name in sorted(body.keys() - self.KNOWN):
            check(False, f"{name}: no such field")
        own = body.get("midspan", {})
        for name in sorted(own.keys() - self.OWN):
            check(False, f"midspan.{name}: no such field")
        for anchor in own.get("anchors", ()):
            check(anchor.keys() in ({"position", "text"}, {"position", "ids"}), "midspan.anchors")
        words = [f"word{place}" for place in range(12)]
        for anchor in sorted(own.get("anchors", ()), key=lambda one: one["position"]):
            said = anchor["text"].split()
            words[anchor["position"] : anchor["position"] + len(said)] = said
        text = own["canvas"].replace("[2]", "two words") if "canvas" in own else " ".join(words)
        reply = _chat(text, "length", 5, 12)
        rejected = "early_reject" if {"rule": "early_reject"} in own.get("rules", ()) else ""
        about = {"forwards": 32, "stopped_early": False, "rejected_by": rejected, "seed": 0}
        return reply | {"midspan": about}


def refused_in(fields, names):
    return [name for name in names if name in fields]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait for each other's acknowledgement.
    wbufsize = -1

    def do_GET(self):
        self._respond(lambda: self.server.get(self.path))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.paths.append(self.path)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            dies = server.dies_after is not None and len(server.bodies) > server.dies_after
            server.is_dead |= dies
        try:
            time.sleep(server.delay)
            end = time.monotonic() + 20
            while server.most_under_way < server.waits_for and time.monotonic() < end:
                time.sleep(0.005)
            if server.is_dead:
                self.close_connection = True
                return
            self._respond(lambda: server.post(self.path, body), body.get("stream"))
        finally:
            with server.lock:
                server.under_way -= 1

    def _respond(self, made, streams=False):
        try:
            status, reply = 200, made()
        except Refusal as refusal:
            kind = "NotFoundError" if refusal.status == 404 else "BadRequestError"
            about = {"message": refusal.message, "type": kind, "code": refusal.status}
            status, reply, streams = refusal.status, {"error": about}, False
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        if streams:
            data = b"data: " + data + b"\n\ndata: [DONE]\n\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        if status == 200 and self.command == "POST":
            with self.server.lock:
                self.server.answered += 1

    def log_message(self, *_):
        """Keep the terminal for the tests."""


@contextlib.contextmanager
def serving(server):
    """A server in a thread; one that has died hangs up on whoever comes."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
