"""The autoencoder against diffusers' with the same random weights: small ones, by strips too, and one at full size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from limner.codecs import strips
from limner.codecs.vae import VAE, VAEConfig
from tests.oracles.comparing import error, scrambled

WITHIN, WITHIN_AT_FULL_SIZE = 1e-5, 1e-4
SMALL = {
    "of four levels": VAEConfig(widths=(8, 16, 16, 24), groups=4),
    "of one block a level": VAEConfig(widths=(16, 8), blocks=1, channels=3, groups=8),
    "of sixteen channels": VAEConfig(widths=(8, 8, 16), blocks=3, channels=16, groups=2, scale=0.3611, shift=0.1159),
}
EVERY_LAYER_BY_STRIPS = 1


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip("diffusers")


def pair(diffusers: Any, config: VAEConfig, *, scramble: bool = True) -> tuple[Any, VAE]:
    """Theirs and ours, which compute with the same tensors."""
    torch.manual_seed(0)
    levels = len(config.widths)
    theirs = diffusers.AutoencoderKL(
        block_out_channels=config.widths, layers_per_block=config.blocks, latent_channels=config.channels,
        norm_num_groups=config.groups, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    ).eval()  # fmt: skip
    with torch.device("meta"):
        ours = VAE(config).eval()
    ours.load_state_dict((scrambled(theirs) if scramble else theirs).state_dict(), assign=True)
    return theirs, ours


@torch.no_grad()
def errors(diffusers: Any, config: VAEConfig, *, height: int, width: int, scramble: bool = True) -> dict[str, float]:
    theirs, ours = pair(diffusers, config, scramble=scramble)
    images = torch.rand(1, 3, height, width) * 2 - 1
    expected, found = theirs.encode(images).latent_dist, ours.moments(images)
    z = torch.randn_like(expected.mean)
    return {
        "mean": error(found.mean, expected.mean),
        "log variance": error(2 * found.log_sigma, expected.logvar),
        "picture": error(ours.paint(z), theirs.decode(z).sample),
    }


@pytest.mark.parametrize("numbers", [strips.NUMBERS, EVERY_LAYER_BY_STRIPS])
@pytest.mark.parametrize("name", SMALL)
def test_small_ones_agree(diffusers: Any, name: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "NUMBERS", numbers)
    assert max(errors(diffusers, SMALL[name], height=40, width=24).values()) < WITHIN


@torch.no_grad()
def test_latents_are_those_of_their_pipelines(diffusers: Any) -> None:
    config = SMALL["of sixteen channels"]
    theirs, ours = pair(diffusers, config)
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    expected = (theirs.encode(images).latent_dist.mode() - config.shift) * config.scale
    assert error(ours.encode(images), expected) < WITHIN
    assert error(ours.decode(expected), theirs.decode(expected / config.scale + config.shift).sample) < WITHIN


@pytest.mark.full_size
def test_at_full_size_it_agrees(diffusers: Any, record_property: Any) -> None:
    found = errors(diffusers, VAEConfig(), height=256, width=256, scramble=False)
    record_property("relative error", found)
    print(f"256 x 256: relative errors {found}")
    assert max(found.values()) < WITHIN_AT_FULL_SIZE


@pytest.mark.full_size
@torch.no_grad()
def test_at_full_size_a_picture_of_512_pixels_is_painted_by_strips(diffusers: Any, record_property: Any) -> None:
    theirs, ours = pair(diffusers, VAEConfig(), scramble=False)
    z = torch.randn(1, 4, 64, 64)
    found = error(ours.paint(z), theirs.decode(z).sample)
    record_property("relative error", found)
    print(f"512 x 512: relative error {found:.1e}")
    assert found < WITHIN_AT_FULL_SIZE
