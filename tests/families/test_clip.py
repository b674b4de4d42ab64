"""CLIP: its loss in closed form, its temperature, its space, and what it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from limner.core import Batch, InputError, Tokenizer
from limner.drawing import to_pil
from limner.families.clip import CLIP, Config, fitted
from limner.nn.prenorm import PreNormConfig

TINY = CLIP.presets["tiny"]


@pytest.fixture
def clip(tokenizer: Tokenizer) -> CLIP:
    torch.manual_seed(0)
    return CLIP(TINY, tokenizer)


def batch(rows: int) -> Batch:
    images = torch.rand(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, [f"picture {row}" for row in range(rows)])


def loss(clip: CLIP, rows: Batch) -> dict[str, torch.Tensor]:
    return clip.loss(rows, torch.Generator())


def test_the_loss_is_the_mean_over_both_directions(clip: CLIP) -> None:
    rows = batch(5)
    cosines = clip.embed_images(rows.images).double() @ clip.embed_texts(rows.captions).double().T
    logits = (cosines / 0.07).exp()
    own = logits.diagonal()
    wanted = -((own / logits.sum(dim=1)).log() + (own / logits.sum(dim=0)).log()).mean() / 2
    found = loss(clip, rows)
    assert found["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert found["scale"].item() == pytest.approx(1 / 0.07, rel=1e-5)
    assert found["nearest"].item() == pytest.approx(cosines.argmax(dim=1).eq(torch.arange(5)).float().mean().item())


def test_it_begins_no_better_than_chance(clip: CLIP) -> None:
    assert loss(clip, batch(16))["loss"].item() == pytest.approx(math.log(16), rel=0.1)


@pytest.mark.parametrize(("beyond", "bound"), [(9.0, 20.0), (-1.0, 1.0)])
def test_the_temperature_keeps_within_its_bounds_and_can_leave_them(
    tokenizer: Tokenizer, beyond: float, bound: float
) -> None:
    """A clamp in the graph would pass on no gradient, and the scale would stand still for ever."""
    torch.manual_seed(0)
    clip = CLIP(replace(TINY, most_scale=20.0), tokenizer)
    with torch.no_grad():
        clip.scale.fill_(beyond)
    found = loss(clip, batch(4))
    assert found["scale"].item() == pytest.approx(bound, rel=1e-5)
    found["loss"].backward()
    assert clip.scale.grad is not None
    assert clip.scale.grad.item() != 0.0


def test_a_picture_of_another_size_is_scaled_and_cut_in_the_middle() -> None:
    """Against Pillow's bicubic, which rounds to whole numbers on its way."""
    rows = torch.linspace(-1, 1, 97)[:, None] * torch.linspace(-1, 1, 48).cos()
    picture = torch.stack([rows, rows.flip(0), rows.abs() * 2 - 1])
    found = fitted(picture[None], 32)[0]
    wanted = to_pil(picture).resize((32, 64), Image.Resampling.BICUBIC).crop((0, 16, 32, 48))  # 64.67 is cut to 64
    assert to_pil(found).size == (32, 32)
    pixels = [torch.tensor(list(one.tobytes())).float() for one in (to_pil(found), wanted)]
    assert (pixels[0] - pixels[1]).abs().max() <= 2
    assert fitted(found[None], 32).equal(found[None])


def test_embeddings_are_unit_vectors_of_one_space(clip: CLIP) -> None:
    rows = batch(3)
    for found in (clip.embed_images(rows.images), clip.embed_texts(rows.captions)):
        assert found.shape == (3, TINY.embedding)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
        assert not found.requires_grad
    small = F.interpolate(rows.images, 16, mode="bicubic", antialias=True)
    assert clip.embed_images(small).shape == (3, TINY.embedding)


def test_pixels_are_normalised_by_the_config(tokenizer: Tokenizer, clip: CLIP) -> None:
    """x - mean over spread of pixels from 0 to 1: with other values, other pictures look the same."""
    other = CLIP(replace(TINY, mean=(0.4, 0.5, 0.6), spread=(0.2, 0.25, 0.5)), tokenizer)
    other.load_state_dict(clip.state_dict())
    pixels = torch.rand(2, 3, 32, 32)
    mean, spread = (torch.tensor(one)[:, None, None] for one in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.5)))
    torch.testing.assert_close(other.features(pixels * 2 - 1), clip.features((pixels - mean) / spread))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"embedding": 0}, "embedding = 0 must be above 0"),
        ({"image_size": 0}, "image_size = 0 does not divide into patches of 16"),
        ({"image_size": 60}, "image_size = 60 does not divide into patches of 16"),
        ({"most_scale": 0.5}, "most_scale = 0.5 is below 1"),
        ({"spread": (0.5, 0.0, 0.5)}, "each must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(Config(), **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 30}, "width = 30 does not divide into heads = 4"),
        ({"depth": 0}, "depth = 0 must be above 0"),
        ({"hidden": 0}, "hidden = 0 must be above 0"),
    ],
)
def test_a_tower_that_cannot_be_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PreNormConfig(**values)


class Vocabulary:
    size = 8192


def test_base_can_be_shipped_in_six_megabytes() -> None:
    """In half precision, its tokenizer of a quarter of a megabyte included."""
    clip = CLIP(Config(), Vocabulary())  # type: ignore[arg-type]
    assert sum(2 * one.numel() for one in clip.parameters()) < 5_700_000
