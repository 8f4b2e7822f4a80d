"""A local hub with the rules that uploads meet: tokens, visibility, large files, commits."""

import base64
import hashlib
import json
import re
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_" + "w" * 24
READ_ONLY = "hf_" + "r" * 24
XET_TOKEN = "xet-of-an-hour"


def unpacked(xorb):
    """The bytes of a xorb whose chunks are not compressed.

    A chunk's header: version, 3 bytes of its length here, kind of compression, 3 of its length.
    """
    content = b""
    while xorb:
        length, compression = int.from_bytes(xorb[1:4], "little"), xorb[4]
        assert xorb[0] == compression == 0, "send what does not compress"
        content, xorb = content + xorb[8 : 8 + length], xorb[8 + length :]
    return content


class FakeHub:
    """What the hub holds, and which requests are to fail.

    Attributes:
        repos: By name, {"private", "files": {name: bytes}, "commits": [message]}.
        stored: Large files by SHA-256, whether committed or not.
        puts: SHA-256 of every large file that was sent.
        xorbs: What the client of the hub's storage (xet) has sent since its last list of files.
        failing: Paths (regular expressions) that answer with `failure`, with how often.
        failure: The status of what fails.
    """

    def __init__(self):
        self.repos, self.stored, self.puts, self.failing, self.seen = {}, {}, [], {}, []
        self.failure, self.xorbs = 500, []

    def reply(self, method, path, token, body):
        self.seen.append((method, path))
        for pattern, left in self.failing.items():
            if left and re.search(pattern, path):
                self.failing[pattern] -= 1
                return self.failure, {"error": "disk on fire"}
        if path.startswith("/lfs/"):
            return self.put(path.rsplit("/", 1)[1], body)
        if path.startswith(("/xet/", "/v1/telemetry")):
            return self.xet(path, token, body)
        if token not in (TOKEN, READ_ONLY):
            return 401, {"error": "Invalid username or password."}
        if method == "POST" and token == READ_ONLY:
            return 403, {"error": "you must use a write token"}
        fields = json.loads(body) if body and not path.endswith("/commit/main") else body
        for pattern, answer in self.ROUTES.items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return answer(self, *found.groups(), fields)
        return 404, {"error": f"no route {method} {path}"}

    def put(self, oid, body):
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "wrong digest"}
        self.puts.append(oid)
        self.stored[oid] = body
        return 200, {}

    def xet(self, path, token, body):
        """The storage: asked for chunks it knows, given chunks in a xorb, told of files in a shard.

        Clients that are denied a grant for another store send their xorbs here.
        """
        if token != XET_TOKEN:
            return 401, {}
        if path.startswith("/xet/v1/xorbs/"):
            self.xorbs.append(body)
            return 200, {"was_inserted": True}
        if path == "/xet/v2/shards":
            content, self.xorbs = b"".join(map(unpacked, self.xorbs)), []
            self.put(hashlib.sha256(content).hexdigest(), content)
            return 200, {"type": "result"}
        return 404, {}

    def xet_token(self, name, _):
        expires = int(time.time()) + 3600
        return 200, {"casUrl": f"{self.url}/xet", "exp": expires, "accessToken": XET_TOKEN}

    def create(self, fields):
        name = f"{fields['organization']}/{fields['name']}" if fields.get("organization") else ""
        name = name or f"me/{fields['name']}"
        if name in self.repos:
            return 409, {"error": "You already created this model repo", "url": name}
        private = fields.get("visibility", "") == "private" or bool(fields.get("private"))
        self.repos[name] = {"private": private, "files": {}, "commits": []}
        return 200, {"url": f"http://127.0.0.1/{name}", "name": name, "id": name}

    def info(self, name, _):
        if name not in self.repos:
            return 404, {"error": "Repository not found"}
        repo = self.repos[name]
        return 200, {"id": name, "private": repo["private"], "sha": "0" * 40, "siblings": []}

    def validate(self, fields):
        head = fields["content"].split("---")[1]
        base = re.search(r"^base_model: (.*)$", head, re.M)
        bad = base and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base[1])
        errors = [{"message": '"base_model" is not valid. Use a model id'}] if bad else []
        return (400 if bad else 200), {"errors": errors, "warnings": []}

    def preupload(self, name, fields):
        files = self.repos[name]["files"]

        def row(file):
            is_large = file["path"].endswith(".safetensors")
            there = files.get(file["path"])
            oid = None
            if there is not None:
                blob = b"blob %d\0" % len(there) + there
                plain = hashlib.sha1(blob).hexdigest()
                oid = hashlib.sha256(there).hexdigest() if is_large else plain
            mode = "lfs" if is_large else "regular"
            return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

        return 200, {"files": [row(file) for file in fields["files"]]}

    def batch(self, name, fields):
        def row(one):
            if one["oid"] in self.stored:
                return one
            return {**one, "actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}}

        return 200, {"transfer": "basic", "objects": [row(one) for one in fields["objects"]]}

    def commit(self, name, body):
        head, *operations = [json.loads(line) for line in body.splitlines()]
        files = dict(self.repos[name]["files"])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "lfsFile":
                if value["oid"] not in self.stored:
                    return 400, {"error": "LFS pointer to a file that is not there"}
                files[value["path"]] = self.stored[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        self.repos[name]["files"] = files
        self.repos[name]["commits"].append(head["value"]["summary"])
        number = len(self.repos[name]["commits"])
        oid = f"{number:040x}"
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{oid}", "commitOid": oid}

    ROUTES = {
        "POST /api/repos/create": create,
        "POST /api/validate-yaml": validate,
        r"GET /api/models/([^/]+/[^/]+)(?:/revision/main)?": info,
        r"POST /api/models/([^/]+/[^/]+)/preupload/main": preupload,
        r"GET /api/models/([^/]+/[^/]+)/xet-write-token/main": xet_token,
        r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch": batch,
        r"POST /api/models/([^/]+/[^/]+)/commit/main": commit,
    }


@contextmanager
def serving(hub):
    """The hub behind an address of this machine, which it has as `url`."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            status, value = hub.reply(self.command, self.path.partition("?")[0], token, body)
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
