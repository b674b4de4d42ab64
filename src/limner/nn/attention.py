"""Attention that is fast where torch's own is not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D)) value: (B, H, N, D) from queries of that shape and keys and values (B, H, M, D).

    `mask` for (B, H, N, M) is True where a key is seen, or numbers to add to the logits. In bfloat16 on a CPU the
    gradients of torch's fused kernel pass by the processor's bfloat16 units: written out, they cost a fifth.
    """
    if torch.is_grad_enabled() and query.device.type == "cpu" and _in_bfloat16(query):
        return _written_out(query, key, value, mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _in_bfloat16(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 or torch.is_autocast_enabled("cpu")


def _written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    logits = (query * query.shape[-1] ** -0.5) @ key.mT
    if mask is not None:
        logits = logits + _as_numbers(mask, logits.dtype)
    return torch.softmax(logits, dim=-1) @ value


def _as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype is not torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)
