"""Networks from files: what they compute is asked of oracles; here, that a wrong file is one line, and resizing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from limner.core import InputError
from limner.evaluate.extractors import (
    CLEAN,
    PILLOW,
    TENSORFLOW,
    DINOv2,
    Inception,
    Pixels,
    RandomNetwork,
    dinov2,
    inception,
)
from limner.evaluate.extractors.histograms import Histograms
from limner.evaluate.extractors.resize import levels
from limner.evaluate.features import extract
from limner.evaluate.metrics import frechet_distance, inception_score
from limner.store.files import sha256
from limner.store.weights import dump
from tests.evaluate.rows import FEW


@pytest.fixture(scope="module")
def small():
    """A DINOv2 of 2 layers with all weights random."""
    torch.manual_seed(0)
    network = dinov2.Network(64, 2, 128, 14, 256)
    return {name: torch.randn_like(tensor) * 0.1 for name, tensor in network.state_dict().items()}


def written(path, tensors):
    path.write_bytes(dump(tensors))
    return path


# ---------------------------------------------------------------------------------------------------
# Files.


@pytest.mark.parametrize("kind", [Inception, DINOv2])
def test_a_file_that_is_not_there_a_pickle_and_another_network_are_one_line_each(tmp_path, kind):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "weights.safetensors")
    foreign = written(tmp_path / "foreign.safetensors", {"fc.weight": torch.zeros(2, 2)})
    for path, what in (
        (tmp_path / "nowhere.safetensors", "there is no file .*nowhere.safetensors"),
        (tmp_path / "weights.safetensors", "is a zip archive, as torch.save writes, with a pickle inside"),
        (foreign, "foreign.safetensors does not hold"),
    ):
        with pytest.raises(InputError, match=what) as error:
            kind.load(path)
        assert "\n" not in str(error.value)


def test_one_tensor_of_another_shape_is_named(tmp_path, small):
    wrong = small | {"blocks.1.mlp.fc1.weight": torch.zeros(128, 65)}
    with pytest.raises(InputError, match=r"blocks\.1\.mlp\.fc1\.weight is 128 x 65 where it should be 128 x 64"):
        DINOv2.load(written(tmp_path / "wrong.safetensors", wrong))
    with_registers = small | {"register_tokens": torch.zeros(1, 4, 64)}
    with pytest.raises(InputError, match="register_tokens is unknown"):
        DINOv2.load(written(tmp_path / "registers.safetensors", with_registers))


def test_an_extractor_has_the_hash_of_its_file(tmp_path, small):
    path = written(tmp_path / "small.safetensors", small | {"mask_token": torch.zeros(1, 64)})
    found = DINOv2.load(path)
    assert (found.id.hash, found.id.resize) == (sha256(path), "Pillow bicubic")


def test_positions_are_stretched_to_another_grid(small):
    """Of the original's 37 x 37 positions, a picture of 16 x 16 patches gets ones that are the same places."""
    network = dinov2.Network(64, 1, 128, 14, 37 * 37)
    ramp = torch.linspace(-1, 1, 37)
    with torch.no_grad():
        network.pos_embed[0, 1:, 0] = ramp.repeat_interleave(37)  # rows
        network.pos_embed[0, 1:, 1] = ramp.repeat(37)
        found = network._positions(16, 16)[0, 1:].reshape(16, 16, 64)
    centres = (torch.arange(16) + 0.5) / 16 * 37 / 18 - 37 / 36  # of the new places, on the ramp
    assert (found[2:-2, :, 0] - centres[2:-2, None]).abs().max() < 0.02
    assert (found[:, 2:-2, 1] - centres[None, 2:-2]).abs().max() < 0.02


def test_a_picture_alone_or_among_others_and_files_in_half_precision(tmp_path, small):
    network = DINOv2.load(written(tmp_path / "half.safetensors", {name: one.half() for name, one in small.items()}))
    pictures = [torch.rand(3, 30, 30) * 2 - 1 for _ in range(3)]
    one, all_ = extract(network, pictures, batch=1), extract(network, pictures)
    torch.testing.assert_close(one.values, all_.values, rtol=1e-4, atol=1e-5)
    assert one.values.shape == (3, 64)


def test_inception_from_a_file_to_its_three_numbers(tmp_path, monkeypatch):
    """A network of the same interface and 64 features, since the true one takes a second a picture."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 64, 32, 32, bias=False), nn.Linear(64, 10)

        def forward(self, x):
            return self.conv(x).relu().mean((2, 3))

    monkeypatch.setattr(inception, "Network", Small)
    torch.manual_seed(0)
    path = written(tmp_path / "inception.safetensors", Small().state_dict())
    network, clean = Inception.load(path), Inception.load(path, resize=CLEAN)
    pictures = [torch.rand(3, 40, 40) * 2 - 1 for _ in range(20)]
    found = extract(network, pictures)
    logits = network.logits(found)
    assert logits.values.shape == (20, 10)
    torch.testing.assert_close(logits.values, found.double @ network.network.fc.weight.T.double())
    assert inception_score(logits, bootstrap=FEW).value >= 1
    assert frechet_distance(found, found, bootstrap=FEW).value == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match=r"TensorFlow 1 bilinear.*clean-fid bicubic.*have nothing in common"):
        frechet_distance(found, extract(clean, pictures), bootstrap=FEW)


def test_the_true_inception_has_the_published_number_of_parameters():
    """23,851,784 of torchvision's without the auxiliary head at 1000 classes; 8 classes more here."""
    count = sum(parameter.numel() for parameter in inception.Network().parameters())
    assert count == 27_161_264 - 3_326_696 + 8 * 2049


# ---------------------------------------------------------------------------------------------------
# Resizing.


def test_each_resize_keeps_an_even_colour_and_the_size_it_has():
    even = torch.full((2, 3, 31, 47), 77.0)
    noise = torch.randint(0, 256, (1, 3, 24, 24)).float()
    for resize in (TENSORFLOW, CLEAN, PILLOW):
        torch.testing.assert_close(resize(even, 20), torch.full((2, 3, 20, 20), 77.0))
        torch.testing.assert_close(resize(noise, 24), noise)


def test_tensorflows_takes_every_second_pixel_and_the_others_mean_over_them():
    """Halving stripes of one pixel: without antialiasing they vanish, with it they are grey."""
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 1::2] = 200
    assert TENSORFLOW(stripes, 16).max() == 0
    for resize in (CLEAN, PILLOW):
        assert (resize(stripes, 16)[..., 4:-4] - 100).abs().max() < 12


def test_clean_is_pillow_without_rounding():
    picture = torch.randint(60, 190, (1, 3, 50, 40)).float()  # nothing overshoots and is cut
    array = picture[0].permute(1, 2, 0).byte().numpy()
    expected = np.asarray(Image.fromarray(array).resize((20, 20), Image.Resampling.BICUBIC))
    assert torch.equal(PILLOW(picture, 20)[0].permute(1, 2, 0), torch.from_numpy(expected.astype(np.float32)))
    assert (CLEAN(picture, 20) - PILLOW(picture, 20)).abs().max() < 1.5  # it rounds after rows and after columns
    assert (CLEAN(picture, 20) % 1 > 0).any()


def test_pictures_are_judged_as_their_files_are():
    images = torch.tensor([-1.2, -1.0, 0.0, 0.00391, 1.0]).reshape(1, 1, 1, 5)
    assert levels(images).flatten().tolist() == [0, 0, 128, 128, 255]


# ---------------------------------------------------------------------------------------------------
# Without files.


def test_pixels_are_means_of_cells():
    images = torch.arange(48.0).reshape(1, 3, 4, 4)
    expected = images.reshape(1, 3, 2, 2, 2, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(Pixels(2)(images), expected)


def test_histograms_count_colours_and_directions():
    red, stripes = -torch.ones(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)
    red[:, 0] = 1
    stripes[..., 8:] = 1
    colours, edges = Histograms()(torch.cat([red, stripes])).split([64, 8], dim=1)
    assert colours[0].nonzero().flatten().tolist() == [3 * 16]
    assert colours[1].nonzero().flatten().tolist() == [0, 63]
    assert edges[0].sum() == 0
    assert edges[1].nonzero().flatten().tolist() == [0]  # the gradient runs across
    assert Histograms()(stripes.mT)[0, 64:].nonzero().flatten().tolist() == [4]


def test_the_random_network_is_the_same_everywhere():
    """Its hash is that of its weights: on a machine where it is another, its numbers are another metric's."""
    one = RandomNetwork()
    assert one.id == RandomNetwork().id != RandomNetwork(seed=1).id
    assert one.id.hash.startswith("5be72f0fc24a2120")
    assert one(torch.zeros(2, 3, 20, 30)).shape == (2, 224)
