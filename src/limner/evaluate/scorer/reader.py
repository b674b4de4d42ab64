"""Reading back from a picture what its scene's truth asks: identity, colour, count, relation, background.

Closed form and deterministic, nothing is trained: the ground is the nearest of those that captions can ask for,
each thing is where its own artwork explains the picture best, and it is right if none of all the other artworks
explains that place better.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.core import InputError
from limner.data.scenes.artwork import Thing
from limner.data.scenes.shapes import COLOURS
from limner.data.scenes.truth import Ground, Placed, Truth
from limner.evaluate.scorer import relations
from limner.evaluate.scorer.backgrounds import grounds
from limner.evaluate.scorer.finding import Match, herd, matches
from limner.evaluate.scorer.identity import Identity, identify
from limner.evaluate.scorer.layers import Layers, on_canvas
from limner.evaluate.scorer.reading import Found, Reading
from limner.evaluate.scorer.templates import templates

SIDE = 128
PLACES = 8  # that are considered for each of several things,
FEWER, MANY = 4, 5  # but for each of many
APART = 0.3  # different things' ink has no more than this in common
THERE = 0.2  # the least fit at which a thing is there at all
ANOTHER = 0.35  # the least fit, of the best one's, at which one more of the same is counted
SOLID = 0.9  # the opacity of a shape where its colour is read

Picture = Tensor | Image.Image


def score(pictures: Sequence[Picture], truths: Sequence[Truth]) -> list[Reading]:
    """Read each picture, (3, H, W) in [-1, 1] or PIL, with its truth; other sizes are scaled to 128 x 128."""
    if len(pictures) != len(truths):
        raise InputError(f"there are {len(pictures)} pictures for {len(truths)} truths; give one truth for each")
    return [_read(_pixels(picture), truth) for picture, truth in zip(pictures, truths, strict=True)]


def _pixels(picture: Picture) -> Tensor:
    """(3, 128, 128) in [0, 1]."""
    if isinstance(picture, Image.Image):
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
    elif picture.ndim == 3 and picture.shape[0] == 3 and picture.is_floating_point():
        pixels = picture.detach().float().cpu().clamp(-1, 1).add(1).div(2)
    else:
        raise InputError(f"a picture is floats of (3, height, width), not {picture.dtype} of {tuple(picture.shape)}")
    if pixels.shape[1:] != (SIDE, SIDE):
        pixels = torch.nn.functional.interpolate(pixels[None], (SIDE, SIDE), mode="bicubic", antialias=True)[0]
    return pixels.clamp(0, 1)


@torch.inference_mode()
def _read(picture: Tensor, truth: Truth) -> Reading:
    background = grounds().read(picture)
    layers = Layers(picture, background.pixels)
    things = [templates().named(one.thing) for one in truth.things]
    places = _places(layers, things, truth.relation)
    there = places[: len(things)]
    identities = _identities(layers, things, there)
    found = tuple(map(_found, truth.things, things, there, identities))
    reading = Reading(truth.kind, found, _title(background.ground))
    if truth.ground.said:
        reading.background_right = _title(background.ground) == _title(truth.ground)
    if truth.kind == "shape":
        _read_colour(reading, picture, identities[0])
    elif truth.kind == "count":
        reading.count = sum(place is not None for place in places)
        reading.count_right = reading.things_right and reading.count == truth.count
    elif truth.kind == "relation":
        reading.relation_right = reading.things_right and _related(truth, things, found)
    return reading


# ---------------------------------------------------------------------------------------------------
# Where the things are.


def _places(layers: Layers, things: Sequence[Thing], relation: str) -> list[Match | None]:
    """One for each thing, None if it is nowhere; then those of one thing that are there beyond what was asked."""
    if len(set(things)) < len(things):
        return _alike(layers, things)
    if relation == "inside":
        frame = matches(layers, things[0], 1)[0]
        return [frame, matches(layers, things[1], 1, behind=[(things[0], frame.window)])[0]]
    most = 1 if len(things) == 1 else FEWER if len(things) >= MANY else PLACES
    choices = [matches(layers, thing, most) for thing in things]
    return _refound(layers, things, max(itertools.product(*choices), key=lambda chosen: _together(things, chosen)))


def _refound(layers: Layers, things: Sequence[Thing], chosen: Sequence[Match]) -> list[Match | None]:
    """The clearest thing where it was, each fainter one where it is best once the clearer ones are explained."""
    first, *fainter = sorted(range(len(things)), key=lambda number: -chosen[number].worth)
    found = {first: chosen[first]}
    for number in fainter:
        clearer = [(things[other], match.window) for other, match in found.items()]
        found[number] = matches(layers, things[number], 1, behind=clearer)[0]
    return [found[number] for number in range(len(things))]


def _together(things: Sequence[Thing], chosen: Sequence[Match]) -> float:
    """What the places are worth together; those that overlap have it only once."""
    inks = [relations.ink(one.window, thing) for thing, one in zip(things, chosen, strict=True)]
    clash = any(relations.overlap(a, b) > APART for a, b in itertools.combinations(inks, 2))
    return max(one.worth for one in chosen) if clash else sum(one.worth for one in chosen)


def _alike(layers: Layers, things: Sequence[Thing]) -> list[Match | None]:
    """The places of one thing that is there several times: the best ones in reading order, then any more."""
    found = herd(layers, things[0], len(things), len(things) + 2)
    there = [one for one in found if one.fit >= max(THERE, ANOTHER * found[0].fit)]
    best, more = there[: len(things)], there[len(things) :]
    best.sort(key=lambda one: (one.window.centre[1] > SIDE / 2, one.window.x))
    return [*best, *[None] * (len(things) - len(best)), *more]


# ---------------------------------------------------------------------------------------------------
# What they are.


def _identities(layers: Layers, things: Sequence[Thing], places: Sequence[Match | None]) -> list[Identity | None]:
    """Each in its place, over the things that are drawn before it and under those that are drawn after it."""
    placed = [None if place is None else (thing, place.window) for thing, place in zip(things, places, strict=True)]
    found: list[Identity | None] = []
    for number, one in enumerate(placed):
        behind, front = ([layer for layer in part if layer] for part in (placed[:number], placed[number + 1 :]))
        found.append(None if one is None else identify(layers.evidence(behind, front), *one))
    return found


def _found(asked: Placed, thing: Thing, place: Match | None, identity: Identity | None) -> Found:
    if place is None or identity is None or place.fit < THERE:
        return Found(asked, None, place.fit if place else 0.0, "", False)
    return Found(asked, identity.window, place.fit, identity.thing.name, identity.thing.looks == thing.looks)


# ---------------------------------------------------------------------------------------------------
# What is asked beyond identity.


def _read_colour(reading: Reading, picture: Tensor, identity: Identity | None) -> None:
    """The form is that of the best of all things, whatever its colour; the colour is read well inside it."""
    asked, reading.colour_right = reading.things[0].asked, False
    if identity is not None and reading.things[0].window is not None:
        solid = on_canvas(identity.thing, identity.window, SIDE)[3] > SOLID
        reading.colour = _nearest_colour(picture[:, solid].mean(1) * 255) if solid.any() else None
        reading.colour_right = (identity.thing.shape, reading.colour) == (asked.shape, asked.colour)


def _nearest_colour(mean: Tensor) -> str:
    return min(COLOURS, key=lambda name: float((mean - torch.tensor(COLOURS[name])).square().sum()))


def _related(truth: Truth, things: Sequence[Thing], found: Sequence[Found]) -> bool:
    windows = [window for place in truth.subjects if (window := found[place].window) is not None]
    assert len(windows) == len(found), "a thing that is right is somewhere"
    return relations.holds(
        truth.relation, windows, [things[place] for place in truth.subjects], [one.place for one in truth.cast]
    )


def _title(ground: Ground | None) -> str:
    """All that a caption says of a ground: its variant plays no part."""
    if ground is None:
        return "unknown"
    return " ".join((ground.title, ground.direction, *ground.colours)) if ground.name == "gradient" else ground.title
