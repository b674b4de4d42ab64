"""Which of all the things a window of a picture shows: the one that explains it best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.scenes.artwork import Thing
from limner.evaluate.scorer.evidence import Window, cut, nearby
from limner.evaluate.scorer.templates import COARSE, FINE, templates

CANDIDATES = 24  # that are looked at closely
SLIGHT = (-0.02, 0.0, 0.02)


@dataclass(frozen=True, slots=True)
class Identity:
    """`thing` explains the window best, after it was settled where the one that was looked for fits best."""

    thing: Thing
    window: Window


def identify(evidence: Tensor, thing: Thing, window: Window) -> Identity:
    """What `window` shows, in which `thing` was looked for."""
    bank = templates()
    window = _settled(evidence, thing, window)
    rows = _candidates(evidence, thing, window)
    near = cut(evidence, nearby(window, shifts=SLIGHT, scales=(0.97, 1.0, 1.03)), FINE).flatten(1)
    gains = (bank.fine(rows) @ near.T).amax((0, 2))
    return Identity(bank.things[int(rows[gains.argmax()])], window)


def _settled(evidence: Tensor, thing: Thing, window: Window) -> Window:
    """The window moved and scaled to where `thing` fits best."""
    template = templates().coarse[templates().row[thing.index]]
    for reach in (0.04, 0.02, 0.01):
        around = nearby(window, shifts=(-reach, 0.0, reach), scales=(1 - reach, 1.0, 1 + reach))
        window = around[int((cut(evidence, around, COARSE).flatten(1) @ template).argmax())]
    return window


def _candidates(evidence: Tensor, thing: Thing, window: Window) -> Tensor:
    """The rows of the things to look at closely: the best by a coarse look, and what was asked."""
    bank = templates()
    around = nearby(window, shifts=(-0.04, 0.0, 0.04), scales=(1.0,))
    coarse = (bank.coarse @ cut(evidence, around, COARSE).flatten(1).T).amax(1)  # (K,)
    rows = torch.cat([coarse.topk(CANDIDATES).indices, torch.tensor([bank.row[thing.index]])])
    different: Tensor = torch.unique(rows)
    return different
