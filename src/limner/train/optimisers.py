"""Muon for the hidden matrices (Jordan et al. 2024), AdamW for everything else, and who belongs where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limner.core import InputError
from limner.train.recipe import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at zero, all singular values end in about [0.7, 1.2]
ITERATIONS = 5


def orthogonalise(x: Tensor) -> Tensor:
    """Matrices (..., rows, columns) with their singular values driven to about one, by Newton and Schulz's iteration.

    In bfloat16 on CUDA, in the matrices' own type elsewhere: CPUs without bfloat16 units are slow at it.
    """
    work = x.bfloat16() if x.is_cuda else x
    tall = x.shape[-2] > x.shape[-1]
    work = work.mT if tall else work
    work = work / work.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    lengthy = work.shape[-1] > 1.5 * work.shape[-2] and not x.is_cuda
    work = _by_gram(work) if lengthy else _by_matrix(work)
    return (work.mT if tall else work).to(x.dtype)


def _by_matrix(x: Tensor) -> Tensor:
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _by_gram(x: Tensor) -> Tensor:
    """The same iteration followed on the small square x x^T: each round multiplies x by a polynomial of it.

    A third of the work where a matrix is eight times as long as it is high. It wants float32: x x^T has
    the squares of the singular values.
    """
    a, b, c = QUINTIC
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    product = factor = a * identity + b * gram + c * gram @ gram
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
    return product @ x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised: every direction of a matrix moves alike. For 2-D parameters alone.

    The update is scaled by sqrt(max(1, rows / columns)), so that one rate serves all shapes. Matrices of
    one shape are orthogonalised together.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        assert all(parameter.ndim == 2 for parameter in parameters)
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        rows, columns = parameters[0].shape
        directions = orthogonalise(torch.stack(list(ahead)))
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        scale = max(1.0, rows / columns) ** 0.5
        torch._foreach_add_(parameters, list(directions), alpha=-group["lr"] * scale)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def matrices(family: nn.Module) -> set[Tensor]:
    """The weights of linear layers, but for those of a layer that its family marked `_limner_group = "adamw"`."""
    found: set[Tensor] = set()
    for module in family.modules():
        if isinstance(module, nn.Linear):
            group = getattr(module, "_limner_group", "muon")
            assert group in ("muon", "adamw"), group
            if group == "muon":
                found.add(module.weight)
    return found


class Optimisers:
    """The optimisers of one step: `update` with a share of the rate, and all state as tensors with names."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], hidden: set[Tensor], recipe: Optimizer) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
        chosen = hidden if recipe.name == "muon" else set()
        matrices = [parameter for parameter in parameters.values() if parameter in chosen]
        rest = [parameter for parameter in parameters.values() if parameter not in chosen]
        assert len(matrices) + len(rest) == len(parameters)
        self._each: list[torch.optim.Optimizer] = []
        if matrices:
            decay, momentum = recipe.weight_decay, recipe.momentum
            self._each.append(Muon(matrices, lr=recipe.muon_lr, momentum=momentum, weight_decay=decay))
        if rest:
            self._each.append(
                torch.optim.AdamW(
                    rest, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay,
                    fused=all(parameter.device.type in ("cpu", "cuda") for parameter in rest),
                )
            )  # fmt: skip
        self._rates = [one.param_groups[0]["lr"] for one in self._each]

    def update(self, share: float) -> None:
        for one, full in zip(self._each, self._rates, strict=True):
            one.param_groups[0]["lr"] = full * share
            one.step()

    def tensors(self) -> dict[str, Tensor]:
        """ "parameter/state" to tensor."""
        return {
            f"{self._names[parameter]}/{key}": value
            for one in self._each
            for parameter, state in one.state.items()
            for key, value in state.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        owners = {self._names[p]: (one, p) for one in self._each for p in one.param_groups[0]["params"]}
        for name, value in tensors.items():
            parameter_name, _, key = name.rpartition("/")
            if parameter_name not in owners:
                raise InputError(f'the optimiser\'s state has "{name}", which this recipe does not train')
            one, parameter = owners[parameter_name]
            one.state[parameter][key] = value.to(parameter.device, copy=True)
