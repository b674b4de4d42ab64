"""Scenes: an endless, exactly known data set of emoji and shapes on grounds, with captions."""

from limner.data.scenes.source import KINDS, MIX, SIDE, SPLITS, Scenes

__all__ = ["KINDS", "MIX", "SIDE", "SPLITS", "Scenes"]
