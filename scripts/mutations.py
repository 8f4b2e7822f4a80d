"""One-line mutations of a Python file: what `mutate.py` draws from.

A mutation replaces one expression or statement, so that a test that reads its effect fails.
Docstrings, annotations, texts, error messages, assertions and imports are left alone. A mutation is
known by its function and its words, not by its line number, so that another revision has it too.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
          "maximum": "minimum", "argmax": "argmin", "argmin": "argmax"}  # fmt: skip
# Keywords for people, guards like `assert`, and what is the default here: UTF-8.
_LEFT_ALONE = (None, "description", "help", "strict", "encoding")
# Calls whose arguments are texts for people.
_MESSAGES = {"MidspanError", "print", "warn", "warning", "info", "echo"}


@dataclass(frozen=True)
class Mutation:
    """A piece of a file and what stands there instead.

    Attributes:
        file: From the root of the repository.
        scope: The class and function around it, with dots.
        kind: What is changed, in two words.
        before: The piece as it is written.
        after: The piece instead.
        nth: Which of the mutations with equal values of all the above, from 0.
        line: Counted from 1.
        statement: The line on which the innermost statement around it begins.
        at_import: Whether it runs when its module is imported, and not when a function is called.
        span: First and last place of the piece, in bytes of the file.
    """

    file: str
    scope: str
    kind: str
    before: str
    after: str
    nth: int
    line: int
    statement: int
    at_import: bool
    span: tuple[int, int]

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What it is known by in every revision."""
        return (self.file, self.scope, self.kind, self.before, self.after, self.nth)

    def apply(self, text: str) -> str:
        """The file's text with the mutation in it."""
        raw, (start, end) = text.encode(), self.span
        return (raw[:start] + self.after.encode() + raw[end:]).decode()


def find(file: str, text: str) -> list[Mutation]:
    """All mutations of a file, in the order of their places."""
    raw = text.encode()
    offsets = [0]
    for line in raw.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found: list[Mutation] = []
    for place, node, kind, after in _walk(ast.parse(text), _Place()):
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = offsets[node.lineno - 1] + node.col_offset
        span = (start, offsets[node.end_lineno - 1] + node.end_col_offset)
        before = raw[slice(*span)].decode()
        scope = ".".join(place.scope)
        words = (file, scope, kind, before, after, 0)
        found.append(Mutation(*words, node.lineno, place.statement, not place.inside, span))
    found.sort(key=lambda mutation: (mutation.span, mutation.kind, mutation.after))
    seen: dict[tuple[object, ...], int] = {}
    for number, mutation in enumerate(found):
        nth = seen[mutation.key] = seen.get(mutation.key, -1) + 1
        found[number] = replace(mutation, nth=nth)
    return found


@dataclass(frozen=True)
class _Place:
    """What is around a node: names of classes and functions, a statement's line, known names."""

    scope: tuple[str, ...] = ()
    statement: int = 0
    inside: bool = False
    rebound: frozenset[str] = frozenset()


Found = tuple[_Place, ast.expr | ast.stmt, str, str]


def _walk(node: ast.AST, place: _Place) -> Iterator[Found]:
    """Every mutation: its place, the node that is replaced, kind, the text instead."""
    if isinstance(node, ast.stmt):
        place = replace(place, statement=node.lineno)
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        rebound = frozenset() if isinstance(node, ast.ClassDef) else _rebound(node)
        place = replace(place, scope=(*place.scope, node.name), rebound=rebound)
    if isinstance(node, ast.expr):
        for kind, changed in _expressions(node):
            yield place, node, kind, f"({ast.unparse(ast.fix_missing_locations(changed))})"
    elif isinstance(node, ast.stmt):
        for kind, text in _statements(node, place.rebound):
            yield place, node, kind, text
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant
    ):
        yield place, node.test, "condition", f"(not {ast.unparse(node.test)})"
    called = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in _children(node):
        inside = place.inside or (called and isinstance(child, ast.stmt))
        yield from _walk(child, replace(place, inside=inside))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What may be mutated below a node."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Call) and _called(node) in _MESSAGES:
        return
    skipped = {"annotation", "returns", "decorator_list", "pattern", "bases", "ctx"}
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.keyword) and node.arg in _LEFT_ALONE[1:]:
        return
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            values = value if isinstance(value, list) else [value]
            yield from (child for child in values if isinstance(child, ast.AST))


def _expressions(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Kinds of mutation, and the expression after each."""
    match node:
        case ast.Compare(ops=[operator]):
            yield "comparison", _with(node, ops=[_COMPARISONS[type(operator)]()])
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield "and/or", _with(node, op=other)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", operand
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield "sign", operand
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            if not any(_is_text(side) for side in (left, right)):
                yield "operator", _with(node, op=_OPERATORS[type(operator)]())
        case ast.Constant(value=bool()):
            yield "constant", ast.Constant(not node.value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant", ast.Constant(value + 1)
            yield "constant", ast.Constant(value - 1)
        case ast.Subscript(slice=ast.Constant(value=0)):
            yield "index", _with(node, slice=ast.UnaryOp(ast.USub(), ast.Constant(1)))
        case ast.Subscript(slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
            yield "index", _with(node, slice=ast.Constant(0))
        case ast.Call() if _called(node) not in _MESSAGES:
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    name = _called(node)
    if name in _NAMES and isinstance(node.func, ast.Name):
        yield "name", _with(node, func=ast.Name(_NAMES[name]))
    elif name in _NAMES and isinstance(node.func, ast.Attribute):
        yield "name", _with(node, func=_with(node.func, attr=_NAMES[name]))
    for place, keyword in enumerate(node.keywords):
        if keyword.arg not in _LEFT_ALONE:
            others = node.keywords[:place] + node.keywords[place + 1 :]
            yield "removed keyword", _with(node, keywords=others)


def _statements(node: ast.stmt, rebound: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Kinds of mutation, and the statement after each."""
    match node:
        case ast.Expr(value=ast.Call() as call) if _called(call) not in _MESSAGES:
            yield "deleted statement", "pass"
        case ast.AugAssign() | ast.Delete():
            yield "deleted statement", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "deleted statement", "pass"
        case ast.Assign() if _names(node) & rebound:
            yield "deleted statement", "pass"
        case ast.Break():
            yield "loop", "continue"
        case ast.Continue():
            yield "loop", "break"


def _with(node: ast.expr, **fields: object) -> ast.expr:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _names(node: ast.AST) -> set[str]:
    return {
        child.id
        for child in ast.walk(node)
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
    }


def _rebound(function: ast.AST) -> frozenset[str]:
    """Names that have a value before they are given another one: deleting that is no NameError."""
    names = [child.arg for child in ast.walk(function) if isinstance(child, ast.arg)]
    added = {id(child.target) for child in ast.walk(function) if isinstance(child, ast.AugAssign)}
    stores = (child for child in ast.walk(function) if isinstance(child, ast.Name))
    names += [n.id for n in stores if isinstance(n.ctx, ast.Store) and id(n) not in added]
    return frozenset(name for name in names if names.count(name) > 1)
