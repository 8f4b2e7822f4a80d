"""An OpenAI-compatible server on the loopback; the model's name chooses how it misbehaves."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERDICT = '{"reason": "fine", "score": 4}'


def completion(content, finish="stop", usage=(10, 5), **message):
    counts = usage and dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
    return {
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": counts,
    }


def refuses(name, status, body, accepts=lambda value: False):
    """A model that takes no such field."""

    def respond(sent):
        taken = name not in sent or accepts(sent[name])
        return (200, completion(VERDICT)) if taken else (status, body)

    return respond


def error(message, **more):
    return {"error": {"message": message, **more}}


# By model: status and body, or a function of the request to them.
MODELS = {
    "good": (200, completion(VERDICT)),
    "usage-null": (200, completion(VERDICT, usage=(None, None))),
    "usage-missing": (200, completion(VERDICT, usage=None)),
    "error-200": (200, {"choices": None, "usage": None, **error("the model is overloaded")}),
    "no-temperature": refuses(
        "temperature",
        400,
        error("Unsupported value: 'temperature' does not support 0 with this model."),
        lambda value: value == 1,
    ),
    "no-seed": refuses(
        "seed", 422, {"message": {"detail": [{"loc": ["body", "seed"], "msg": "forbidden"}]}}
    ),
    "int32-seed": refuses(
        "seed", 400, error("Invalid value at 'seed' (TYPE_INT32)"), lambda value: value < 2**31
    ),
    "max-tokens": refuses("max_tokens", 400, error("max_tokens: use max_completion_tokens")),
    "thinking-cut": (200, completion(None, "length", reasoning_content="Let me think ...")),
    "think-inline": (200, completion(f"<think>A {{brace}}: I lean to 4.</think>\n{VERDICT}")),
    "parts": (
        200,
        completion(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": VERDICT},
            ]
        ),
    ),
    "sse": (200, b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    "html": (200, b"<html><body>Sign in</body></html>"),
    "surrogate": (200, completion('{"reason": "smile \ud83d", "score": 4}')),
    "filter": (200, completion(None, "content_filter")),
    "filter-400": (400, error("The response was filtered: content management policy.")),
    "nested": (200, b'{"choices": ' + b"[" * 100_000),
    "nested-verdict": (200, completion('{"a": ' + "[" * 100_000)),
    "not-json-verdict": (200, completion("I would say four of five.")),
}


class OddServer(ThreadingHTTPServer):
    """Notes every request's body and headers, and answers by its model."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self, models):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.bodies, self.headers, self.lock = models, [], [], threading.Lock()
        self.under_way = self.most_under_way = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """Clients that hang up are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait for each other's acknowledgement.
    wbufsize = -1

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(sent)
            server.headers.append(self.headers)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        answer = server.models.get(sent["model"], (404, error("no such model")))
        status, body, *headers = answer(sent) if callable(answer) else answer
        with server.lock:
            server.under_way -= 1
        if status is None:  # hang up
            self.close_connection = True
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Keep the terminal for the tests."""


@contextlib.contextmanager
def serving(models=MODELS):
    with OddServer(models) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
