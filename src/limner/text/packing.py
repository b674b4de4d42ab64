"""Several short texts in one row, each seeing its own tokens alone (sequence packing, Krell et al. 2021).

Captions differ much in length: three quarters of a padded batch of scenes' captions would be padding.

B batch, L tokens, T tokens of all texts, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """For each of T tokens its `row` and `column` on a page of `room` columns, and its text's number, `owner`."""

    row: Tensor
    column: Tensor
    owner: Tensor
    room: int

    @staticmethod
    def of(mask: Tensor, room: int) -> Packing:
        """The True of `mask` (B, L) in their order. A text goes behind the one before it where it fits, and else
        begins a row; none is longer than `room`."""
        starts, row, used = [], 0, 0
        for length in mask.sum(dim=1).tolist():
            if used + length > room:
                row, used = row + 1, 0
            starts.append(row * room + used)
            used += length
        owner, position = mask.nonzero(as_tuple=True)
        cell = torch.tensor(starts, device=mask.device)[owner] + position
        return Packing(cell // room, cell % room, owner, room)

    def laid(self, tokens: Tensor) -> Tensor:
        """(T, W) to a page (rows, room, W), zero where there is no text."""
        page = tokens.new_zeros((self._rows, self.room, tokens.shape[1]))
        page[self.row, self.column] = tokens
        return page

    def taken(self, page: Tensor) -> Tensor:
        """The inverse of `laid`."""
        return page[self.row, self.column]

    def own(self) -> Tensor:
        """(rows, room, room), True where both are tokens of one text, or neither is of any: no row sees nothing."""
        owners = self.owner.new_full((self._rows, self.room), -1)
        owners[self.row, self.column] = self.owner
        return owners[:, :, None] == owners[:, None, :]

    @property
    def _rows(self) -> int:
        return int(self.row[-1]) + 1
