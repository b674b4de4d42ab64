"""Attention that is fast where torch's own is not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D)) value: (B, H, N, D) from queries of that shape and keys and values (B, H, M, D).

    `mask` for (B, H, N, M) is True where a key is seen, or numbers to add to the logits. In bfloat16 on a CPU torch's
    gradients pass by the processor's bfloat16 units and cost twenty times those in float32: these are taken then.
    """
    if not (torch.is_grad_enabled() and query.device.type == "cpu" and _in_bfloat16(query)):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)


def _in_bfloat16(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 or torch.is_autocast_enabled("cpu")
