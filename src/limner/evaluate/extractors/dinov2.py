"""DINOv2's vision transformer (Oquab et al., 2023), of whose class token FD-DINOv2 is made (Stein et al., 2023).

Its sizes are read from the weights: S, B and L, of which L/14 is what published numbers use. Files may have the names
of the original (and timm's) or those of transformers. Not read: the giant, which has another MLP, and the
models with registers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.core import InputError
from limner.evaluate.extractors.files import Tensors, filled, tensors_of
from limner.evaluate.extractors.resize import PILLOW, Resize, levels
from limner.evaluate.features import ExtractorId

SIDE, HEAD = 224, 64
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
OFFSET = 0.1  # with which the original stretches its positions, and everybody's features have been made


class DINOv2:
    """Pictures to class tokens (B, W): W is 384, 768 or 1024."""

    def __init__(self, network: Network, *, hash: str, resize: Resize = PILLOW) -> None:
        self.network, self.resize = network, resize
        self.id = ExtractorId(f"DINOv2 {len(network.blocks)} x {network.cls_token.shape[-1]}", hash, resize.name)

    @staticmethod
    def load(path: Path, *, resize: Resize = PILLOW) -> DINOv2:
        """From a safetensors file; InputError if it holds something else."""
        tensors = _named_as_original(tensors_of(path))
        network = Network(*_sizes(tensors, path))
        return DINOv2(network, hash=filled(network, tensors, path, "a DINOv2 that is read here"), resize=resize)

    def to(self, device: str | torch.device) -> Self:
        self.network.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        where = self.network.cls_token
        pixels = self.resize(levels(images.to(where.device)), SIDE) / 255
        mean, spread = (pixels.new_tensor(one)[:, None, None] for one in (MEAN, SPREAD))
        return self.network(((pixels - mean) / spread).to(where.dtype))


class Network(nn.Module):
    """(B, 3, H, W), of whole patches, to (B, W). B batch, N tokens, W width, H heads, D head size."""

    def __init__(self, width: int, depth: int, hidden: int, patch: int, positions: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + positions, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["proj"](x)  # (B, W, rows, columns)
        positions = self._positions(x.shape[2], x.shape[3])
        x = rearrange(x, "B W rows columns -> B (rows columns) W")
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def _positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows * columns, W): those of the weights, stretched where the grid is another."""
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = round(rest.shape[1] ** 0.5)
        if (rows, columns) == (side, side):
            return self.pos_embed
        grid = rearrange(rest, "one (rows columns) W -> one W rows columns", rows=side)
        scale = ((rows + OFFSET) / side, (columns + OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([first, rearrange(grid, "one W rows columns -> one (rows columns) W")], dim=1)


class Block(nn.Module):
    """Pre-norm attention and MLP, each branch scaled for each channel (LayerScale)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = rearrange(
            self.attn["qkv"](self.norm1(x)), "B N (three H D) -> three B H N D", three=3, D=HEAD
        )
        attended = rearrange(F.scaled_dot_product_attention(query, key, value), "B H N D -> B N (H D)")
        x = x + self.ls1["gamma"] * self.attn["proj"](attended)
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


# ---------------------------------------------------------------------------------------------------
# Other projects' files.

RENAMED = (
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.attention\.(attention\.query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.value|v_proj)\.", ".attn.v."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)  # transformers, as its published files have it and as its modules are called since version 5


def _named_as_original(tensors: Tensors) -> dict[str, Tensor]:
    """Without the mask token, which only training has, and with queries, keys and values in one."""
    found = {}
    for key, tensor in tensors.items():
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        found[key] = tensor
    found.pop("mask_token", None)
    for key in [key for key in found if ".attn.q." in key]:
        parts = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in found for part in parts):
            found[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([found.pop(part) for part in parts])
    return found


def _sizes(tensors: Tensors, path: Path) -> tuple[int, int, int, int, int]:
    """Width, depth, hidden width of the MLP, side of a patch, number of positions."""
    try:
        width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
        hidden, positions = len(tensors["blocks.0.mlp.fc1.weight"]), tensors["pos_embed"].shape[1] - 1
    except (KeyError, ValueError, IndexError):
        raise InputError(f"{path} does not hold a DINOv2 that is read here: S, B or L, without registers") from None
    depth = len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    if width % HEAD:
        raise InputError(f"{path} does not hold a DINOv2 that is read here: its width {width} is no multiple of {HEAD}")
    return width, depth, hidden, patch, positions
