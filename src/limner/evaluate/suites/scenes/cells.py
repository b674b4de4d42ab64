"""What the reports of scenes write alike: a task's title, the baselines' cells, a picture as a tile."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from limner.evaluate.suites.scenes.baselines import BASELINES, tally
from limner.evaluate.suites.scenes.tasks import GENEVAL, TASKS

TILE = 128  # pixels


def title(task: str) -> str:
    return TASKS[task].title if task in TASKS else f"mean of the first {len(GENEVAL)}"


def baseline(task: str, splits: Sequence[str]) -> list[str]:
    """What each of the baselines has in percent, of the splits together."""
    tasks = [task] if task in TASKS else list(GENEVAL)
    shares = []
    for name in BASELINES:
        found = [tally(one, split, name) for one in tasks for split in splits]
        shares.append(sum(one.right for one in found) / sum(one.trials for one in found))
    return [f"{100 * share:.1f}" for share in shares]


def points(value: float, interval: tuple[float, float]) -> str:
    """A difference of shares in percent points."""
    return f"{100 * value:+.1f} ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})"


def tile(picture: Image.Image) -> Image.Image:
    """Small pictures are enlarged as they are, pixel by pixel."""
    return picture if picture.size == (TILE, TILE) else picture.resize((TILE, TILE), Image.Resampling.NEAREST)
