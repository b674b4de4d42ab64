"""Scenes: an endless, exactly known data set of emoji and shapes on grounds, with captions.

Number i of a split is a pure function of (seed, split, i), the same on every machine. `train` and `seen`
never show a held-out combination; every scene of `unseen` shows at least one of its own kind.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image

from limner.core import Example, InputError, check, nearest
from limner.data.dice import Dice
from limner.data.scenes.artwork import artwork
from limner.data.scenes.captions import english_caption
from limner.data.scenes.grounds import draw_ground
from limner.data.scenes.languages import foreign_caption
from limner.data.scenes.layout import lay_out
from limner.data.scenes.plan import KINDS, PRIMARY, draw_plan
from limner.data.scenes.truth import Ground, Placed, Truth

SIDE = 128
SPLITS = ("train", "seen", "unseen")
MIX: dict[str, float] = {
    "single": 0.28,
    "shape": 0.10,
    "two": 0.14,
    "relation": 0.17,
    "count": 0.10,
    "many": 0.05,
    "name": 0.06,
    "keywords": 0.05,
    "language": 0.05,
}


class Scenes:
    """A `core.Source`: `scenes[i]` is an Example of (3, size, size) uint8 and its caption.

    `mix` gives the kinds of scene their shares, for example {"single": 1.0}; the kinds are
    single, shape, two, relation, count, many, name, keywords and language.
    """

    def __init__(
        self, split: str = "train", *, seed: int = 0, size: int = SIDE, mix: Mapping[str, float] | None = None
    ) -> None:
        check(split in SPLITS, f'there is no split "{split}" of scenes; there are {", ".join(SPLITS)}')
        check(1 <= size <= SIDE, f"scenes are {SIDE} pixels wide: size = {size} is not within 1 and {SIDE}")
        self.split, self.seed, self.size = split, seed, size
        self._shares = _shares(MIX if mix is None else mix, split)
        self._artwork = artwork()

    def __getitem__(self, index: int) -> Example:
        truth = self.truth(index)
        pixels = np.asarray(self.render(truth)).transpose(2, 0, 1)
        return Example(torch.from_numpy(np.ascontiguousarray(pixels)), truth.caption)

    def truth(self, index: int) -> Truth:
        """What scene number `index` shows and says, without drawing it."""
        check(index >= 0, f"there is no scene number {index}; they are counted from 0")
        dice = Dice("scene", self.seed, self.split, index)
        plan = draw_plan(dice, dice.weighted(self._shares), self.split, self._artwork)
        layout = lay_out(plan, dice)
        language = "en"
        if plan.kind == "language":
            caption, form, language = foreign_caption(plan, dice)
        else:
            caption, form = english_caption(plan, layout, dice)
        return Truth(
            caption=caption,
            form=form,
            kind=plan.kind,
            things=layout.things,
            subjects=layout.subjects,
            relation=plan.relation,
            count=plan.count,
            ground=plan.ground,
            language=language,
        )

    def render(self, truth: Truth) -> Image.Image:
        """The scene as RGB, composed at 128 x 128 and area-averaged down to `size`."""
        return self._fitted(self._composed(truth.ground, truth.things))

    def ground(self, truth: Truth) -> np.ndarray:
        """The ground alone: (size, size, 3) uint8, what `render` shows wherever no thing is."""
        return np.asarray(self._fitted(self._composed(truth.ground, ())))

    def _composed(self, ground: Ground, things: tuple[Placed, ...]) -> Image.Image:
        canvas = draw_ground(ground).copy()
        for one in things:
            picture = self._artwork.picture(one.thing, one.box[2] - one.box[0])
            canvas.paste(picture, one.box[:2], picture)
        return canvas

    def _fitted(self, canvas: Image.Image) -> Image.Image:
        return canvas if self.size == SIDE else canvas.resize((self.size, self.size), Image.Resampling.BOX)


def _shares(mix: Mapping[str, float], split: str) -> dict[str, int]:
    """In millionths, in the order of KINDS, so that the order in a recipe plays no part."""
    for kind, share in mix.items():
        check(
            kind in KINDS, f'mix: there is no kind of scene "{kind}"{nearest(kind, KINDS)}; known: {", ".join(KINDS)}'
        )
        check(share >= 0, f"mix: {kind} = {share} is negative; a share is 0 or more")
    kinds = [kind for kind in KINDS if split != "unseen" or kind in PRIMARY]
    shares = {kind: round(mix[kind] * 1_000_000) for kind in kinds if mix.get(kind, 0) > 0}
    if not shares:
        where = "" if split != "unseen" else f"; the split unseen has {', '.join(kinds)}"
        raise InputError(f"mix: no kind of scene has a share above 0{where}")
    return shares
