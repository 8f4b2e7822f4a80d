"""Journals, damaged: whole lines are as written, a torn end is cut off, the rest is refused."""

import json
import re

import numpy as np
from fuzzing import fuzzed, tried
from hypothesis import given
from mutants import damaged, json_lines, put

from midspan.decoding import Generation
from midspan.engine.roles import RawReply
from midspan.journal.generation import _from_dict
from midspan.journal.journal import Journal, key_of
from midspan.journal.suffix_search import _read_step
from midspan.scoring.gcg_step import GCGStep
from midspan.tasks.fit import _read_scores
from midspan.tasks.verdicts import _read_verdict

VALUES = (
    {"raw": "a reply \u2028 of two lines", "tokens": 3},
    {"raw": 0.5, "forwards": 2, "thoughts": "hm", "lost_tokens": 4},
    {
        "tokens": [5, 6], "text": "a b", "forwards": 2, "stopped_early": False,
        "trace": {"position": [0], "token": [5], "step": [0], "confidence": [1]},
    },
    {"suffix_ids": [4, 5], "loss": 1.5, "forwards": 3},
    {"values": [-1.5, -2.0], "errors": [0.0, 0.25], "forwards": 2},
    {"success": False, "problem": "no end"},
)  # fmt: skip
COUNTS = ("tokens", "prompt_tokens", "forwards", "lost_prompt_tokens", "lost_tokens")
ENTRIES = [
    {"key": key_of(n=number), "value": value}
    for number, value in enumerate((*VALUES[:3], "text", [1, 2], 7, None))
]
READ = [{"key": key_of(n=number), "value": value} for number, value in enumerate(VALUES)]
KINDS = (
    RawReply.from_dict, RawReply.from_dict, _from_dict, _read_step, _read_scores,
    _read_verdict,
)  # fmt: skip
READERS = {entry["key"]: read for entry, read in zip(READ, KINDS, strict=True)}
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
@given(content=json_lines(READ))
def test_what_is_read_of_values_is_as_written(tmp_path_factory, content):
    path = put(tmp_path_factory.getbasetemp(), "journal.jsonl", content)

    def replay():
        with Journal(path) as journal:
            keys = [key for key in READERS if key in journal]
            return {key: journal.read(key, READERS[key]) for key in keys}

    found, taken = tried("replayed journals", replay)
    if taken:
        written, broken = plain(content)
        assert not broken & set(READERS)
        assert found.keys() == written.keys() & READERS.keys()
        for key, value in found.items():
            assert same(value, written[key]), (value, written[key])


def same(value, written):
    """Whether what was read says what stands there, in the types that users of it expect."""
    if isinstance(value, RawReply):
        numbers = {field: getattr(value, field) for field in COUNTS}
        assert all(type(number) is int and number >= 0 for number in numbers.values())
        given_fields = {"raw": value.raw, **{n: v for n, v in numbers.items() if n in written}}
        texts = {name: getattr(value, name) for name in written if name not in given_fields}
        assert all(isinstance(text, str) for text in texts.values())
        return json.dumps({**given_fields, **texts}, sort_keys=True) == json.dumps(
            written, sort_keys=True
        )
    if isinstance(value, Generation):
        assert all(type(number) is int for number in (*value.tokens, value.forwards))
        trace = written["trace"]
        assert np.allclose(
            value.trace.confidence, trace["confidence"], rtol=1e-6, equal_nan=True
        ) and all(
            getattr(value.trace, name).tolist() == trace[name]
            for name in ("position", "token", "step")
        )
        names = ("text", "forwards", "stopped_early")
        return list(value.tokens) == written["tokens"] and all(
            getattr(value, name) == written[name] and type(written[name]) is type(VALUES[2][name])
            for name in names
        )
    if isinstance(value, GCGStep):
        assert all(type(number) is int for number in (*value.suffix_ids, value.forwards))
        value = {**vars(value), "suffix_ids": list(value.suffix_ids)}
        assert isinstance(value["loss"], float)
        return dumped(value) == dumped({name: written[name] for name in value})
    if "success" in value:
        assert type(value["success"]) is bool
    else:
        assert type(value["forwards"]) is int
        assert all(type(number) is float for number in (*value["values"], *value["errors"]))
        assert len(value["values"]) == len(value["errors"])
    return dumped(value) == dumped(written)
