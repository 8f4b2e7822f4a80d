"""What a verb returns: a finished run that shows itself, with its records, page and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from midspan.errors import MidspanError, not_one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from midspan.report import Report, Table

Row = TypeVar("Row")
_SHOWN = 4  # figures in a summary


def data_frame(records: Sequence[Any]) -> "DataFrame":
    """Records as a `pandas.DataFrame`, one a row.

    Raises:
        MidspanError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MidspanError("to_pandas: pandas is not installed; pip install pandas") from error
    return pandas.DataFrame.from_records(list(records))


def chosen(figures: "Mapping[str, Figure]", name: str | None) -> "Figure":
    """A figure by name, the first without one.

    Raises:
        MidspanError: There is none, or none of this name.
    """
    if not figures:
        raise MidspanError("figure: this run draws none")
    if name is not None and name not in figures:
        raise not_one_of("figure", name, figures)
    return figures[name] if name is not None else next(iter(figures.values()))


def picked(field: str, value: str | None, choices: Sequence[str]) -> str:
    """One of the choices; the first where none is given.

    Raises:
        MidspanError: The value is none of them.
    """
    if value is not None and value not in choices:
        raise not_one_of(field, value, choices)
    return choices[0] if value is None else value


def few(parts: Sequence[str]) -> str:
    """The first of several parts of a summary, and how many more there are."""
    shown = "; ".join(parts[:_SHOWN])
    return f"{shown}; {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else shown


@dataclass(frozen=True, repr=False)
class RunResult(Generic[Row]):
    """A finished run.

    Attributes:
        folder: The run folder; the same call with ``out`` set to it continues the run. A
            temporary one is deleted when the process ends.
        models: Specs of the models, the first being what the others are compared with.
        seconds: Wall time of the call.
    """

    folder: Path
    models: tuple[str, ...]
    seconds: float

    @cached_property
    def records(self) -> list[Row]:
        """One typed dictionary a line of ``records.jsonl``; see `midspan.records`."""
        from midspan.runs.folder import FinishedRun

        return cast("list[Row]", FinishedRun.open(self.folder).rows("records.jsonl"))

    @property
    def report(self) -> Path:
        """The page, one HTML file that loads nothing from the network."""
        return self.folder / "report.html"

    @property
    def figures(self) -> tuple[str, ...]:
        """Names that `figure` takes."""
        return tuple(self._figures)

    def figure(self, name: str | None = None) -> "Figure":
        """A figure of the run, drawn anew with matplotlib.

        Args:
            name: One of `figures`; the first by default.

        Returns:
            A `matplotlib.figure.Figure`; ``figure.savefig("figure.pdf")`` writes it.

        Raises:
            MidspanError: There is none of this name.
        """
        return chosen(self._figures, name)

    def to_pandas(self) -> "DataFrame":
        """The records as a `pandas.DataFrame`, one a row.

        Raises:
            MidspanError: pandas is not installed.
        """
        return data_frame(self.records)

    def summary(self) -> str:
        """The result in a few words."""
        return f"{', '.join(self.models)}: {len(self.records)} records"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary()})"

    def _repr_html_(self) -> str:
        from midspan.api.tables import tables_html

        return tables_html(repr(self), self._tables(), self._report.redact)

    def _tables(self) -> "Sequence[Table]":
        """What a notebook shows: the tables of the page's first section."""
        sections = self._report.sections
        return next((section.tables for section in sections if section.tables), ())

    @property
    def _figures(self) -> "dict[str, Figure]":
        return self._page_figures

    @cached_property
    def _page_figures(self) -> "dict[str, Figure]":
        """The page's figures, as matplotlib drew them."""
        from midspan.report import figures

        with figures.kept() as drawn:
            self._read()
        return by_name(drawn)

    @cached_property
    def _report(self) -> "Report":
        """The page as data, without its figures, which take longer than all the rest."""
        from midspan.report import figures

        with figures.left_out():
            return self._read()

    def _read(self) -> "Report":
        from midspan.runs.folder import FinishedRun
        from midspan.runs.kinds import read_report

        return read_report(FinishedRun.open(self.folder))


def by_name(drawn: "Sequence[tuple[str, Figure]]") -> "dict[str, Figure]":
    """Figures by a short name made of their title; a second one of a name is numbered."""
    from midspan.report.tables import slug

    named: dict[str, Figure] = {}
    for title, figure in drawn:
        name, number = slug(title), 1
        while name in named:
            number += 1
            name = f"{slug(title)}-{number}"
        named[name] = figure
    return named
