"""The discrete autoencoder against OpenAI's own, with the same random weights."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.codecs.dvae import DVAE, read_dall_e
from limner.process.logit_laplace import squeeze, unsqueeze

pytest.importorskip("attr")
if importlib.util.find_spec("requests") is None:  # which dall_e imports for downloading, and we do not want
    sys.modules["requests"] = types.ModuleType("requests")
dall_e = pytest.importorskip("dall_e")

VOCABULARY = 512


@pytest.fixture(scope="module", params=[1, 2], ids=["one block a group", "two blocks a group"])
def theirs(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    """With biases too, which are zero at first."""
    torch.manual_seed(request.param)
    sizes = {"n_hid": 64, "n_blk_per_group": request.param, "vocab_size": VOCABULARY}
    pair = dall_e.Encoder(**sizes), dall_e.Decoder(**sizes, n_init=96)
    for part in pair:
        for parameter in part.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, std=0.3)
    return pair


@pytest.fixture(scope="module")
def ours(theirs: tuple[nn.Module, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> DVAE:
    paths = [tmp_path_factory.mktemp("dall_e") / name for name in ("encoder.safetensors", "decoder.safetensors")]
    for path, part in zip(paths, theirs, strict=True):
        save_file(part.state_dict(), path)
    return read_dall_e(*paths)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return ((one - other).abs().max() / other.abs().max()).item()


def test_the_encoder_says_the_same(theirs, ours, images):
    wanted = theirs[0](dall_e.map_pixels((images + 1) / 2))
    assert wanted.std() > 0.1
    assert apart(ours.encoder(squeeze(images)), wanted) < 1e-5
    assert ours.encode(images).equal(wanted.argmax(dim=1))


def test_the_decoder_says_the_same_of_soft_and_of_hard_codes(theirs, ours, images):
    soft = torch.rand(2, VOCABULARY, 4, 4).softmax(dim=1)
    assert apart(ours.decoder(soft), theirs[1](soft)) < 1e-5
    tokens = torch.randint(VOCABULARY, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    hard = nn.functional.one_hot(tokens, VOCABULARY).permute(0, 3, 1, 2).float()
    wanted = dall_e.unmap_pixels(torch.sigmoid(theirs[1](hard)[:, :3])) * 2 - 1
    assert wanted.std() > 0.1
    assert apart(ours.decode(tokens), wanted) < 1e-5


def test_pixels_are_squeezed_alike(images):
    unit = (images + 1) / 2
    assert apart(squeeze(images), dall_e.map_pixels(unit)) < 1e-6
    wide = torch.rand(1, 3, 8, 8) * 1.4 - 0.2
    assert apart(unsqueeze(wide), dall_e.unmap_pixels(wide) * 2 - 1) < 1e-5


def test_fresh_weights_are_of_one_size(theirs, ours):
    """Ours begin as theirs do: 1 / sqrt(inputs) for each convolution."""
    fresh = DVAE(ours.config)
    for name, parameter in fresh.named_parameters():
        if parameter.ndim == 4 and parameter.numel() > 2000:
            inputs = parameter[0].numel()
            assert parameter.std().item() == pytest.approx(inputs**-0.5, rel=0.1), name
