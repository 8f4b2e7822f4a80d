"""Which column of a row means what: the published names, and a row read by them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from midspan.errors import MidspanError

# Columns that a user names for the requests in files of their own: one, several, or none.
Named = str | Sequence[str] | None
COLUMN_OPTION = "--column (column= in Python)"

# Names in the published sets, most telling first; letter case does not matter.
TEXT_COLUMNS = (
    "prompt", "goal", "behavior", "question", "instruction", "forbidden_prompt", "turns",
    "messages", "text",
)  # fmt: skip
_ID_COLUMNS = ("behaviorid", "question_id", "id")
_CONTEXT_COLUMNS = ("contextstring", "context")
_CATEGORY_COLUMNS = ("semanticcategory", "category", "type")
_ANSWER_COLUMNS = ("response", "output", "answer")
_OPENING_COLUMNS = ("target", "opening")
_SAFETY_COLUMNS = ("is_safe", "label")
_IMAGE_COLUMN = "ImageFileName"  # HarmBench's multimodal behaviors mean nothing without it.
# JailbreakBench's artifacts: prompts found for the goals, and whatever a model responded to them.
_ARTIFACT = {"goal", "behavior", "prompt", "jailbroken"}
_LABELS = {"safe": True, "unsafe": False}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Columns:
    """Names of columns; an empty name means that there is none.

    Attributes:
        text: The request.
        id: Identifies the row, together with `style`.
        style: SORRY-Bench's linguistic mutation.
        context: Stands before the request, parted by a rule (HarmBench).
        input: Stands behind the request, as a part of it (Alpaca).
        category: The kind of harm.
        answer: A whole answer to the request.
        opening: The start of an answer, where no whole one is there.
        safe: Whether the request's answer is safe: "safe", "unsafe", or a truth value.
    """

    text: str
    id: str = ""
    style: str = ""
    context: str = ""
    input: str = ""
    category: str = ""
    answer: str = ""
    opening: str = ""
    safe: str = ""

    def names(self) -> tuple[str, ...]:
        """The columns that there are."""
        return tuple(filter(None, astuple(self)))


def require_columns(rows: Iterable[Mapping[str, Any]], names: Sequence[str], place: str) -> None:
    """Refuse rows that do not all have every column."""
    for number, row in enumerate(rows, start=1):
        for name in names:
            if name not in row:
                raise MidspanError(
                    f"data: {place} row {number} has no column {name}; it has {_listed(row)}"
                )


def find_columns(rows: Sequence[Mapping[str, Any]], named: Named, place: str) -> Columns:
    """Columns of a file of one's own, by their names.

    Args:
        rows: All rows; the names of the first are taken.
        named: Column of the request, or several of which the file has one; found by name when None.
        place: The file, for the error.

    Raises:
        MidspanError: There is no column of requests, or they need images.
    """
    names = {str(name).lower(): str(name) for name in rows[0]}
    if _IMAGE_COLUMN in rows[0]:
        raise MidspanError(f"data: {place} holds requests about images; give a set of texts")
    own = named_column(rows[0], named, place)
    if rows[0].keys() >= _ARTIFACT:
        return Columns(own or "goal", id="behavior", category="category")
    request = own or _first(names, TEXT_COLUMNS)
    if not request:
        raise MidspanError(
            f"data: {place} has no column {' or '.join(TEXT_COLUMNS)}; it has {_listed(rows[0])}; "
            f"name that of the requests: {COLUMN_OPTION}"
        )
    # What is named as the request is nothing else.
    names = {lower: name for lower, name in names.items() if name != own}
    answer = _first(names, _ANSWER_COLUMNS)
    safe = _first(names, _SAFETY_COLUMNS)
    # Other sets call other things "label".
    if safe.lower() == "label" and any(safety(row, safe, place) is None for row in rows):
        safe = ""
    return Columns(
        text=request,
        id=_first(names, _ID_COLUMNS),
        style=_first(names, ("prompt_style",)),
        context=_first(names, _CONTEXT_COLUMNS),
        input=names.get("input", "") if request.lower() == "instruction" else "",
        category=_first(names, _CATEGORY_COLUMNS),
        answer=answer,
        opening="" if answer else _first(names, _OPENING_COLUMNS),
        safe=safe,
    )


def named_column(row: Mapping[str, Any], named: Named, place: str) -> str:
    """The one that a file has of the columns that a user names; "" where none is named.

    Raises:
        MidspanError: It has none of them.
    """
    wanted = (named,) if isinstance(named, str) else tuple(named or ())
    own = next((name for name in wanted if name in row), "")
    if wanted and not own:
        raise MidspanError(
            f"data: {place} has no column {' or '.join(wanted)}; it has {_listed(row)}"
        )
    return own


def text_of(row: Mapping[str, Any], name: str, place: str) -> str:
    """The text in a column, without white space around it; "" when there is none.

    Raises:
        MidspanError: The column holds something else, such as a number.
    """
    value = row.get(name) if name else None
    if isinstance(value, list):
        value = _request_of(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MidspanError(
            f"data: {place}: {name} is {value!r:.60}, not text; give another column: "
            f"{COLUMN_OPTION}"
        )
    return value.replace("\r\n", "\n").strip()


def label_of(row: Mapping[str, Any], name: str, place: str) -> str:
    """A text or number that names the row; "" when there is none."""
    value = row.get(name) if name else None
    return str(value) if isinstance(value, int | float) else text_of(row, name, place)


def _request_of(turns: list[Any]) -> Any:
    """The last user's turn of a list of messages; of a list of texts (SORRY-Bench) the first."""
    if turns and all(isinstance(turn, dict) and "role" in turn for turn in turns):
        users = [turn.get("content") for turn in turns if turn["role"] == "user"]
        return users[-1] if users else None
    return turns[0] if turns else None


def category_of(row: Mapping[str, Any], name: str) -> str:
    """The category; BeaverTails names all and marks those that apply."""
    value = row.get(name) if name else None
    if isinstance(value, dict):
        return ", ".join(key for key, applies in value.items() if applies)
    return "" if value is None else str(value)


def safety(row: Mapping[str, Any], name: str, place: str) -> bool | None:
    """Whether a row is marked safe; None without a mark.

    Raises:
        MidspanError: ``is_safe`` holds something else.
    """
    value = str(row.get(name, "")).lower() if name else ""
    if name.lower() != "is_safe":  # A number called "label" may mean either.
        return _LABELS.get(value)
    if value not in _LABELS | _TRUTH:
        raise MidspanError(f"data: {place}: {name} must be true or false, not {value!r}")
    return (_LABELS | _TRUTH)[value]


def _first(names: Mapping[str, str], wanted: Iterable[str]) -> str:
    return next((names[name] for name in wanted if name in names), "")


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row))
