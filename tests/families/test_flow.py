"""What is flow's alone; what every family owes stands in test_contract.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.core import Batch, InputError, Request, Sketch
from limner.families.flow import Config, Flow, Knobs
from limner.process.thinning import Kept
from limner.text.bpe import BPE

CAPTIONS = ["a red circle", "two dogs on a beach", "a blue sky", ""]


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Calibrated, with every weight moved from where it starts."""
    torch.manual_seed(0)
    made = Flow(Flow.presets["tiny"], BPE.train(CAPTIONS * 20, 300))
    made.calibrate(Batch(torch.rand(64, 3, 32, 32) * 2 - 1, [""] * 64))
    for parameter in made.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return made.eval()


def drawn(flow: Flow, *requests: Request) -> list[Sketch]:
    sketches = flow.begin(requests)
    while waiting := [one for one in sketches if not one.done]:
        flow.advance(waiting)
    return sketches


def request(prompt: str = "a red circle", **knobs: float | str) -> Request:
    return Request(prompt=prompt, seed=1, knobs=replace(Knobs(steps=4), **knobs))  # type: ignore[arg-type]


def test_an_untrained_network_is_the_best_linear_denoiser() -> None:
    """The conditional mean of Gaussian data with the picture's covariance, whatever the text."""
    flow = Flow(Flow.presets["tiny"], BPE.train(CAPTIONS, 300))
    images = torch.rand(128, 3, 32, 32) * 2 - 1
    flow.calibrate(Batch(images, [""] * 128))
    x, t = torch.randn(2, 48, 4, 4), torch.tensor([0.3, 0.9])
    variance = flow.codec.spread.square()[:, None, None]
    a, s = 1 - t[:, None, None, None], t[:, None, None, None]
    expected = a * variance / (a * a * variance + s * s) * x
    torch.testing.assert_close(flow.predict(x, t, flow.remember(["a red circle", ""])), expected, atol=1e-5, rtol=1e-5)


def test_a_text_is_read_the_same_beside_a_longer_one(flow: Flow) -> None:
    short, long = flow.remember([CAPTIONS[0]]), flow.remember([CAPTIONS[0], "two dogs on a beach " * 5])
    x, t = torch.randn(1, 48, 4, 4), torch.tensor([0.7])
    alone, beside = flow.predict(x, t, short.row(0)), flow.predict(x, t, long.row(0))
    torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)
    both = flow.denoiser(x.expand(2, -1, -1, -1), t.expand(2), type(long).stack([long.row(0), long.row(1)]))
    wrapped = flow.denoiser(x, t, long.row(0))
    torch.testing.assert_close(both[:1], wrapped, atol=1e-4, rtol=1e-4)


def test_guidance_outside_its_interval_costs_one_evaluation(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = flow.denoiser.forward
    monkeypatch.setattr(flow.denoiser, "forward", lambda x, t, *rest: rows.append(len(x)) or forward(x, t, *rest))
    drawn(flow, request(guidance=3.0, guidance_from=0.5, guidance_until=0.9, shift=1.0))
    assert rows == [1, 2, 2, 1]


def test_the_text_counts_and_so_does_the_negative_prompt(flow: Flow) -> None:
    first, second = drawn(flow, request(), request("two dogs on a beach"))
    negative = drawn(flow, replace(request(), negative_prompt="two dogs on a beach"))[0]
    assert (first.image - second.image).abs().max() > 0.01
    assert (first.image - negative.image).abs().max() > 0.01


def test_pictures_of_one_prompt_vary_less_at_a_lower_temperature(flow: Flow) -> None:
    def spread(temperature: float) -> float:
        asked = [replace(request(temperature=temperature, guidance=1.0), seed=seed) for seed in range(16)]
        return float(torch.stack([one.image for one in drawn(flow, *asked)]).std(dim=0).mean())

    assert spread(0.0) < 1e-6 < spread(0.5) < spread(1.0)


def test_an_image_is_kept_the_more_the_less_strength(flow: Flow) -> None:
    image = torch.rand(3, 32, 32) * 2 - 1
    weak, strong = (drawn(flow, replace(request(strength=strength), image=image))[0].image for strength in (0.25, 1.0))
    assert (weak - image).abs().mean() < (strong - image).abs().mean()


def test_outside_the_mask_not_a_pixel_changes(flow: Flow) -> None:
    image, mask = torch.rand(3, 32, 32) * 2 - 1, torch.zeros(1, 32, 32)
    mask[:, 8:16, 8:16] = 1.0
    painted = drawn(flow, replace(request(strength=1.0), image=image, mask=mask))[0].image
    assert painted[:, mask[0] == 0].equal(image[:, mask[0] == 0])
    assert not painted[:, mask[0] == 1].equal(image[:, mask[0] == 1])


def test_what_cannot_be_drawn_is_refused(flow: Flow) -> None:
    with pytest.raises(InputError, match="the image is 16 x 16; this model draws 32 x 32"):
        flow.begin([replace(request(), image=torch.zeros(3, 16, 16))])
    with pytest.raises(InputError, match="a mask needs the image"):
        flow.begin([replace(request(), mask=torch.zeros(1, 32, 32))])
    with pytest.raises(InputError, match="steps = -3"):
        Knobs(steps=-3)
    with pytest.raises(InputError, match="image_size = 100 does not divide"):
        Config(image_size=100)


def test_kept_tokens_stand_for_all_in_the_loss() -> None:
    """A network that says nothing yet has the same loss in expectation, whatever share of the tokens it computes."""
    thin = Flow(replace(Flow.presets["tiny"], kept=0.25), BPE.train(CAPTIONS, 300))
    batch = Batch(torch.rand(64, 3, 32, 32) * 2 - 1, [""] * 64)
    thin.calibrate(batch)
    full = Flow(Flow.presets["tiny"], thin.tokenizer)
    full.load_state_dict(thin.state_dict())

    def loss(flow: Flow) -> float:
        generator = torch.Generator().manual_seed(0)
        return sum(flow.loss(batch, generator)["loss"].item() for _ in range(40)) / 40

    assert loss(thin) == pytest.approx(loss(full), rel=0.02)


def test_each_kept_token_is_denoised_as_in_the_whole_picture(flow: Flow) -> None:
    """With every place kept, in whatever order, the answer is the whole picture's."""
    x, t, memory = torch.randn(2, 48, 4, 4), torch.tensor([0.3, 0.9]), flow.remember(["a red circle", ""])
    places = torch.stack([torch.randperm(16), torch.randperm(16)])
    kept = Kept(places, torch.ones(2, 16))
    torch.testing.assert_close(
        flow.predict(kept.of(x), t, memory, kept), kept.of(flow.predict(x, t, memory)), atol=1e-4, rtol=1e-4
    )
