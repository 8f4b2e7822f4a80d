"""The rows of a step, and the positions of its block that each looks at.

Shapes: A rows of a step, R positions of the current block.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midspan.decoding.canvas import Canvas
from midspan.decoding.config import DecodingConfig
from midspan.decoding.schedule import RowStates


@dataclass(frozen=True)
class StepRows:
    """The rows of a step, and the positions of its block that each looks at.

    Attributes:
        rows_A: The rows, on the host.
        row_A1: The rows, on the device.
        start_A: Where each row's span begins, on the host.
        position_AR: The positions; in rows that have fewer, committed ones fill up.
        place_AR: The same as places of the batch's canvases, counted row after row.
        id_place_AR: And as places of the batch's ids.
        own_AR: And as the requests count them.
        open_AR: True where nothing is committed.
    """

    rows_A: NDArray[np.int64]
    row_A1: Tensor
    start_A: NDArray[np.int64]
    position_AR: Tensor
    place_AR: Tensor
    id_place_AR: Tensor
    own_AR: Tensor
    open_AR: Tensor

    @property
    def at(self) -> tuple[Tensor, Tensor]:
        """Index of the positions in what is held of the whole batch."""
        return self.row_A1, self.position_AR


def step_rows(
    canvas: Canvas, states: RowStates, config: DecodingConfig, rows_A: NDArray[np.int64]
) -> StepRows:
    """The open positions of each row's span from left to right, filled up where fewer.

    The whole span where committed tokens may be edited.
    """
    row_A1, (start_A, size), length = rows_A[:, None], states.spans(rows_A), canvas.length
    position_AR = start_A[:, None] + np.arange(size)
    if config.editing_threshold is None:
        # A short last block is filled up with what stands before it.
        position_AR = np.where(position_AR < length, position_AR, position_AR - size)
        shut_AR = ~states.open_BL[row_A1, position_AR]
        num_open = int(states.open_BN[rows_A, states.block_B[rows_A]].max())
        order_AR = shut_AR.argsort(axis=1, kind="stable")[:, :num_open]
        position_AR = position_AR[np.arange(len(rows_A))[:, None], order_AR]
    else:
        position_AR = position_AR[:, : length - int(start_A.max())]
    place_AR = row_A1 * length + position_AR
    # Computed on the host, which knows what is open, and sent at once.
    host = np.stack([position_AR, place_AR, place_AR + (row_A1 + 1) * canvas.width])
    index_AR, spot_AR, id_AR = torch.from_numpy(host).to(canvas.ids_BT.device)
    device_row_A1 = torch.from_numpy(row_A1).to(canvas.ids_BT.device)
    own_AR = canvas.own_positions(index_AR, device_row_A1)
    open_AR = canvas.open_BL.take(spot_AR)
    return StepRows(rows_A, device_row_A1, start_A, index_AR, spot_AR, id_AR, own_AR, open_AR)
