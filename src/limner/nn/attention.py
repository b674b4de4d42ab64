"""Attention that is fast where torch's own is not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16  # keys


def attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D)) value: (B, H, N, D) from queries of that shape and keys and values (B, H, M, D).

    `mask` for (B, H, N, M) is True where a key is seen, or numbers to add to the logits. In bfloat16 on a CPU torch's
    gradients pass by the processor's bfloat16 units and cost twenty times those in float32: these are taken then. A
    number of keys that does not fill those units' tiles is filled up, or torch would pass them by here, too.
    """
    by_bfloat16_units = query.device.type == "cpu" and _in_bfloat16(query)
    if by_bfloat16_units and not torch.is_grad_enabled() and mask is None and key.shape[2] % TILE:
        key, value, mask = _tiled(key, value)
    if not (torch.is_grad_enabled() and by_bfloat16_units):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)


def _tiled(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With keys to the end of the last tile, and a mask (1, 1, 1, M) under which they are not seen."""
    more = -key.shape[2] % TILE
    mask = F.pad(key.new_zeros(1, 1, 1, key.shape[2]), (0, more), value=-torch.inf)
    return F.pad(key, (0, 0, 0, more)), F.pad(value, (0, 0, 0, more)), mask


def _in_bfloat16(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 or torch.is_autocast_enabled("cpu")
