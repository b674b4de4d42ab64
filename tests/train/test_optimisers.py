"""Muon against its definition and torch's, and who is trained by what."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limner.core import InputError
from limner.train.optimisers import ITERATIONS, QUINTIC, Muon, Optimisers, matrices, orthogonalise
from limner.train.recipe import Optimizer
from tests.train.toys import Plain

SHAPES = [(16, 16), (8, 40), (40, 8), (12, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_follow_the_quintic_and_vectors_stay(shape: tuple[int, int]) -> None:
    """With x = U S V^T the iteration is U p(p(...p(S))) V^T, p(s) = a s + b s^3 + c s^5."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    a, b, c = QUINTIC
    s = s / s.norm()
    for _ in range(ITERATIONS):
        s = a * s + b * s**3 + c * s**5
    assert torch.allclose(orthogonalise(x), u * s @ vt, atol=1e-8)
    found = orthogonalise(x.float()).double()
    assert torch.allclose(found, u * s @ vt, atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (32, 256), (256, 32)])
def test_singular_values_end_near_one(shape: tuple[int, int]) -> None:
    x = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(x))
    large = torch.linalg.svdvals(x) > 0.05 * torch.linalg.svdvals(x).amax(dim=-1, keepdim=True)
    assert values[large].min() > 0.6
    assert values.max() < 1.3


def test_stacked_or_alone_is_the_same() -> None:
    x = torch.randn((3, 8, 40), generator=torch.Generator().manual_seed(0))
    alone = torch.stack([orthogonalise(one) for one in x])
    assert torch.allclose(orthogonalise(x), alone, atol=1e-5)


def test_nothing_and_rank_one_stay_finite() -> None:
    assert orthogonalise(torch.zeros(4, 9)).abs().max() == 0.0
    assert orthogonalise(torch.ones(4, 9)).isfinite().all()


def test_muon_moves_as_torchs_does() -> None:
    """Theirs iterates in bfloat16, ours in float32: the moves agree to bfloat16's precision."""
    generator = torch.Generator().manual_seed(0)
    mine = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    theirs = copy.deepcopy(mine)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}
    both = Muon(mine, **settings), torch.optim.Muon(theirs, **settings, nesterov=True, adjust_lr_fn="original")
    for _ in range(3):
        before = copy.deepcopy(mine)
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimiser in both:
            optimiser.step()
        for was, one, other in zip(before, mine, theirs, strict=True):
            assert (one - other).norm() < 0.03 * (one - was).norm()
            other.data.copy_(one)


def test_weight_decay_is_decoupled() -> None:
    parameter = nn.Parameter(torch.full((2, 2), 3.0))
    parameter.grad = torch.zeros(2, 2)
    Muon([parameter], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(parameter, torch.full((2, 2), 3.0 * 0.95))


def test_hidden_matrices_only_go_by_muon() -> None:
    family = Plain()
    assert matrices(family) == {family.hidden.weight, family.also.weight}


def test_every_parameter_is_updated_by_its_own_rate() -> None:
    """At its first step AdamW moves each number by its rate; Muon's move has singular values near its rate."""
    family = Plain()
    parameters = dict(family.named_parameters())
    before = {name: one.detach().clone() for name, one in parameters.items()}
    for one in parameters.values():
        one.grad = torch.randn_like(one)
    recipe = Optimizer(name="muon", lr=1e-3, muon_lr=0.5)
    Optimisers(parameters, matrices(family), recipe).update(0.5)
    for name, one in parameters.items():
        moved = before[name] - one.detach()
        if name in ("hidden.weight", "also.weight"):
            assert 0.1 < torch.linalg.matrix_norm(moved, 2) < 0.5, name
        else:
            assert moved.abs().max() < 0.5e-3 * 1.01, name
            assert moved.abs().min() > 0.5e-3 * 0.99, name


def test_adamw_alone_moves_all_by_its_rate() -> None:
    family = Plain()
    parameters = dict(family.named_parameters())
    before = family.hidden.weight.detach().clone()
    for one in parameters.values():
        one.grad = torch.ones_like(one)
    Optimisers(parameters, matrices(family), Optimizer(name="adamw", lr=1e-3)).update(1.0)
    assert torch.allclose(before - family.hidden.weight, torch.full_like(before, 1e-3), rtol=1e-3)


def test_state_of_another_model_is_refused() -> None:
    family = Plain()
    optimisers = Optimisers(dict(family.named_parameters()), matrices(family), Optimizer())
    with pytest.raises(InputError, match='"other/momentum", which this recipe does not train'):
        optimisers.load({"other/momentum": torch.zeros(1)})
