"""What is GAN-INT-CLS's alone: the weights of its pairs, mixed sentences for the generator only, the sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limner import families
from limner.core import Batch, InputError, Request, Tokenizer
from limner.drawing import draw
from limner.families.gan_int_cls import Config, Discriminator, GANIntCls, Generator
from limner.text.char_cnn_rnn import CharConfig
from limner.text.joint import JointConfig
from limner.train.recipe import amend
from tests.test_contract import squares

TINY = GANIntCls.presets["tiny"]


class Critic(nn.Module):
    """Its logit for a pair is the picture's first pixel."""

    def look(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, 0]

    def judge(self, seen: Tensor, sentences: Tensor) -> Tensor:
        return seen + 0.0 * sentences.sum(dim=1)


class Grey(nn.Module):
    """Notes the sentences that it is asked to draw, and draws grey."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Tensor] = []

    def forward(self, noise: Tensor, sentences: Tensor) -> Tensor:
        self.told.append(sentences)
        return torch.zeros(len(noise), 3, 32, 32)


@pytest.fixture
def gan(tokenizer: Tokenizer) -> GANIntCls:
    torch.manual_seed(0)
    return GANIntCls(TINY, tokenizer)


def xent(logit: float, *, target: int) -> float:
    return math.log1p(math.exp(-logit if target else logit))


def test_true_pairs_count_one_and_wrong_and_drawn_ones_a_half(gan: GANIntCls) -> None:
    gan.discriminator, gan.generator = Critic(), Grey()
    images = torch.zeros(2, 3, 32, 32)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 2.0, -1.0
    losses = gan.judge(Batch(images, ["a", "b"]), torch.Generator())
    right = (xent(2.0, target=1) + xent(-1.0, target=1)) / 2
    wrong = (xent(-1.0, target=0) + xent(2.0, target=0)) / 2  # each caption has the other's picture
    drawn = xent(0.0, target=0)
    for name, value in {"right": right, "wrong": wrong, "drawn": drawn}.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(right + 0.5 * wrong + 0.5 * drawn, rel=1e-5)
    alike = gan.judge(Batch(images, ["a", "a"]), torch.Generator())
    assert alike["wrong"] == 0.0


def test_a_wrong_picture_is_of_another_class_where_there_are_classes(gan: GANIntCls) -> None:
    gan.discriminator, gan.generator = Critic(), Grey()
    images = torch.zeros(3, 3, 32, 32)
    images[:, 0, 0, 0] = torch.tensor([5.0, 5.0, -5.0])
    wrong = gan.judge(Batch(images, ["a", "b", "c"], ["wren", "wren", "crow"]), torch.Generator())["wrong"]
    assert wrong.item() == pytest.approx((2 * xent(-5.0, target=0) + xent(5.0, target=0)) / 3, rel=1e-5)


def test_sentences_are_mixed_for_the_generator_alone(gan: GANIntCls) -> None:
    gan.generator = noted = Grey()
    batch = Batch(torch.zeros(5, 3, 32, 32), ["a", "b", "c", "d", "e"])
    sentences = gan.joint.sentences(batch.captions)
    gan.judge(batch, torch.Generator())
    torch.testing.assert_close(noted.told.pop(), sentences)
    gan.please(batch, torch.Generator())
    told = noted.told.pop()
    torch.testing.assert_close(told[:5], sentences)
    torch.testing.assert_close(told[5:], torch.stack([sentences[0] + sentences[2], sentences[1] + sentences[3]]) / 2)


@pytest.mark.parametrize("mixed", [1.0, 0.25, 0.0])
def test_mixed_sentences_count_by_their_weight(mixed: float, tokenizer: Tokenizer) -> None:
    """One mean over all of 1.5 B, as the original's weighted criterion has it."""
    gan = GANIntCls(replace(TINY, mixed=mixed), tokenizer)
    gan.discriminator, gan.generator = Critic(), Grey()
    loss = gan.please(squares(32), torch.Generator())["loss"].item()
    assert loss == pytest.approx(math.log(2.0) * (4 + 2 * mixed) / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "channels"), [(16, [8, 4]), (32, [16, 8, 4]), (64, [32, 16, 8, 4]), (128, [32, 32, 16, 8, 4])]
)
def test_its_depth_follows_the_size(size: int, channels: list[int]) -> None:
    config = replace(TINY, image_size=size, width=4, critic_width=4)
    generator, discriminator = Generator(config), Discriminator(config)
    deconvolutions = [one for one in generator.grow if isinstance(one, nn.ConvTranspose2d)]
    assert [one.out_channels for one in deconvolutions] == [*channels, 3]
    convolutions = [one for one in discriminator.look if isinstance(one, nn.Conv2d)]
    assert [one.out_channels for one in convolutions] == channels[::-1]
    pictures = generator(torch.randn(2, config.noise), torch.randn(2, 32))
    assert pictures.shape == (2, 3, size, size)
    assert discriminator.judge(discriminator.look(pictures), torch.randn(2, 32)).shape == (2,)


def test_at_64_pixels_the_layers_are_the_published_ones() -> None:
    """Sizes by hand from the original's script: ngf = 128, ndf = 64, sentences of 1024 to 128, and no biases."""
    config = GANIntCls.presets["paper"]
    with torch.device("meta"):
        generator, discriminator = Generator(config), Discriminator(config)
    kernels = {
        name: sum(one.weight.numel() for one in part.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d))
        for name, part in (("generator", generator), ("discriminator", discriminator))
    }
    g, d = 128, 64
    assert kernels["generator"] == (
        16 * (228 * 8 * g + 8 * g * 4 * g + 4 * g * 2 * g + 2 * g * g + g * 3)
        + (8 * g * 2 * g + 9 * 2 * g * 2 * g + 9 * 2 * g * 8 * g)
        + (4 * g * g + 9 * g * g + 9 * g * 4 * g)
    )
    assert kernels["discriminator"] == (
        16 * (3 * d + d * 2 * d + 2 * d * 4 * d + 4 * d * 8 * d)
        + (8 * d * 2 * d + 9 * 2 * d * 2 * d + 9 * 2 * d * 8 * d)
        + ((8 * d + 128) * 8 * d + 16 * 8 * d)
    )
    assert all(
        one.bias is None for part in (generator, discriminator) for one in part.modules()
        if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)
    )  # fmt: skip


def test_the_char_cnn_rnn_is_a_choice_of_encoder(tokenizer: Tokenizer) -> None:
    """By a recipe's changes to the preset that has it; and its pictures follow the text."""
    changes = {
        "image_size": 16, "width": 4, "critic_width": 4, "joint": {"text": {"channels": [32, 32, 32], "width": 16}}
    }  # fmt: skip
    config = amend(GANIntCls.presets["paper"], changes, "here")
    assert config.joint == JointConfig(text=CharConfig(channels=(32, 32, 32), width=16))
    torch.manual_seed(0)
    gan = families.build("gan_int_cls", config, tokenizer).eval()
    prompts = ("a small brown bird with a pointed beak", "two crows on a roof in the rain, looking down")
    one, two = draw(gan, [Request(prompt=prompt, seed=1, knobs=gan.Knobs()) for prompt in prompts])
    assert not one.equal(two)


def test_a_batch_of_one_is_refused_in_training(gan: GANIntCls) -> None:
    single = Batch(torch.zeros(1, 3, 32, 32), ["a"])
    for step in gan.steps()[1:]:
        with pytest.raises(InputError, match="batch = 1 leaves nothing to normalise"):
            step.loss(single, torch.Generator())


def test_drawing_changes_no_gathered_statistics(gan: GANIntCls) -> None:
    gan.eval()
    before = {name: one.clone() for name, one in gan.named_buffers()}
    draw(gan, [Request(prompt="a star", seed=seed, knobs=gan.Knobs()) for seed in range(3)])
    assert all(one.equal(before[name]) for name, one in gan.named_buffers())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 100}, "image_size = 100 is not 4 doubled"),
        ({"image_size": 8}, "image_size = 8 must be 16 or more"),
        ({"told": 0}, "told = 0, width = 64 and critic_width = 32 must each be 1 or more"),
        ({"wrong": 1.5}, "wrong = 1.5 is not a share from 0 to 1"),
        ({"mixed": -1.0}, "mixed = -1.0 must not be negative"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**values)  # type: ignore[arg-type]
