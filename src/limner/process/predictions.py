"""What a denoiser may predict of x = alpha x0 + sigma eps, and what its loss counts: eps (Ho et al. 2020), v (Salimans
and Ho 2022), the picture, or the velocity of rectified flow (Liu et al. 2022).

alpha and sigma are numbers, or tensors beside x. The flow's velocity does not need alpha + sigma = 1, for
x / (alpha + sigma) lies on the straight path, at the time sigma / (alpha + sigma).
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from limner.core import InputError, nearest

Number = TypeVar("Number", float, Tensor)


class Prediction:
    """What the network's output means. `target` is what it is trained towards."""

    @staticmethod
    def target(x0: Tensor, eps: Tensor, alpha: Number, sigma: Number) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def read(output: Tensor, x: Tensor, alpha: Number, sigma: Number) -> tuple[Tensor, Tensor]:
        """x0 and eps, which make up x."""
        raise NotImplementedError

    @staticmethod
    def slope(alpha: Tensor, sigma: Tensor) -> Tensor:
        """By how much x0 is wrong where the output is wrong by 1."""
        raise NotImplementedError


class Epsilon(Prediction):
    @staticmethod
    def target(x0: Tensor, eps: Tensor, alpha: Number, sigma: Number) -> Tensor:
        return eps

    @staticmethod
    def read(output: Tensor, x: Tensor, alpha: Number, sigma: Number) -> tuple[Tensor, Tensor]:
        return (x - sigma * output) / alpha, output

    @staticmethod
    def slope(alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / alpha


class V(Prediction):
    @staticmethod
    def target(x0: Tensor, eps: Tensor, alpha: Number, sigma: Number) -> Tensor:
        return alpha * eps - sigma * x0

    @staticmethod
    def read(output: Tensor, x: Tensor, alpha: Number, sigma: Number) -> tuple[Tensor, Tensor]:
        return alpha * x - sigma * output, sigma * x + alpha * output

    @staticmethod
    def slope(alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma


class Sample(Prediction):
    @staticmethod
    def target(x0: Tensor, eps: Tensor, alpha: Number, sigma: Number) -> Tensor:
        return x0

    @staticmethod
    def read(output: Tensor, x: Tensor, alpha: Number, sigma: Number) -> tuple[Tensor, Tensor]:
        return output, (x - alpha * output) / sigma

    @staticmethod
    def slope(alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)


class Flow(Prediction):
    @staticmethod
    def target(x0: Tensor, eps: Tensor, alpha: Number, sigma: Number) -> Tensor:
        return eps - x0

    @staticmethod
    def read(output: Tensor, x: Tensor, alpha: Number, sigma: Number) -> tuple[Tensor, Tensor]:
        return (x - sigma * output) / (alpha + sigma), (x + alpha * output) / (alpha + sigma)

    @staticmethod
    def slope(alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha + sigma)


PREDICTIONS: dict[str, type[Prediction]] = {"epsilon": Epsilon, "v_prediction": V, "sample": Sample, "flow": Flow}


def prediction_named(name: str) -> type[Prediction]:
    """By its name in PREDICTIONS; InputError that names the nearest."""
    if name not in PREDICTIONS:
        known = ", ".join(PREDICTIONS)
        raise InputError(f'unknown prediction "{name}"{nearest(name, list(PREDICTIONS))}; known: {known}')
    return PREDICTIONS[name]


def min_snr(kind: type[Prediction], alpha: Tensor, sigma: Tensor, *, gamma: float = 5.0) -> Tensor:
    """Weights of squared errors of the output: in x0 they are min(SNR, gamma) (Hang et al. 2023), SNR = (alpha /
    sigma)^2. Where nothing is left of the picture they would be 0 or 0 / 0, and are 1."""
    snr = (alpha / sigma).square()
    return torch.where(snr > 0.0, snr.clamp(max=gamma) * kind.slope(alpha, sigma).square(), 1.0)
