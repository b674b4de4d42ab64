"""How far pictures are from the mean of all real pictures of their prompt: what a squared error is trained towards."""

from __future__ import annotations

import torch

from limner.core import InputError
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable
from limner.evaluate.score import Score, averaged


def conditional_error(generated: Features, real: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """The mean squared difference, over pictures and over the features' D numbers (pixels, as a rule).

    Each prompt's mean is that of its real pictures, of which it has 2 or more (InputError otherwise). A mean of K has
    an error of its own, the pictures' variance over K, which is the floor: a perfect regressor scores it,
    and fresh real pictures K + 1 times it.
    """
    comparable("error from the conditional mean", generated, real)
    rows, groups = real.double, real.groups
    drawn, error, noise = generated.double, torch.zeros(len(generated)).double(), torch.zeros(len(generated)).double()
    for prompt, places in generated.groups.items():
        group = groups.get(prompt, [])
        if len(group) < 2:
            raise InputError(
                f"error from the conditional mean: {prompt!r} has {len(group)} real pictures and wants 2 or more"
            )
        error[places] = (drawn[places] - rows[group].mean(0)).square().mean(1)
        noise[places] = rows[group].var(0).mean() / len(group)
    return averaged(
        "error from the conditional mean", error, generated, bootstrap=bootstrap, reference=len(real),
        floor=float(noise.mean()),
    )  # fmt: skip
