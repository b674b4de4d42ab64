"""The critic: what it wants, how loudly, and from when on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limner.codecs.patch_critic import CriticConfig, PatchCritic
from limner.core import InputError

SMALL = CriticConfig(width=8, halvings=2, start=0.5, weight=0.5)


@pytest.fixture
def critic() -> PatchCritic:
    torch.manual_seed(0)
    return PatchCritic(SMALL)


def pictures(count: int = 4, side: int = 16) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("halvings", "grid"), [(1, (7, 11)), (2, (3, 5)), (3, (1, 2))])
def test_a_number_for_each_patch(halvings: int, grid: tuple[int, int]) -> None:
    says = PatchCritic(replace(SMALL, halvings=halvings))(torch.randn(2, 3, 16, 24))
    assert says.shape == (2, 1, *grid)


def test_its_loss_is_the_hinge(critic: PatchCritic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic, "forward", lambda says: says)
    real, painted = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, -0.5, 1.0])
    assert critic.loss(real, painted).item() == pytest.approx(((0 + 0.5 + 2) / 3 + (0 + 0.5 + 2) / 3) / 2)
    assert critic.loss(real, real).item() == pytest.approx(((0 + 0.5 + 2) / 3 + (3 + 1.5 + 0) / 3) / 2)


def test_every_parameter_gets_a_gradient(critic: PatchCritic) -> None:
    critic(pictures()).square().mean().backward()
    assert all(one.grad is not None and one.grad.any() for one in critic.parameters())


def test_it_learns_to_tell(critic: PatchCritic) -> None:
    real, painted = pictures(), pictures().mul(0.5)
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        critic.loss(real, painted).backward()
        optimiser.step()
    assert critic(real).mean() > 0.5 > -0.5 > critic(painted).mean()


def gradients(critic: PatchCritic, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """At the layer that painted: of the error, of the critic's wish, and of what the critic says."""
    torch.manual_seed(1)
    layer, hidden = nn.Conv2d(5, 3, 3, padding=1), torch.randn(2, 5, 16, 16)
    painted = layer(hidden)
    error = scale * painted.square().mean()
    wish = critic.wish(painted, error, layer.weight)
    ways = (error, wish, critic(painted).mean())
    first, second, third = (torch.autograd.grad(one, layer.weight, retain_graph=True)[0] for one in ways)
    return first, second, third


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_it_is_heard_beside_the_error_by_its_weight(scale: float, weight: float) -> None:
    torch.manual_seed(0)
    error, wish, says = gradients(PatchCritic(replace(SMALL, weight=weight)), scale)
    assert wish.norm().item() == pytest.approx(weight * error.norm().item(), rel=0.01)
    torch.testing.assert_close(wish / wish.norm(), -says / says.norm())


def test_a_critic_who_says_nothing_asks_for_nothing(critic: PatchCritic) -> None:
    with torch.no_grad():
        for one in critic.layers[-1].parameters():
            one.zero_()
    _, wish, _ = gradients(critic)
    assert not wish.any()


def test_it_is_heard_from_its_start_on_and_that_is_saved(critic: PatchCritic) -> None:
    heard = []
    for passed in (0.0, 0.49, 0.5, 1.0):
        critic.anneal(passed)
        heard.append(critic.heard)
    assert heard == [False, False, True, True]
    again = PatchCritic(SMALL)
    assert not again.heard
    again.load_state_dict(critic.state_dict())
    assert again.heard
    assert PatchCritic(replace(SMALL, start=0.0)).heard


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 12}, "width = 12 does not divide by 8"),
        ({"width": 0}, "width = 0 does not divide by 8"),
        ({"halvings": 0}, "halvings = 0 must be 1 or more"),
        ({"start": 1.5}, "start = 1.5 is not a share of the training"),
        ({"weight": -1.0}, "weight = -1.0 must not be negative"),
    ],
)
def test_a_critic_that_cannot_be_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        replace(SMALL, **values)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
