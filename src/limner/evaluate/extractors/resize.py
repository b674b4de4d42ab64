"""The ways in which pictures are brought to a network's size: part of a metric, since each gives other numbers.

The same pictures resized without antialiasing are 6 and more FID away from themselves (Parmar et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True, slots=True)
class Resize:
    """(B, 3, H, W) whole levels from 0 to 255, as floats, to (B, 3, side, side). `name` goes into every result."""

    name: str
    kernel: Callable[[Tensor, int], Tensor]

    def __call__(self, levels: Tensor, side: int) -> Tensor:
        return self.kernel(levels, side)


def levels(images: Tensor) -> Tensor:
    """Pictures in [-1, 1] as those of an 8-bit file, 0 to 255, still floats: nobody sees more than the file has."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round()


def signed(levels: Tensor) -> Tensor:
    """Levels from 0 to 255, of any type, to floats in [-1, 1]."""
    return levels.to(torch.float32).div_(127.5).sub_(1.0)


def of_image(image: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    return signed(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))


def _tensorflow(pictures: Tensor, side: int) -> Tensor:
    """Bilinear as TensorFlow 1 did it: place = number * in / out, no half pixels, no antialiasing."""
    top, bottom, down = (one.to(pictures.device) for one in _places(pictures.shape[2], side))
    left, right, across = (one.to(pictures.device) for one in _places(pictures.shape[3], side))
    upper, lower = pictures[:, :, top], pictures[:, :, bottom]
    upper = upper[..., left] + (upper[..., right] - upper[..., left]) * across
    lower = lower[..., left] + (lower[..., right] - lower[..., left]) * across
    return upper + (lower - upper) * down[:, None]


def _places(size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel the two old ones and the part of the second; in float32, as the original rounds."""
    place = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    low = place.long()
    return low, (low + 1).clamp_max(size - 1), place - low


def _clean(pictures: Tensor, side: int) -> Tensor:
    """Bicubic with antialiasing, each channel in floats, cut to 0..255 and not rounded (clean-fid)."""
    planes = pictures.cpu().float().flatten(0, 1).numpy()
    done = [np.asarray(Image.fromarray(plane).resize((side, side), BICUBIC)) for plane in planes]
    return _stacked(done, pictures).unflatten(0, pictures.shape[:2]).clamp(0, 255)


def _pillow(pictures: Tensor, side: int) -> Tensor:
    """Bicubic with antialiasing on 8-bit pictures, rounded, as torchvision resizes a file that was opened."""
    whole = pictures.cpu().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    done = [np.asarray(Image.fromarray(picture).resize((side, side), BICUBIC), np.float32) for picture in whole]
    return _stacked(done, pictures).permute(0, 3, 1, 2)


def _stacked(arrays: list[np.ndarray], like: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(like.device)


TENSORFLOW = Resize("TensorFlow 1 bilinear", _tensorflow)
CLEAN = Resize("clean-fid bicubic", _clean)
PILLOW = Resize("Pillow bicubic", _pillow)
