"""Which rows of a batch go through the model next, where a cache gives them windows to compute.

A forward is as wide as its widest row, so that rows of shorter windows compute what nobody reads. A
turn takes as many rows as may go together, unless too much of it would be for nothing; of such
companies the one with the least of that.
Shapes: B rows, N rows of one kind.
"""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

# A forward may be so many times as wide as its rows need in the mean.
_WASTE = 1.5
# Forwards after which a row goes before all that wait for less.
_PATIENCE = 256


def next_rows(size_B: IntArray, kind_B: IntArray, waited_B: IntArray, limit: int) -> IntArray:
    """The rows of the next forward, by the width of their windows.

    Args:
        size_B: Positions of each row's window, at least 1.
        kind_B: Rows of different kinds do not go together.
        waited_B: Forwards since a row's last one; the longest wait ends in good time.
        limit: The most rows.
    """
    are_alike = (size_B == size_B[0]).all() and (kind_B == kind_B[0]).all()
    if are_alike and len(size_B) <= limit:
        return np.arange(len(size_B))
    longest = int(waited_B.argmax())
    overdue = longest if waited_B[longest] >= _PATIENCE else None
    kinds = np.unique(kind_B) if overdue is None else kind_B[[overdue]]
    companies = []
    for kind in kinds:
        rows_N = np.flatnonzero(kind_B == kind)
        must = None if overdue is None else int(np.searchsorted(rows_N, overdue))
        companies.append(rows_N[_company(size_B[rows_N], limit, must)])
    return max(companies, key=len)


def _company(size_N: IntArray, limit: int, must: int | None) -> IntArray:
    """Rows of similar windows, in order; with the row `must`, where one is given."""
    order_N = size_N.argsort(kind="stable")
    sorted_N = size_N[order_N]
    sums = np.concatenate([[0], sorted_N.cumsum()])
    for count in range(min(limit, len(size_N)), 0, -1):
        waste = count * sorted_N[count - 1 :] / (sums[count:] - sums[:-count])
        if must is not None:
            place = int(np.flatnonzero(order_N == must)[0])
            starts = np.arange(len(waste))
            waste[(starts > place) | (starts + count <= place)] = np.inf
        first = int(waste.argmin())
        if waste[first] <= _WASTE:
            return np.sort(order_N[first : first + count])
    raise AssertionError("a row alone wastes nothing")
