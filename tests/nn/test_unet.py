"""The denoiser of latent diffusion: its names, its shapes at every size, and what it reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from limner.core import InputError
from limner.nn.unet import UNet, UNetConfig

SMALL = UNetConfig(widths=(16, 32), blocks=1, depths=(1, 1), heads=(2, 2), context=12, groups=8)
# Of diffusers' UNet2DConditionModel for Stable Diffusion 1.5: the first of each kind.
NAMES = {
    "conv_in.weight": (320, 4, 3, 3),
    "time_embedding.linear_1.weight": (1280, 320),
    "down_blocks.0.resnets.0.norm1.weight": (320,),
    "down_blocks.0.resnets.0.time_emb_proj.weight": (320, 1280),
    "down_blocks.1.resnets.0.conv_shortcut.weight": (640, 320, 1, 1),
    "down_blocks.0.attentions.1.proj_in.weight": (320, 320, 1, 1),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.bias": (320,),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight": (320, 1280),
    "down_blocks.0.downsamplers.0.conv.weight": (320, 320, 3, 3),
    "mid_block.attentions.0.norm.weight": (1280,),
    "up_blocks.1.attentions.2.transformer_blocks.0.norm3.weight": (1280,),
    "up_blocks.0.resnets.0.conv1.weight": (1280, 2560, 3, 3),
    "up_blocks.3.resnets.0.conv1.weight": (320, 960, 3, 3),
    "up_blocks.2.upsamplers.0.conv.weight": (640, 640, 3, 3),
    "conv_norm_out.weight": (320,),
    "conv_out.bias": (4,),
}


def inputs(config: UNetConfig, *, batch: int = 2, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, config.channels_in, height, width, generator=generator)
    return x, torch.linspace(10, 900, batch), torch.randn(batch, 5, config.context, generator=generator)


def awake(config: UNetConfig) -> UNet:
    """With what begins at zero moved away from it."""
    torch.manual_seed(0)
    unet = UNet(config).eval()
    with torch.no_grad():
        for one in unet.parameters():
            one.add_(0.05 * torch.randn_like(one))
    return unet


def test_its_parameters_are_those_of_stable_diffusion_1_5() -> None:
    with torch.device("meta"):
        state = UNet(UNetConfig()).state_dict()
    assert {name: tuple(state[name].shape) for name in NAMES} == NAMES
    assert sum(one.numel() for one in state.values()) == 859_520_964
    assert len(state) == 686


def test_it_begins_by_answering_nothing() -> None:
    unet = UNet(SMALL)
    assert not unet(*inputs(SMALL)).any()


@torch.no_grad()
def test_any_size_that_halves_is_taken() -> None:
    unet = awake(SMALL)
    for height, width in ((8, 8), (4, 6), (2, 10)):
        x, t, context = inputs(SMALL, height=height, width=width)
        assert unet(x, t, context).shape == x.shape


@torch.no_grad()
def test_rows_do_not_see_each_other_and_all_is_read() -> None:
    unet = awake(SMALL)
    x, t, context = inputs(SMALL)
    both = unet(x, t, context)
    for row in range(2):
        torch.testing.assert_close(both[row : row + 1], unet(*(one[row : row + 1] for one in (x, t, context))))
    for changed in ((x + 0.1, t, context), (x, t + 40, context), (x, t, context + 0.1)):
        assert (unet(*changed) - both).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("depths", [(1, 1), (0, 1)], ids=str)
def test_a_latent_that_is_read_with_several_texts_is_given_once(depths: tuple[int, ...]) -> None:
    unet = awake(replace(SMALL, depths=depths))
    x, t, _ = inputs(SMALL)
    texts = torch.randn(6, 5, SMALL.context, generator=torch.Generator().manual_seed(1))
    found = unet(x, t, texts)
    torch.testing.assert_close(found, unet(x.repeat(3, 1, 1, 1), t.repeat(3), texts), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0], found[2])


@torch.no_grad()
def test_a_vector_joins_the_time() -> None:
    config = replace(SMALL, added=6, linear=True, depths=(0, 2), middle=2, channels_in=9)
    unet, (x, t, context) = awake(config), inputs(config)
    added = torch.ones(2, 6)
    out = unet(x, t, context, added)
    assert out.shape == (2, 4, 8, 8)
    assert (unet(x, t, context, 2 * added) - out).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depths": (1,)}, "depths = "),
        ({"heads": (3, 2)}, "3 heads"),
        ({"groups": 7}, "groups = 7"),
        ({"blocks": 0}, "blocks = 0"),
        ({"widths": ()}, "widths = "),
        ({"middle": -1}, "middle = -1"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        replace(SMALL, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
