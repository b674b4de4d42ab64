from __future__ import annotations

import torch

from limner.process.guidance import rescale

GUIDED, COND = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()


def test_rescaled_guidance_has_the_spread_of_the_conditional() -> None:
    """Each row by its own share: none of it, half of it, all of it."""
    guided = 5.0 * GUIDED
    found = rescale(guided, COND, torch.tensor([0.0, 0.5, 1.0]))
    spread, before, wanted = (one.std(dim=(1, 2, 3)) for one in (found, guided, COND))
    torch.testing.assert_close(found[0], guided[0])
    torch.testing.assert_close(spread[1], (before[1] + wanted[1]) / 2)
    torch.testing.assert_close(spread[2], wanted[2])
    directions = torch.nn.functional.cosine_similarity(found.flatten(1), guided.flatten(1))
    torch.testing.assert_close(directions, torch.ones(3))
