"""alignDRAW's parts against closed forms: attention, the bound, the prior, and what a drawing keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from limner.core import Batch, InputError, Request, TextFeatures, Tokenizer
from limner.drawing import draw
from limner.families.aligndraw import Align, AlignDRAW, AlignDRAWSketch, Config, Knobs
from limner.text.lstm import LSTMConfig

SMALL = Config(
    image_size=16, channels=1, glimpses=3, encoder=24, decoder=20, latent=5, window=4, align=12,
    text=LSTMConfig(embedding=8, hidden=6, length=16),
)  # fmt: skip


def made(tokenizer: Tokenizer, config: Config = SMALL) -> AlignDRAW:
    torch.manual_seed(0)
    return AlignDRAW(config, tokenizer).eval()


def asked(prompt: str = "a red square", *, seed: int = 0, temperature: float = 1.0) -> Request:
    return Request(prompt=prompt, seed=seed, knobs=Knobs(temperature=temperature))


def grey(*levels: float) -> Batch:
    """A flat picture of each level in [0, 1]."""
    images = torch.stack([torch.full((3, 16, 16), 2 * level - 1) for level in levels])
    return Batch(images, ["a red square"] * len(levels))


# ---------------------------------------------------------------------------------------------------
# The align operator.


def test_attention_is_the_paper_s_formula_and_never_on_padding() -> None:
    torch.manual_seed(0)
    align = Align(SMALL)
    tokens, h = torch.randn(2, 5, 12), torch.randn(2, 20)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    sentence, shares = align(align.read(TextFeatures(tokens, mask)), h)
    for row, length in ((0, 5), (1, 3)):
        scores = torch.stack(
            [
                align.score.weight[0]
                @ torch.tanh(align.word.weight @ word + align.word.bias + align.state.weight @ h[row])
                for word in tokens[row, :length]
            ]
        )
        wanted = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(shares[row, :length], wanted)
        assert shares[row, length:].eq(0).all()
        torch.testing.assert_close(sentence[row], (wanted[:, None] * tokens[row, :length]).sum(dim=0))


def test_a_sketch_keeps_what_each_word_had_of_each_glimpse(tokenizer: Tokenizer) -> None:
    family = made(tokenizer)
    sketches = family.begin([asked("a red square"), asked("a red square on a white ground")])
    for _ in range(3):
        family.advance(sketches)
    for sketch, prompt in zip(sketches, ("a red square", "a red square on a white ground"), strict=True):
        assert isinstance(sketch, AlignDRAWSketch)
        _, mask = tokenizer.encode([prompt], 16)
        attention = torch.stack(sketch.attention)
        assert attention.shape == (3, mask.sum())
        torch.testing.assert_close(attention.sum(dim=1), torch.ones(3))


# ---------------------------------------------------------------------------------------------------
# The bound.


def test_a_network_that_says_and_writes_nothing_pays_the_pixels_entropy(tokenizer: Tokenizer) -> None:
    """Posterior and prior are both standard normal and the canvas is the mean: H(p) nats a pixel, and no more."""
    family = made(tokenizer)
    with torch.no_grad():
        for layer in (family.encoder.posterior, family.decoder.prior, family.decoder.cells):
            layer.weight.zero_()
            layer.bias.zero_()
    batch = grey(*[0.25] * 2000)
    family.calibrate(batch)
    found = family.loss(Batch(batch.images[:4], batch.captions[:4]), torch.Generator().manual_seed(0))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert found["kl"].item() == 0.0
    assert found["loss"].item() == pytest.approx(16 * 16 * entropy, rel=1e-3)


def test_a_latent_that_says_one_thing_costs_its_divergence_at_every_glimpse(tokenizer: Tokenizer) -> None:
    """The first prior is standard normal; the following ones are tanh of the biases, in sigma not in variance."""
    family = made(tokenizer)
    with torch.no_grad():
        for layer in (family.encoder.posterior, family.decoder.prior):
            layer.weight.zero_()
        family.encoder.posterior.bias.copy_(torch.cat([torch.full((5,), 0.5), torch.full((5,), 2 * math.log(0.8))]))
        family.decoder.prior.bias.copy_(torch.cat([torch.full((5,), 0.3), torch.full((5,), -0.4)]))
    q, priors = torch.distributions.Normal(0.5, 0.8), [(0.0, 1.0)] + [(math.tanh(0.3), math.exp(math.tanh(-0.4)))] * 2
    wanted = 5 * sum(
        torch.distributions.kl_divergence(q, torch.distributions.Normal(mean, sigma)).item() for mean, sigma in priors
    )
    found = family.loss(grey(0.2, 0.7), torch.Generator().manual_seed(0))
    assert found["kl"].item() == pytest.approx(wanted, rel=1e-5)
    assert found["loss"].item() == pytest.approx((found["kl"] + found["reconstruction"]).item())


def test_the_bound_falls_when_it_is_trained(tokenizer: Tokenizer) -> None:
    """Two captions with two flat pictures each: in the end it knows more than the mean of the four."""
    family = made(tokenizer).train()
    batch = Batch(grey(0.1, 0.2, 0.8, 0.9).images, ["a red square", "a red square", "a star", "a star"])
    family.calibrate(batch)
    optimiser = torch.optim.AdamW(family.parameters(), lr=3e-3, betas=(0.0, 0.9), weight_decay=0.0)
    losses = []
    for _ in range(60):
        loss = family.loss(batch, torch.Generator().manual_seed(len(losses)))["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(family.parameters(), 40.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    mean_known = 256 * math.log(2.0)  # nats of the mean picture, a half everywhere
    assert losses[0] == pytest.approx(mean_known, rel=0.1)
    assert sum(losses[-10:]) / 10 < 0.8 * mean_known


# ---------------------------------------------------------------------------------------------------
# Drawing.


def test_it_begins_as_the_mean_picture_in_grey_and_in_colour(tokenizer: Tokenizer) -> None:
    images = 1.6 * torch.rand(1024, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.8
    for channels in (1, 3):
        family = made(tokenizer, replace(SMALL, channels=channels))
        family.calibrate(Batch(images, [""] * 1024))
        torch.nn.init.zeros_(family.decoder.cells.weight)
        torch.nn.init.zeros_(family.decoder.cells.bias)
        [picture] = draw(family, [asked()])
        mean = images.mean(dim=0) if channels == 3 else images.mean(dim=(0, 1)).expand(3, -1, -1)
        torch.testing.assert_close(picture, mean, atol=2e-3, rtol=0.0)


def test_black_pictures_calibrate_to_a_finite_canvas(tokenizer: Tokenizer) -> None:
    family = made(tokenizer)
    family.calibrate(grey(0.0, 0.0, 0.0))
    assert family.decoder.canvas.isfinite().all()
    assert family.decoder.canvas.max() < 0


def test_the_first_latent_is_standard_normal_and_the_next_are_the_prior_s(tokenizer: Tokenizer) -> None:
    """A prior of mean tanh(1) and sigma 1 that the first glimpse has no part in; beside others at other steps."""
    family = made(tokenizer)
    torch.nn.init.zeros_(family.decoder.prior.weight)
    with torch.no_grad():
        family.decoder.prior.bias.copy_(torch.cat([torch.ones(5), torch.zeros(5)]))
    seen: list[Tensor] = []
    family.decoder.lstm.register_forward_hook(lambda module, given, out: seen.append(given[0][:, :5]))
    [early] = family.begin([asked(seed=4)])
    family.advance([early])
    [late] = family.begin([asked(seed=4)])
    family.advance([early, late])
    noise = torch.Generator().manual_seed(4)
    first, second = (torch.randn(5, generator=noise) for _ in range(2))
    torch.testing.assert_close(seen[0][0], first)
    torch.testing.assert_close(seen[1], torch.stack([math.tanh(1.0) + second, first]))


def test_at_no_temperature_every_seed_draws_the_same(tokenizer: Tokenizer) -> None:
    family = made(tokenizer)
    cold = draw(family, [asked(seed=seed, temperature=0.0) for seed in (1, 2)])
    warm = draw(family, [asked(seed=seed) for seed in (1, 2)])
    assert cold[0].equal(cold[1])
    assert not warm[0].equal(warm[1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"glimpses": 0}, "glimpses = 0 must be above 0"),
        ({"window": 1}, "window = 1 is not from 2 to the 32 pixels"),
        ({"window": 33}, "window = 33 is not"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**values)


def test_a_temperature_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match=r"temperature = -0.1 is not from 0 to 10"):
        Knobs(temperature=-0.1)


def test_what_it_has_no_use_for_is_refused_by_name(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="alignDRAW draws from the prompt alone and has no use for an image: leave it"):
        made(tokenizer).begin([Request(prompt="a star", seed=0, knobs=Knobs(), image=torch.zeros(3, 16, 16))])
