"""An OpenAI-compatible server on the loopback that fails on purpose, in ways it can repeat."""

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("429", "500", "reset", "slow", "malformed", "truncated", "cut_short")
# A question fails at most so often in a row; a client with more tries must reach the answer.
MOST_FAULTS = 3


def score_of(question: str) -> int:
    """The right score, from 1 to 5."""
    return 1 + hashlib.sha256(question.encode()).digest()[0] % 5


class FaultyServer(ThreadingHTTPServer):
    """Answers `{"score": ...}` to the last message.

    Args:
        rate: Share of requests with a fault.
        slow: Seconds of a slow reply.
    """

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, rate: float = 0.2, slow: float = 1.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rate, self.slow = rate, slow
        self.seen: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.lock = threading.Lock()

    @property
    def spec(self) -> str:
        """As users name it."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1#judge"

    def fault(self, question: str) -> str:
        """What goes wrong with this request; empty for nothing."""
        with self.lock:
            self.seen[question] += 1
            attempt = self.seen[question]
            digest = hashlib.sha256(f"{question}/{attempt}".encode()).digest()
            if attempt > MOST_FAULTS or digest[0] >= 256 * self.rate:
                return ""
            fault = FAULTS[digest[1] % len(FAULTS)]
            self.faults[fault] += 1
            return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait for each other's acknowledgement.
    wbufsize = -1
    server: FaultyServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.keys.add(self.headers.get("Authorization", ""))
        fault = self.server.fault(question)
        content = json.dumps({"score": score_of(question)})
        if fault == "cut_short":  # The model's own words break off: valid HTTP, no verdict.
            content = content[:-3]
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        reply = json.dumps({"choices": [choice], "usage": usage}).encode()
        match fault:
            case "reset":
                self.close_connection = True
                return
            case "429" | "500":
                self._send(int(fault), b'{"error": {"message": "try later"}}')
            case "malformed":
                self._send(200, b"<html>bad gateway</html>")
            case "truncated":
                self._send(200, reply[: len(reply) // 2], announced=len(reply))
            case _:
                if fault == "slow":
                    time.sleep(self.server.slow)
                self._send(200, reply)

    def _send(self, status: int, body: bytes, announced: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(announced or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or announced is not None

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the benchmark."""


@contextlib.contextmanager
def serving(rate: float = 0.2, slow: float = 1.0) -> Iterator[FaultyServer]:
    with FaultyServer(rate, slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
