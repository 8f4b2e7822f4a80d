"""Journals, damaged: whole lines are as written, a torn end is cut off, the rest is refused."""

import json
import re

from fuzzing import fuzzed, tried
from hypothesis import given
from mutants import damaged, json_lines, put

import midspan.decoding  # noqa: F401  (loaded before the clock starts)
from midspan.engine.roles import RawReply
from midspan.journal.generation import _from_dict
from midspan.journal.journal import Journal, key_of

ENTRIES = [
    {"key": key_of(n=number), "value": value}
    for number, value in enumerate(
        (
            {"raw": "a reply \u2028 of two lines", "tokens": 3},
            {"raw": 0.5, "forwards": 2},
            {
                "tokens": [5, 6], "text": "a b", "forwards": 2, "stopped_early": False,
                "trace": {"position": [0], "token": [5], "step": [0], "confidence": [1]},
            },
            "text", [1, 2], 7, None,
        )
    )
]  # fmt: skip
WHOLE = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in ENTRIES).encode()


def plain(content):
    """Keys and values of the lines that end, as the plain library reads them; the last count.

    A journal reads a value when it is wanted, and never one that a later line replaces.

    Returns:
        The values, and the keys whose last line cannot be read; None for a line without a key.
    """
    entries, broken = {}, set()
    for line in content.split(b"\n")[:-1]:
        try:
            entry = json.loads(line.decode("utf-8-sig", "surrogatepass"))
        except (ValueError, RecursionError):
            named = re.match(rb'\{"key": "([0-9a-f]+)"', line)
            broken.add(named and named[1].decode())
            continue
        entries[entry["key"]] = entry["value"]
        broken.discard(entry["key"])
    return entries, broken


def dumped(values):
    """Values that can be compared: NaN is not itself."""
    return {repr(key): json.dumps(value) for key, value in values.items()}


def read(path):
    with Journal(path) as journal:
        return {key: journal[key] for key in journal}


@fuzzed(60)
@given(content=json_lines(ENTRIES) | damaged(WHOLE, 4))
def test_values_are_as_written(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "journal.jsonl", content)
    values, taken = tried("journals", lambda: read(path))
    if taken:
        written, broken = plain(content)
        assert not broken
        assert dumped(values) == dumped(written)
        assert path.read_bytes() == content[: content.rfind(b"\n") + 1]
        assert json.dumps(read(path)) == json.dumps(values)
    elif path.stat().st_size != len(content):
        assert path.read_bytes() == content[: content.rfind(b"\n") + 1]


@fuzzed(40)
@given(content=json_lines(ENTRIES[:3]))
def test_replies_and_responses_are_as_written(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "journal.jsonl", content)
    keys = [entry["key"] for entry in ENTRIES[:3]]

    def replay():
        with Journal(path) as journal:
            replies = [journal.read(key, RawReply.from_dict) for key in keys[:2] if key in journal]
            made = [journal.read(key, _from_dict) for key in keys[2:] if key in journal]
            return replies, made

    found, taken = tried("replayed journals", replay)
    if taken:
        written, broken = plain(content)
        assert not broken & set(keys)
        replies, made = found
        assert [reply.raw for reply in replies] == [
            written[key]["raw"] for key in keys[:2] if key in written
        ]
        assert all(type(reply.tokens) is int and reply.tokens >= 0 for reply in replies)
        for one in made:
            assert list(one.tokens) == written[keys[2]]["tokens"]
            assert one.text == written[keys[2]]["text"] and isinstance(one.text, str)
            assert all(type(token) is int for token in one.tokens)
