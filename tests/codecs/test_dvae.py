"""What the autoencoder promises besides being DALL-E's own, which tests/oracles asks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor
from torch.distributions import Categorical, Laplace, SigmoidTransform, TransformedDistribution, kl_divergence

from limner.codecs.dvae import DVAE, DVAEConfig, read_dall_e
from limner.core import InputError

SMALL = DVAEConfig(vocabulary=16, groups=3, blocks=1, width=8, start=8, cooling=0.5, warming=0.2)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def dvae(images: Tensor) -> DVAE:
    torch.manual_seed(0)
    made = DVAE(SMALL)
    made.calibrate(images)
    return made


def test_a_token_stands_for_a_square_of_pixels(images: Tensor) -> None:
    for groups, side in ((1, 16), (3, 4), (4, 2)):
        codec = DVAE(replace(SMALL, groups=groups))
        tokens = codec.encode(images)
        assert tokens.shape == (4, side, side)
        assert 0 <= tokens.min() <= tokens.max() < 16
        assert codec.decode(tokens).shape == images.shape


def test_tokens_are_painted_as_their_one_hot_vectors(dvae: DVAE) -> None:
    tokens = torch.randint(16, (2, 4, 4), generator=Generator().manual_seed(0))
    hard = torch.nn.functional.one_hot(tokens, 16).movedim(-1, 1).float()
    painted = dvae.decoder(hard)
    torch.testing.assert_close(dvae.decoder.paint(dvae.decoder.embed(tokens)), painted)
    median = (painted[:, :3].sigmoid() - 0.1) / 0.8 * 2 - 1
    torch.testing.assert_close(dvae.decode(tokens), median.clamp(-1, 1))


def test_the_loss_is_the_bound_by_the_book(dvae: DVAE, images: Tensor) -> None:
    """With hard codes, as in evaluation: the mean of minus ln f over all numbers, and beta KL shared out among them."""
    dvae.eval()
    dvae.anneal(SMALL.warming)
    y = 0.4 * images.double() + 0.5
    logits = dvae.encoder(y.float())
    hard = torch.nn.functional.one_hot(logits.argmax(dim=1), 16).movedim(-1, 1).float()
    mean, log_scale = dvae.decoder(hard).double().chunk(2, dim=1)
    density = TransformedDistribution(Laplace(mean, log_scale.exp()), SigmoidTransform()).log_prob(y)
    q = Categorical(logits=logits.movedim(1, -1))
    divergence = kl_divergence(q, Categorical(logits=torch.zeros(16))).sum()
    wanted = -density.mean() + SMALL.divergence * divergence.double() / images.numel()
    found = dvae.loss(images, Generator())
    assert found["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert found["error"].item() == pytest.approx((dvae.decode(logits.argmax(1)) - images).square().mean().item())


def test_as_it_cools_the_relaxed_loss_becomes_the_hard_one_of_a_sample(dvae: DVAE, images: Tensor) -> None:
    """Where the encoder is certain there is one sample."""
    with torch.no_grad():
        dvae.encoder.out.weight.mul_(1e4)
    dvae.anneal(SMALL.cooling)
    relaxed = dvae.train().loss(images, Generator().manual_seed(0))["loss"]
    hard = dvae.eval().loss(images, Generator())["loss"]
    torch.testing.assert_close(relaxed, hard, rtol=1e-3, atol=1e-3)


def test_it_cools_and_warms_by_half_cosines_in_shares_of_its_training(dvae: DVAE) -> None:
    assert (dvae.temperature, dvae.weight) == (1.0, 0.0)
    dvae.anneal(0.1)
    assert dvae.weight == pytest.approx(3.3)  # half of the way
    dvae.anneal(0.25)
    assert dvae.temperature == pytest.approx((1 + 1 / 16) / 2)
    dvae.anneal(1.0)
    assert (dvae.temperature, dvae.weight) == pytest.approx((1 / 16, 6.6))
    again = DVAE(SMALL)
    again.load_state_dict(dvae.state_dict())
    assert (again.temperature, again.weight) == (dvae.temperature, dvae.weight)


def test_it_begins_with_tokens_of_all_sorts_in_the_pictures_colours(images: Tensor) -> None:
    torch.manual_seed(0)
    fresh, calibrated = DVAE(SMALL), DVAE(SMALL)
    bright = 0.3 * images + torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    calibrated.calibrate(bright)
    squeezed = 0.4 * bright + 0.5
    logits = calibrated.encoder(squeezed)
    torch.testing.assert_close(logits.mean(dim=(0, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.std(dim=(0, 2, 3)), torch.ones(16), atol=1e-3, rtol=0)
    assert calibrated.encode(bright).unique().numel() > fresh.encode(bright).unique().numel()
    mean, log_scale = calibrated.decoder.paint(calibrated.decoder.embed(torch.arange(16)[:, None, None])).chunk(2, 1)
    pixels = torch.logit(squeezed)
    torch.testing.assert_close(mean.mean(dim=(0, 2, 3)), pixels.mean(dim=(0, 2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.std(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(log_scale.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)).log(), atol=1e-4, rtol=0)


def test_perplexity_counts_the_tokens_in_use(dvae: DVAE, images: Tensor) -> None:
    with torch.no_grad():
        dvae.encoder.out.weight.zero_()
        dvae.encoder.out.bias.zero_()
    loss = dvae.eval().loss(images, Generator())
    assert loss["perplexity"].item() == pytest.approx(16, rel=1e-4)
    assert loss["divergence"].item() == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        dvae.encoder.out.bias[[3, 5]] = 100.0
    assert dvae.loss(images, Generator())["perplexity"].item() == pytest.approx(2, rel=1e-4)
    assert dvae.loss(images, Generator())["divergence"].item() == pytest.approx(math.log(8), rel=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 6}, "width = 6 must divide by 4"),
        ({"groups": 0}, "groups = 0 is not from 1 to 8"),
        ({"vocabulary": 1}, "leaves nothing to choose"),
        ({"coldest": 0.0}, "coldest = 0.0 is not a temperature"),
        ({"divergence": -1.0}, "must not be negative"),
        ({"cooling": -1.0}, r"cooling = -1\.0 is not a share of the training"),
        ({"warming": 2000}, "warming = 2000 is not a share of the training"),
        ({"blocks": 0}, "blocks = 0 must be 1 or more"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **values)  # type: ignore[arg-type]


def test_files_that_are_no_dall_e_are_refused_by_name(tmp_path: Path) -> None:
    names = ("blocks.input.b", "blocks.output.conv.b", "blocks.input.w")
    halves = {name: torch.zeros(8) for name in names}
    for path, tensors in (("a", {"weight": torch.zeros(2)}), ("b", halves)):
        save_file(tensors, tmp_path / path)
    with pytest.raises(InputError, match=r'a has no "blocks\.output\.conv\.b": it is not half of a dall_e'):
        read_dall_e(tmp_path / "a", tmp_path / "b")
    with pytest.raises(
        InputError,
        match=r"b is not half of a dall_e autoencoder: .*blocks\.group_1\.block_1\.res_path\.conv_1\.w is missing",
    ):
        read_dall_e(tmp_path / "b", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"\x80\x04pickle")
    with pytest.raises(InputError, match="is a Python pickle"):
        read_dall_e(tmp_path / "c", tmp_path / "b")
