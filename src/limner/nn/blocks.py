"""The transformer block that text encoders and denoisers share.

B batch, N tokens, M remembered tokens, W width, H heads, D head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.attention import attend

FEW = 8  # rows of a product
Turn = tuple[Tensor, Tensor]  # cosines and sines, (N, D / 2) for all alike or (B, 1, N, D / 2)


class ParallelBlock(nn.Module):
    """Attention and SwiGLU side by side on one norm, each way one matrix product (ViT-22B, Dehghani et al. 2023).

    Queries and keys are normalised for each head (QK-norm). Keys and values of another sequence (a
    text's) may be handed in: they join the block's own under one softmax, as in joint attention (SD3),
    yet are computed once for a whole sampling run.
    """

    def __init__(self, width: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.sizes = heads, (3 * width, hidden, hidden)
        self.norm = nn.RMSNorm(width)
        self.into = Linear(width, sum(self.sizes), bias=False)
        self.query_norm = HeadNorm(width // heads)
        self.key_norm = HeadNorm(width // heads)
        self.out = Linear(width + hidden, width, bias=False)

    def forward(
        self, x: Tensor, *, turn: Turn | None, memory: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> Tensor:
        """`x` (B, N, W); `memory` keys and values (B, H, M, D); `mask` for (B, H, N, N + M), True where seen."""
        query, key, value, gated = self.project(x, turn=turn)
        if memory is not None:
            key, value = torch.cat([key, memory[0]], dim=2), torch.cat([value, memory[1]], dim=2)
        return self.join(x, attend(query, key, value, mask=mask), gated)

    # The two halves of it, for those who look after keys and values themselves.

    def project(self, x: Tensor, *, turn: Turn | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values of `x` (B, N, W), each (B, H, N, D), and what the SwiGLU says, (B, N, hidden)."""
        qkv, gate, up = self.into(self.norm(x)).split(self.sizes, dim=-1)
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, N, D) each
        query, key = self.query_norm(query), self.key_norm(key)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        return query, key, value, F.silu(gate) * up

    def join(self, x: Tensor, attended: Tensor, gated: Tensor) -> Tensor:
        """What `x` becomes by what it attended to, (B, H, N, D), and by its SwiGLU."""
        attended = attended.transpose(1, 2).flatten(2)  # (B, N, W)
        return x + self.out(torch.cat([attended, gated], dim=-1))


class Linear(nn.Linear):
    """The same product, taken from the other side where there are few rows, as when tokens are drawn one by one: on a
    CPU the usual way spends half of its time on repacking a weight that is used once."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[:-1].numel()
        if rows > FEW or torch.is_grad_enabled() or x.is_cuda:
            return super().forward(x)
        product = (self.weight @ x.reshape(rows, -1).T).T.unflatten(0, x.shape[:-1])
        return product if self.bias is None else product + self.bias


class HeadNorm(nn.RMSNorm):
    """RMSNorm in its input's own precision: under autocast, torch has no fused one for two."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Rotation(nn.Module):
    """Rotary positions on a square grid: half of each head turns with the row, half with the column (RoPE-2D)."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, side: int, *, head: int, base: float = 100.0) -> None:
        super().__init__()
        rate = base ** -(torch.arange(head // 4) / (head // 4))
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        angle = torch.cat([place.reshape(-1, 1) * rate for place in (row, column)], dim=-1)  # (N, D / 2)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    def at(self, places: Tensor | None) -> Turn:
        """The angles of all places in their order, or of those that each picture names, (B, N)."""
        if places is None:
            return self.cosine, self.sine
        return self.cosine[places][:, None], self.sine[places][:, None]


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """(B, H, N, D) to the same shape: channel pairs (i, i + D/2) are turned by their angle."""
    cosine, sine = turn
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cosine - right * sine, right * cosine + left * sine], dim=-1)


class TimeFeatures(nn.Module):
    """A time in [0, 1] as a vector: sines and cosines, then a small MLP. (B,) to (B, W)."""

    rate: Tensor

    def __init__(self, width: int, *, waves: int = 64) -> None:
        super().__init__()
        self.register_buffer("rate", 1000.0 * 10_000.0 ** -(torch.arange(waves) / waves), persistent=False)
        self.mix = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None] * self.rate
        out: Tensor = self.mix(torch.cat([angle.cos(), angle.sin()], dim=-1))
        return out
