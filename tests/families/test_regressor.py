"""The regressor against what squared error means: the mean picture of a caption, known in closed form."""

from __future__ import annotations

import pytest
import torch

from limner.core import Batch, InputError, Request, Tokenizer
from limner.drawing import draw
from limner.families.regressor import Config, Knobs, Regressor
from limner.text.transformer import TextConfig

SMALL = Config(image_size=16, width=32, narrowest=16, text=TextConfig(width=32, depth=1, heads=2, hidden=64, length=16))


def scattered(seed: int) -> tuple[Batch, torch.Tensor]:
    """Three captions with four pictures each, of random 4 x 4 cells; and the mean picture of each, (3, 3, H, W)."""
    cells = torch.rand(3, 4, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    pictures = cells.repeat_interleave(4, 3).repeat_interleave(4, 4)
    captions = [caption for caption in ("a red square", "a blue square", "") for _ in range(4)]
    return Batch(pictures.flatten(0, 1), captions), pictures.mean(dim=1)


def test_it_converges_to_the_mean_picture_of_each_caption(tokenizer: Tokenizer) -> None:
    """The least error that any picture for each caption can have is the variance within the captions."""
    torch.manual_seed(0)
    batch, means = scattered(0)
    floor = (batch.images.unflatten(0, (3, 4)) - means[:, None]).square().mean().item()
    regressor = Regressor(SMALL, tokenizer)
    regressor.calibrate(batch)
    optimiser = torch.optim.Adam(regressor.parameters(), lr=3e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 150)
    losses = []
    for _ in range(150):
        loss = regressor.loss(batch, torch.Generator())["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        rates.step()
        losses.append(loss.item())
    assert min(losses) > floor - 1e-6  # nothing beats the floor: it is one
    assert losses[0] > 1.1 * floor
    assert losses[-1] < 1.01 * floor
    drawn = draw(regressor, [Request(prompt=batch.captions[row], seed=0, knobs=Knobs()) for row in (0, 4, 8)])
    assert (torch.stack(drawn) - means).square().mean() < 0.01 * floor


def test_it_begins_as_the_mean_colour(tokenizer: Tokenizer) -> None:
    batch, _ = scattered(1)
    regressor = Regressor(SMALL, tokenizer)
    regressor.calibrate(batch)
    colour = batch.images.mean(dim=(0, 2, 3))
    (picture,) = draw(regressor, [Request(prompt="a star", seed=0, knobs=Knobs())])
    torch.testing.assert_close(picture, colour[:, None, None].expand(3, 16, 16))
    loss = regressor.loss(batch, torch.Generator())["loss"]
    torch.testing.assert_close(loss, (batch.images - colour[:, None, None]).square().mean())


def test_every_seed_draws_the_caption_s_one_picture(tokenizer: Tokenizer) -> None:
    regressor = Regressor(SMALL, tokenizer)
    torch.nn.init.normal_(regressor.decoder.out.weight)
    one, two = draw(regressor, [Request(prompt="a star", seed=seed, knobs=Knobs()) for seed in (1, 2)])
    assert one.equal(two)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 100}, "image_size = 100 is not 4 doubled some times"),
        ({"image_size": 4}, "image_size = 4 is not"),
        ({"image_size": 0}, "image_size = 0 is not"),
        ({"width": 100}, "each must divide by 8"),
        ({"narrowest": 4, "width": 64}, "each must divide by 8"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**values)


def test_what_it_has_no_use_for_is_refused_by_name(tokenizer: Tokenizer) -> None:
    regressor, picture = Regressor(SMALL, tokenizer), torch.zeros(3, 16, 16)
    for name, given in (
        ("an image", {"image": picture}),
        ("a mask", {"mask": picture[:1]}),
        ("a negative prompt", {"negative_prompt": "rain"}),
    ):
        with pytest.raises(InputError, match=f"has no use for {name}: leave it out"):
            regressor.begin([Request(prompt="a star", seed=0, knobs=Knobs(), **given)])


def test_base_has_about_nine_million_parameters(tokenizer: Tokenizer) -> None:
    class Vocabulary:
        size = 8192

    regressor = Regressor(Regressor.presets["base"], Vocabulary())  # type: ignore[arg-type]
    assert 8_000_000 < sum(one.numel() for one in regressor.parameters()) < 10_000_000
