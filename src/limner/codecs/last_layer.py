"""The last layer of a network in closed form: the one that comes nearest to what is wanted, by least squares.

It is a start for a network whose other weights are still random: they make features enough to be of use.

B batch, F numbers in a kernel's window, N places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLACES = 4096  # of a picture that are looked at
RIDGE = 1e-3  # of the features' mean square, added to each


@torch.no_grad()
def fit_last(network: nn.Module, layer: nn.Conv2d, x: Tensor, wanted: Tensor) -> None:
    """Set `layer`, which ends `network` and keeps the sides, so that x (B, ...) is nearly `wanted` (B, C, h, w)."""
    square, product = torch.zeros(()), torch.zeros(())
    for one, target in zip(x.split(1), wanted.split(1), strict=True):
        rows, targets = _rows(layer, _before(network, layer, one)), target.flatten(2)[0].T
        every = -(-len(rows) // PLACES)
        rows, targets = rows[::every].double(), targets[::every].double()
        square, product = square.to(rows) + rows.T @ rows, product.to(rows) + rows.T @ targets
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square)).to(square)
    found = torch.linalg.solve(square + ridge, product)  # (F + 1, C)
    layer.weight.copy_(found[:-1].T.reshape(layer.weight.shape))
    assert layer.bias is not None
    layer.bias.copy_(found[-1])


def _before(network: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """What `network` of x hands to `layer`."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        with torch.enable_grad():  # without, a picture alone goes by strips, which call no layer
            network(x)
    finally:
        hook.remove()
    return seen[0].detach()


def _rows(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The windows of one map, and a 1 for the bias, (N, F + 1)."""
    windows = F.unfold(x, layer.kernel_size, padding=layer.padding)[0].T
    return torch.cat([windows, torch.ones_like(windows[:, :1])], dim=1)
