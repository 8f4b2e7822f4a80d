"""Valid files, damaged in the ways that files are: in their structure, and in their bytes.

A JSON text is a tree of `Object`, list and `Raw`; a `Raw` is written as it is, so that a tree can
hold what no JSON library writes: huge numbers, NaN, half a surrogate pair, a key that is there
twice, ten thousand brackets.
"""

import json
from pathlib import Path

from hypothesis import strategies as st

DEEP = 3000


class Raw(str):
    """JSON text, or what stands in its place."""


class Object(list):
    """Pairs of a name's JSON text and a value."""


LEAVES = tuple(
    map(
        Raw,
        (
            *("null", "true", "false", "0", "-1", "1", "2.5", "1e308", "1e999", "NaN", "-Infinity"),
            *("9" * 5000, "9" * 40, "[]", "{}", "[[]]", '[{"a": []}]', '""', '"x"', '" \\n "'),
            *('"\\ud83d"', '"\\u0000"', '"\\ud83d\\ude00"', '"na\u2028me"', '"=1+1"', '"../x"'),
            *("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "", "undefined", "'x'"),
        ),
    )
)
PIECES = (
    *(b"", b"\0", b"\xff", b"\xed\xa0\xbd", b"\n", b"\r", b'"', b",", b"{", b"}", b"[", b"]"),
    *(b"\xef\xbb\xbf", b": ", b"- ", b"&a ", b"*a", b"!!", b"<<: *a\n", b"\t", b"|", b"\\"),
    *("\u2028".encode(), b"0" * 64, b"version https://git-lfs.github.com/spec/v1\n"),
)


def tree(value):
    """A Python value as a tree."""
    if isinstance(value, dict):
        return Object((Raw(json.dumps(name)), tree(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return [tree(item) for item in value]
    return Raw(json.dumps(value))


def text(node) -> str:
    """A tree as JSON text."""
    if isinstance(node, Object):
        return "{" + ", ".join(f"{name}: {text(item)}" for name, item in node) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(text, node)) + "]"
    return str(node)


def places(node):
    """Every list and object of a tree with the index of each of its items."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield node, index
            yield from places(item[1] if isinstance(node, Object) else item)


def copied(node):
    if isinstance(node, Object):
        return Object((name, copied(item)) for name, item in node)
    return [copied(item) for item in node] if isinstance(node, list) else node


@st.composite
def trees(draw, value, most=3):
    """A value's tree with up to `most` changes of structure."""
    root = [copied(tree(value))]
    for _ in range(draw(st.integers(0, most))):
        found = list(places(root))
        if not found:
            break
        parent, index = found[draw(st.integers(0, len(found) - 1))]
        item = parent[index]
        change = draw(st.sampled_from(CHANGES))
        leaf = draw(st.sampled_from(LEAVES))
        change(parent, index, item, leaf)
    return root[0] if root else Raw("")


def _drop(parent, index, item, leaf):
    del parent[index]


def _twice(parent, index, item, leaf):
    parent.insert(index, copied([item])[0])


def _replace(parent, index, item, leaf):
    parent[index] = (item[0], leaf) if isinstance(parent, Object) else leaf


def _rename(parent, index, item, leaf):
    if isinstance(parent, Object):
        parent[index] = (leaf if leaf.startswith('"') else Raw(json.dumps(str(leaf))), item[1])


def _nest(parent, index, item, leaf):
    parent[index] = (
        (item[0], [item[1]]) if isinstance(parent, Object) else Object([(Raw('"a"'), item)])
    )


CHANGES = (_drop, _twice, _replace, _replace, _rename, _nest)


@st.composite
def damaged(draw, content: bytes, most=2):
    """Bytes, cut, flipped, or with pieces put in, up to `most` times; often left as they are."""
    for _ in range(draw(st.sampled_from((0, 0, *range(most + 1))))):
        at = draw(st.integers(0, len(content)))
        change = draw(st.integers(0, 4))
        if change == 0:
            content = content[:at]
        elif change == 1:
            content = content[:at] + draw(st.sampled_from(PIECES)) + content[at:]
        elif change == 2 and at < len(content):
            flipped = content[at] ^ (1 << draw(st.integers(0, 7)))
            content = content[:at] + bytes([flipped]) + content[at + 1 :]
        elif change == 3:
            content = content[:at] + content[at + draw(st.integers(1, 64)) :]
        else:
            content = content[:at] + content[max(0, at - draw(st.integers(1, 64))) :]
    return content


@st.composite
def json_files(draw, value):
    """The bytes of a JSON file that holds about this value."""
    content = text(draw(trees(value))).encode(errors="surrogatepass")
    return draw(damaged(content))


@st.composite
def json_lines(draw, rows):
    """The bytes of a file of JSON lines, of which one or two are damaged in structure."""
    lines = [text(tree(row)) for row in rows]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(rows) - 1))
        lines[at] = text(draw(trees(rows[at], 2)))
    if draw(st.integers(0, 5)) == 0:
        del lines[draw(st.integers(0, len(lines) - 1))]
    content = "".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")
    return draw(damaged(content))


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file of a folder anew; a link of that name is replaced, not followed."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path
