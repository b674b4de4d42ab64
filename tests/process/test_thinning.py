from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from limner.process.thinning import centred, keep

ROWS = 20_000


def kept(interest: torch.Tensor, share: float, rows: int = ROWS):
    return keep(interest, share=share, rows=rows, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.9, 1.0])
def test_each_row_keeps_the_same_number_and_none_twice(share: float) -> None:
    places = kept(centred(8), share, 500).places
    assert places.shape == (500, max(1, round(share * 64)))
    assert all(len(set(row)) == len(row) for row in places.tolist())
    assert set(places.flatten().tolist()) <= set(range(64))


@pytest.mark.parametrize("interest", [centred(4), torch.tensor([1.0, 1.0, 1.0, 20.0, 40.0])], ids=["centred", "steep"])
def test_places_are_kept_as_often_as_their_odds_say(interest: torch.Tensor) -> None:
    """Also where the most interesting are always kept, and the others share what is left."""
    found = kept(interest, 0.6)
    often = torch.bincount(found.places.flatten(), minlength=len(interest)) / ROWS
    for place, odds in zip(found.places.flatten().tolist(), found.odds.flatten().tolist(), strict=True):
        assert abs(often[place] - odds) < 4 * math.sqrt(0.25 / ROWS)


def test_the_weighted_mean_is_that_of_all_places() -> None:
    grid = torch.randn(1, 3, 4, 4).expand(ROWS, -1, -1, -1)
    found = kept(centred(4), 0.25)
    estimate = (found.of(grid) * found.weights(16)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(estimate, grid[0].mean(dim=(1, 2)), atol=0.02, rtol=0.0)


def test_attention_to_kept_keys_is_near_that_to_all() -> None:
    """With log(1 / odds) on the scores; without, it leans to the middle, where most are kept."""
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 8), torch.randn(64, 8), centred(8)[:, None]
    full = F.scaled_dot_product_attention(query[None], key[None], value[None]).item()
    found = kept(centred(8), 0.5, 2000)
    rows = (query.expand(2000, 1, 8), key[found.places], value[found.places])
    weighted = F.scaled_dot_product_attention(*rows, attn_mask=-found.odds.log()[:, None]).mean().item()
    plain = F.scaled_dot_product_attention(*rows).mean().item()
    assert abs(weighted - full) < 0.1 * abs(plain - full)
