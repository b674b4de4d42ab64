"""What the autoencoder promises besides being Stable Diffusion's own, which tests/oracles asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from limner.codecs import strips, vae
from limner.codecs.vae import FOLLOWED, VAE, VAEConfig
from limner.core import InputError
from tests.oracles.comparing import error

SMALL = VAEConfig(widths=(8, 16), blocks=1, channels=3, groups=4)
MEASURED = replace(SMALL, scale="measured")
WITHIN = 1e-5
# Of diffusers' AutoencoderKL for Stable Diffusion 1.5: the first of each kind.
NAMES = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down_blocks.0.resnets.0.norm1.weight": (128,),
    "encoder.down_blocks.0.resnets.1.conv1.weight": (128, 128, 3, 3),
    "encoder.down_blocks.0.downsamplers.0.conv.weight": (128, 128, 3, 3),
    "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": (256, 128, 1, 1),
    "encoder.down_blocks.3.resnets.1.norm2.bias": (512,),
    "encoder.mid_block.attentions.0.group_norm.weight": (512,),
    "encoder.mid_block.attentions.0.to_q.weight": (512, 512),
    "encoder.mid_block.attentions.0.to_k.bias": (512,),
    "encoder.mid_block.attentions.0.to_v.weight": (512, 512),
    "encoder.mid_block.attentions.0.to_out.0.weight": (512, 512),
    "encoder.mid_block.resnets.1.conv2.bias": (512,),
    "encoder.conv_norm_out.weight": (512,),
    "encoder.conv_out.weight": (8, 512, 3, 3),
    "quant_conv.weight": (8, 8, 1, 1),
    "post_quant_conv.weight": (4, 4, 1, 1),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "decoder.mid_block.attentions.0.to_out.0.bias": (512,),
    "decoder.up_blocks.0.resnets.2.conv1.weight": (512, 512, 3, 3),
    "decoder.up_blocks.0.upsamplers.0.conv.weight": (512, 512, 3, 3),
    "decoder.up_blocks.2.resnets.0.conv_shortcut.weight": (256, 512, 1, 1),
    "decoder.up_blocks.2.upsamplers.0.conv.bias": (256,),
    "decoder.up_blocks.3.resnets.0.conv1.weight": (128, 256, 3, 3),
    "decoder.conv_norm_out.bias": (128,),
    "decoder.conv_out.weight": (3, 128, 3, 3),
}


def made(config: VAEConfig = SMALL) -> VAE:
    torch.manual_seed(0)
    return VAE(config).eval()


def pictures(count: int = 2, height: int = 12, width: int = 16) -> Tensor:
    """Smooth enough to be learnt."""
    coarse = torch.rand(count, 3, 3, 4, generator=Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(coarse, size=(height, width), mode="bilinear")


def test_its_parameters_are_those_of_stable_diffusion_1_5() -> None:
    with torch.device("meta"):
        state = VAE(VAEConfig()).state_dict()
    assert {name: tuple(state[name].shape) for name in NAMES} == NAMES
    assert sum(one.numel() for one in state.values()) == 83_653_863
    assert len(state) == 248


@torch.no_grad()
@pytest.mark.parametrize("widths", [(8,), (8, 16), (4, 8, 8, 16)])
def test_one_latent_stands_for_a_square_of_pixels(widths: tuple[int, ...]) -> None:
    codec = made(replace(SMALL, widths=widths))
    factor = 2 ** (len(widths) - 1)
    assert codec.config.factor == factor
    images = pictures(2, 16, 24)
    latents = codec.encode(images)
    assert latents.shape == (2, 3, 16 // factor, 24 // factor)
    assert codec.decode(latents).shape == images.shape


@torch.no_grad()
def test_coding_is_without_chance_and_the_likeliest_sample_is_taken() -> None:
    codec, images = made(), pictures()
    latents = codec.encode(images)
    assert torch.equal(latents, codec.encode(images))
    assert torch.equal(latents, codec.normalise(codec.moments(images).mean))
    assert torch.equal(codec.decode(latents), codec.decode(latents))
    assert torch.equal(codec.decode(latents), codec.paint(codec.restore(latents)))


@torch.no_grad()
def test_pictures_do_not_see_each_other() -> None:
    codec, images = made(), pictures(3)
    latents = codec.encode(images)
    for number in range(3):
        torch.testing.assert_close(codec.encode(images[number : number + 1]), latents[number : number + 1])
        torch.testing.assert_close(codec.decode(latents[number : number + 1]), codec.decode(latents)[number][None])


@torch.no_grad()
def test_log_variances_are_kept_within_bounds() -> None:
    codec = made()
    codec.quant_conv.bias[3:] = torch.tensor([1e3, -1e3, 0.0])
    log_sigma = codec.moments(pictures()).log_sigma
    assert log_sigma[:, 0].eq(10.0).all()
    assert log_sigma[:, 1].eq(-15.0).all()
    assert (log_sigma[:, 2].abs() < 10.0).all()


# ---------------------------------------------------------------------------------------------------
# Latents of unit spread.


def test_latents_are_shifted_and_scaled() -> None:
    codec = made(replace(SMALL, scale=0.5, shift=0.25))
    z = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(codec.normalise(z), (z - 0.25) * 0.5)
    torch.testing.assert_close(codec.restore(codec.normalise(z)), z)


def test_a_scale_is_not_rounded_with_the_weights() -> None:
    codec = made().to(torch.bfloat16)
    assert codec.restore(torch.ones(1, dtype=torch.float64)).item() == 1.0 / 0.18215


def test_a_measured_scale_is_at_first_that_of_the_first_batch() -> None:
    codec = made(MEASURED)
    z = 3.0 * torch.randn(4, 3, 8, 8) + torch.tensor([0.0, 5.0, -5.0])[:, None, None]
    codec.follow(z)
    latents = codec.normalise(z)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(3))
    torch.testing.assert_close(codec.restore(latents), z)


def test_a_measured_scale_then_follows_what_comes_slowly() -> None:
    codec = made(MEASURED)
    first, second = torch.randn(4, 3, 8, 8), 4.0 * torch.randn(4, 3, 8, 8) + 7.0
    codec.follow(first)
    codec.follow(second)
    for found, of in ((codec.mean, Tensor.mean), (codec.spread, Tensor.std)):
        before, after = (of(one, dim=(0, 2, 3)) for one in (first, second))
        torch.testing.assert_close(found, (1 - FOLLOWED) * before + FOLLOWED * after)


def test_what_was_measured_is_kept_beside_the_weights() -> None:
    codec = made(MEASURED)
    codec.follow(torch.randn(4, 3, 8, 8) + 2.0)
    again = VAE(MEASURED)
    again.load_state_dict(codec.state_dict())
    z = torch.randn(1, 3, 4, 4)
    assert torch.equal(again.normalise(z), codec.normalise(z))
    again.follow(z)  # a second batch, and not a first
    assert error(again.mean, codec.mean) < 0.2


# ---------------------------------------------------------------------------------------------------
# Large pictures.


@torch.no_grad()
@pytest.mark.parametrize("numbers", [1, 100, 999])
def test_by_strips_and_one_by_one_it_codes_the_same(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, images = made(replace(SMALL, widths=(8, 16, 16), blocks=2)), pictures(2, 20, 28)
    latents = codec.encode(images)
    painted = codec.decode(latents)
    monkeypatch.setattr(strips, "NUMBERS", numbers)
    assert error(codec.encode(images), latents) < WITHIN
    assert error(codec.decode(latents), painted) < WITHIN


def test_where_gradients_are_wanted_nothing_is_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, images = made(), pictures()
    monkeypatch.setattr(strips, "NUMBERS", 1)
    monkeypatch.setattr(vae, "WHOLE", 1)
    codec.decode(codec.encode(images)).square().mean().backward()
    assert codec.encoder.conv_in.weight.grad is not None
    assert codec.encoder.conv_in.weight.grad.any()


@torch.no_grad()
def test_in_tiles_it_codes_nearly_the_same_the_larger_they_are_the_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pictures without places: the norms of every tile see much the same."""
    codec, generator = made(), Generator().manual_seed(0)
    images, z = (torch.randn(1, 3, *sides, generator=generator) for sides in ((96, 128), (48, 64)))
    for code, x in ((codec.encode, images), (codec.paint, z)):
        wanted, off = code(x), []
        with monkeypatch.context() as patch:
            patch.setattr(vae, "WHOLE", 1)
            patch.setattr(strips, "NUMBERS", 1)
            for side in (32, 64):
                patch.setattr(vae, "TILE", side)
                patch.setattr(vae, "OVERLAP", side // 2)
                off.append(((code(x) - wanted).std() / wanted.std()).item())
        assert WITHIN < off[1] < off[0] / 2
        assert off[1] < 0.2


# ---------------------------------------------------------------------------------------------------
# Learning.


def test_every_parameter_gets_a_gradient() -> None:
    codec = made()
    seen = codec.moments(pictures())
    codec.paint(seen.at(torch.randn_like(seen.mean))).square().mean().backward()
    heard = {name: one for name, one in codec.named_parameters() if "to_k.bias" not in name}  # alike for all: unheard
    assert [name for name, one in heard.items() if one.grad is None or not one.grad.any()] == []


def test_a_few_pictures_are_learnt_by_heart() -> None:
    codec, images = made(replace(SMALL, widths=(8, 8))).train(), pictures(8, 16, 16)
    optimiser = torch.optim.Adam(codec.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        seen = codec.moments(images)
        F.mse_loss(codec.paint(seen.at(torch.randn_like(seen.mean))), images).backward()
        optimiser.step()
    assert F.mse_loss(codec.eval().decode(codec.encode(images)), images) < 0.25 * images.var()


# ---------------------------------------------------------------------------------------------------
# What is refused.


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match=r"a picture of 16 x 13 pixels does not divide .* multiples of 2$"):
        made().encode(torch.zeros(1, 3, 13, 16))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": ()}, r"widths = \[\] is not of 1 to 8 levels"),
        ({"widths": (8,) * 9}, "is not of 1 to 8 levels"),
        ({"widths": (8, 10)}, r"widths = \[8, 10\] do not all divide into groups = 4"),
        ({"widths": (0, 8)}, "do not all divide"),
        ({"groups": 0}, "groups = 0 must be 1 or more"),
        ({"blocks": 0}, "blocks = 0 must be 1 or more"),
        ({"channels": 0}, "channels = 0 must be 1 or more"),
        ({"scale": 0.0}, 'scale = 0.0 must be above 0, or "measured"'),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        replace(SMALL, **values)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
