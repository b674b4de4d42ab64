"""The U-Net against diffusers' with the same random weights: small ones of each kind, and the three at full size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.nn.sinusoid import sinusoid
from limner.nn.unet import UNet, UNetConfig

WITHIN, WITHIN_AT_FULL_SIZE = 1e-5, 1e-4
SIZES = torch.tensor([[64.0, 48.0, 0.0, 8.0, 64.0, 64.0]])


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip("diffusers")


def theirs(diffusers: Any, config: UNetConfig, *, wave: int = 0) -> Any:
    """`wave` numbers stand for each of SDXL's six sizes."""
    cross = [f"{'CrossAttn' if depth else ''}{{}}Block2D" for depth in config.depths]
    settings: dict[str, Any] = {
        "in_channels": config.channels_in, "out_channels": config.channels_out, "sample_size": 8,
        "block_out_channels": config.widths, "layers_per_block": config.blocks, "norm_num_groups": config.groups,
        "down_block_types": [one.format("Down") for one in cross],
        "up_block_types": [one.format("Up") for one in reversed(cross)],
        "attention_head_dim": config.heads,  # by which diffusers means how many heads there are
        "transformer_layers_per_block": tuple(depth or config.middle for depth in config.depths),
        "cross_attention_dim": config.context, "use_linear_projection": config.linear,
    }  # fmt: skip
    if config.added:
        settings |= {
            "addition_embed_type": "text_time", "addition_time_embed_dim": wave,
            "projection_class_embeddings_input_dim": config.added,
        }  # fmt: skip
    return diffusers.UNet2DConditionModel(**settings).eval()


@torch.no_grad()
def error(
    diffusers: Any, config: UNetConfig, *, side: int = 16, wave: int = 0, dtype: torch.dtype = torch.float32
) -> float:
    """The largest difference over the largest number of theirs. Both compute with the same tensors."""
    torch.manual_seed(0)
    their = theirs(diffusers, config, wave=wave)
    with torch.device("meta"):
        ours = UNet(config).eval()
    ours.load_state_dict(their.state_dict(), assign=True)
    x, t = torch.randn(2, config.channels_in, side, side // 2), torch.tensor([3.0, 901.0])
    context, pooled = torch.randn(2, 9, config.context), torch.randn(2, config.added - 6 * wave)
    given = {"text_embeds": pooled, "time_ids": SIZES.expand(2, -1)} if config.added else None
    expected = their(x, t, context, added_cond_kwargs=given).sample
    found = ours(x, t, context, _vector(pooled, wave) if config.added else None)
    return ((found - expected).abs().max() / expected.abs().max()).item()


def _vector(pooled: Tensor, wave: int) -> Tensor:
    return torch.cat([pooled, sinusoid(SIZES[0], wave).reshape(1, -1).expand(len(pooled), -1)], dim=1)


SMALL = {
    "of SD 1": UNetConfig(widths=(32, 64, 64), depths=(1, 1, 0), heads=(4, 4, 4), context=24, groups=8),
    "of SD 2": UNetConfig(widths=(32, 64, 64), depths=(1, 1, 0), heads=(2, 4, 4), context=24, groups=8, linear=True),
    "of inpainting": UNetConfig(channels_in=9, widths=(32, 64), depths=(1, 0), heads=(4, 4), context=24, groups=8),
    "of SDXL": UNetConfig(
        widths=(32, 64), depths=(0, 2), middle=2, heads=(2, 4), context=24, groups=8, linear=True, added=20 + 6 * 16
    ),
}
FULL = {
    "SD 1.5": UNetConfig(),
    "SD 2.1": UNetConfig(heads=(5, 10, 20, 20), context=1024, linear=True),
    "SDXL": UNetConfig(
        widths=(320, 640, 1280), depths=(0, 2, 10), middle=10, heads=(5, 10, 20), context=2048, linear=True, added=2816
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_one_agrees(diffusers: Any, name: str) -> None:
    assert error(diffusers, SMALL[name], wave=16 if SMALL[name].added else 0) < WITHIN


@pytest.mark.full_size
@pytest.mark.parametrize("name", FULL)
def test_at_full_size_it_agrees(diffusers: Any, name: str, record_property: Any) -> None:
    found = error(diffusers, FULL[name], side=32, wave=256 if FULL[name].added else 0)
    record_property("relative error", found)
    print(f"{name}: relative error {found:.1e}")
    assert found < WITHIN_AT_FULL_SIZE
