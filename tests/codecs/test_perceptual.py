"""The perceptual distance against one written down plainly; that of the lpips package is asked in tests/oracles."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from limner.codecs.perceptual import Perceptual
from limner.core import InputError
from limner.store import weights

# Torchvision's numbers of VGG16's convolutions, with the channels that come and go, stage by stage.
VGG16 = [
    {0: (3, 64), 2: (64, 64)},
    {5: (64, 128), 7: (128, 128)},
    {10: (128, 256), 12: (256, 256), 14: (256, 256)},
    {17: (256, 512), 19: (512, 512), 21: (512, 512)},
    {24: (512, 512), 26: (512, 512), 28: (512, 512)},
]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Of a VGG16 that has learnt nothing, its classifier too, and of heads that count every channel otherwise."""
    torch.manual_seed(0)
    found = {"classifier.6.bias": torch.randn(1000), "lin0.model.1.bias": torch.randn(1)}
    for number, stage in enumerate(VGG16):
        for layer, (before, after) in stage.items():
            found[f"features.{layer}.weight"] = torch.randn(after, before, 3, 3) * (2 / (9 * before)) ** 0.5
            found[f"features.{layer}.bias"] = 0.1 * torch.randn(after)
        found[f"lin{number}.model.1.weight"] = torch.rand(1, after, 1, 1)
    return found


@pytest.fixture(scope="module")
def path(tensors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("perceptual") / "lpips.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def unlike(path: Path) -> Perceptual:
    return Perceptual.load(path)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


def plainly(tensors: dict[str, Tensor], one: Tensor, other: Tensor) -> float:
    """Of two pictures (3, H, W), as the paper has it: the heads' sum of squares of unit vectors' differences."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    maps = [((picture - shift[:, None, None]) / scale[:, None, None])[None].double() for picture in (one, other)]
    distance = 0.0
    for number, stage in enumerate(VGG16):
        maps = [F.max_pool2d(x, 2) for x in maps] if number else maps
        for layer in stage:
            weight, bias = (tensors[f"features.{layer}.{kind}"].double() for kind in ("weight", "bias"))
            maps = [F.conv2d(x, weight, bias, padding=1).relu() for x in maps]
        first, second = (x / x.square().sum(dim=1, keepdim=True).sqrt() for x in maps)
        counted = tensors[f"lin{number}.model.1.weight"].double() * (first - second).square()
        distance += counted.sum(dim=1).mean().item()
    return distance


@torch.no_grad()
def test_it_is_the_distance_of_the_paper(unlike: Perceptual, tensors: dict[str, Tensor], images: Tensor) -> None:
    others = images.flip(3)
    wanted = [plainly(tensors, one, other) for one, other in zip(images, others)]
    assert unlike(images, others).tolist() == pytest.approx(wanted, rel=1e-5)


@torch.no_grad()
def test_a_picture_is_like_itself_and_the_further_it_is_off_the_less(unlike: Perceptual, images: Tensor) -> None:
    noise = torch.randn_like(images)
    same, near, far = (unlike(images, images + share * noise) for share in (0.0, 0.1, 0.5))
    assert same.eq(0.0).all()
    assert (near > 0.0).all()
    assert (near < far).all()
    torch.testing.assert_close(unlike(images + 0.1 * noise, images), near)


def test_it_teaches_who_painted_and_learns_nothing(unlike: Perceptual, images: Tensor) -> None:
    painted = images.flip(2).requires_grad_()
    unlike(images, painted).sum().backward()
    assert painted.grad is not None
    assert painted.grad.isfinite().all()
    assert painted.grad.any()
    assert not any(one.requires_grad for one in unlike.features.parameters())


def test_where_it_sees_nothing_the_gradient_is_nothing(unlike: Perceptual, images: Tensor) -> None:
    """And not 0 / 0."""
    blind = deepcopy(unlike)
    with torch.no_grad():
        next(iter(blind.features)).bias.fill_(-1e6)
    painted = images.flip(2).requires_grad_()
    distances = blind(images, painted)
    distances.sum().backward()
    assert distances.isfinite().all()
    assert painted.grad is not None
    assert painted.grad.eq(0.0).all()


def test_half_the_precision_in_the_file_is_enough(path: Path, tmp_path: Path, images: Tensor) -> None:
    save_file({name: one.half() for name, one in weights.load(path).items()}, tmp_path / "half.safetensors")
    found, wanted = (Perceptual.load(one)(images, images.flip(3)) for one in (tmp_path / "half.safetensors", path))
    torch.testing.assert_close(found, wanted, rtol=0.01, atol=0)


def test_files_without_all_that_it_needs_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "vgg16.safetensors"
    save_file({name: one for name, one in tensors.items() if not name.startswith("lin")}, path)
    with pytest.raises(InputError, match=r"must hold torchvision's VGG16 and .* lin0\.model\.1\.weight is missing"):
        Perceptual.load(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(InputError, match="is a Python pickle"):
        Perceptual.load(path)


def test_pictures_too_small_to_be_seen_are_refused(unlike: Perceptual) -> None:
    with pytest.raises(InputError, match="pictures of 16 x 8 pixels are too small for VGG16"):
        unlike(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))
