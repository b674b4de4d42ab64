"""Prompts to pictures: order, seeds, knobs, callbacks, and what diffusers' users expect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painter import Knobs, Painter, painter

import limner
from limner import families, pipeline
from limner.core import InputError, Request
from limner.pipeline import Pipeline, draw, drawing, find_model, to_pil

__all__ = ["painter"]


def request(seed: int, *, steps: int = 3, prompt: str = "a red square") -> Request:
    return Request(prompt=prompt, seed=seed, knobs=Knobs(steps=steps))


@pytest.fixture
def pipe(painter: Painter) -> Pipeline:
    return Pipeline(painter, name="painter", hash="abc")


# ---------------------------------------------------------------------------------------------------
# Requests to tensors.


def test_pictures_come_in_order_whatever_the_batches(painter):
    requests = [request(seed, steps=steps) for seed, steps in enumerate([3, 1, 5, 2, 4])]
    alone = [draw(painter, [one])[0] for one in requests]
    for batch in (1, 2, 3, 16):
        painter.together.clear()
        for one, other in zip(draw(painter, requests, batch=batch), alone, strict=True):
            assert torch.equal(one, other)
        assert max(painter.together) == min(batch, 5)
    assert painter.together == [5, 4, 3, 2, 1]  # only the undone are advanced


def test_each_step_of_each_batch_is_shown(painter):
    seen = []
    requests = [request(seed, steps=2) for seed in range(3)]
    draw(painter, requests, batch=2, on_step=lambda sketches: seen.append([one.step for one in sketches]))
    assert seen == [[1, 1], [2, 2], [1], [2]]


def test_a_batch_is_handed_over_before_the_next_is_begun(painter):
    batches = drawing(painter, [request(seed) for seed in range(4)], batch=2)
    assert [one.request.seed for one in next(batches)] == [0, 1]
    assert len(painter.together) == 3


def test_sketches_without_steps_are_done_from_the_start(painter):
    assert torch.equal(draw(painter, [request(1, steps=0)])[0], torch.zeros(3, 8, 8))


def test_pixels_are_rounded_to_the_nearest():
    values = torch.linspace(-1.2, 1.2, 3 * 8 * 8).reshape(3, 8, 8)
    pixels = np.asarray(to_pil(values)).transpose(2, 0, 1)
    expected = np.rint((np.clip(values.numpy(), -1, 1) + 1) / 2 * 255)
    assert np.abs(pixels - expected).max() <= 1
    assert np.array_equal(np.asarray(to_pil(torch.from_numpy(pixels / 127.5 - 1))).transpose(2, 0, 1), pixels)


# ---------------------------------------------------------------------------------------------------
# As diffusers' users expect.


def test_images_seeds_and_settings_belong_together(pipe, painter):
    out = pipe(
        ["a", "b"], negative_prompt="c", num_images_per_prompt=2, num_inference_steps=2, guidance_scale=4, seed=7
    )
    assert out.seeds == [7, 8, 9, 10]
    assert [one.prompt for one in out.settings] == ["a", "a", "b", "b"]
    for image, about in zip(out.images, out.settings, strict=True):
        knobs = Knobs(steps=2, guidance=4.0)
        own = Request(prompt=about.prompt, seed=about.seed, knobs=knobs, negative_prompt="c")
        assert image.tobytes() == to_pil(draw(painter, [own])[0]).tobytes()
        assert about.knobs == {"steps": 2, "guidance": 4.0, "brush": "round"}
        assert (about.model, about.model_hash, about.family, about.batch) == ("painter", "abc", "painter", 4)
        assert (about.width, about.height, about.limner) == (8, 8, limner.__version__)


def test_a_generator_stands_for_its_initial_seed(pipe):
    expected = pipe("a", seed=5, num_images_per_prompt=2).images
    generator = torch.Generator("cpu").manual_seed(5)
    for _ in range(2):  # it is not advanced
        out = pipe("a", generator=generator, num_images_per_prompt=2)
        assert out.seeds == [5, 6]
        assert [one.tobytes() for one in out.images] == [one.tobytes() for one in expected]
    several = [torch.Generator("cpu").manual_seed(seed) for seed in (6, 5)]
    assert pipe(["a", "a"], generator=several).images[1].tobytes() == expected[0].tobytes()


def test_without_a_seed_pictures_differ_and_say_which_they_have(pipe):
    one, other = pipe("a"), pipe("a")
    assert one.seeds != other.seeds
    assert pipe("a", seed=one.seeds[0]).images[0].tobytes() == one.images[0].tobytes()


def test_output_types(pipe):
    pil = np.stack([np.asarray(image) for image in pipe("a", seed=1, num_images_per_prompt=2).images])
    arrays = pipe("a", seed=1, num_images_per_prompt=2, output_type="np").images
    tensors = pipe("a", seed=1, num_images_per_prompt=2, output_type="pt").images
    assert arrays.shape == (2, 8, 8, 3)
    assert tensors.shape == (2, 3, 8, 8)
    assert np.array_equal(np.rint(arrays * 255), pil)
    assert np.array_equal(tensors.permute(0, 2, 3, 1).numpy(), arrays)


def test_the_callback_sees_each_step_and_may_stop(pipe):
    seen = []

    def watch(who: Pipeline, step: int, left: int, more: dict) -> None:
        assert who is pipe
        previews = [to_pil(sketch.preview()) for sketch in more["sketches"]]
        seen.append((step, left, len(previews)))
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe("a", num_images_per_prompt=3, num_inference_steps=3, batch=2, callback_on_step_end=watch)
    assert seen == [(0, 2, 2), (1, 1, 2), (2, 0, 2), (0, 2, 1)]


def test_previews_say_that_they_are_not_the_picture(pipe):
    kept = []
    requests = pipe.requests("a", seeds=3, knobs={"steps": 2})
    list(pipe.stream(requests, on_step=lambda sketches: kept.extend(pipe.previews(sketches))))
    assert [one.settings.step for one in kept] == [1, 2]
    with pytest.raises(InputError, match="preview after step 1"):
        pipe.redraw(kept[0].settings)


def test_an_image_and_a_mask_are_cut_to_the_models_size(pipe):
    image = Image.new("RGB", (60, 20), "red")
    image.paste((0, 0, 255), (10, 0, 50, 20))  # the middle, 20 to 40, and what the filter reaches
    mask = Image.new("L", (20, 20), 0)
    mask.paste(255, (0, 0, 10, 20))
    [found] = pipe.requests("a", seeds=1, image=image, mask_image=mask)
    assert torch.equal(found.image, torch.tensor([-1.0, -1.0, 1.0])[:, None, None].expand(3, 8, 8))
    assert torch.equal(found.mask, torch.tensor([1.0] * 4 + [0.0] * 4).expand(1, 8, 8))
    out = pipe("a", seed=1, image=image, mask_image=mask)
    assert out.settings[0].source
    assert out.settings[0].source != pipe("a", seed=1, image=image).settings[0].source
    assert not pipe("a", seed=1).settings[0].source
    with pytest.raises(InputError, match="another picture"):
        pipe.redraw(out.settings[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_inference_steps": -3}, "steps = -3 is not from 0 to 100"),
        ({"guidance_scale": "high"}, "guidance = 'high' is a str"),
        ({"knobs": {"stesp": 3}}, 'unknown key "stesp" (did you mean "steps"?)'),
        ({"knobs": {"brush": "rund"}}, "(did you mean \"round\"?)"),
        ({"num_images_per_prompt": 0}, "0 pictures"),
        ({"prompt": []}, "0 prompts"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**63}, "seed = "),
        ({"seed": 1, "generator": torch.Generator()}, "not both"),
        ({"generator": [torch.Generator()] * 3}, "3 generators for 1 pictures"),
        ({"negative_prompt": ["a", "b"]}, "2 negative prompts for 1 prompts"),
        ({"output_type": "latent"}, 'output_type = "latent"'),
        ({"mask_image": Image.new("L", (8, 8))}, "give the image too"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(pipe, wrong, words):
    with pytest.raises(InputError) as caught:
        pipe(**{"prompt": "a", **wrong})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_family_without_a_knob_says_so(pipe, monkeypatch):
    from limner.families.regressor import Regressor

    monkeypatch.setattr(pipe.family, "Knobs", Regressor.Knobs, raising=False)
    with pytest.raises(InputError, match='unknown key "guidance"'):
        pipe("a", guidance_scale=3.0)


def test_drawn_again_it_is_the_same(pipe, painter):
    out = pipe(["a", "b"], num_images_per_prompt=2, knobs={"brush": "flat"}, seed=3, negative_prompt=["c", "d"])
    painter.together.clear()
    for image, about in zip(out.images, out.settings, strict=True):
        assert pipe.redraw(about).image.tobytes() == image.tobytes()
    assert set(painter.together) == {4}  # as many as the first time: that decides the last bits
    assert pipe.redraw(replace(out.settings[0], batch=10**9)).image.tobytes() == out.images[0].tobytes()
    assert max(painter.together) == pipeline.MOST_TOGETHER


# ---------------------------------------------------------------------------------------------------
# Models by name.


def test_models_are_found_by_name_by_folder_and_by_run(painter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "SHIPPED", tmp_path / "shipped")
    for place in ("shipped/birds", "runs/mine/model", "runs/broken/checkpoints"):
        families.save(Path(place), painter) if "checkpoints" not in place else Path(place).mkdir(parents=True)
    assert find_model("birds") == tmp_path / "shipped/birds"
    assert find_model("runs/mine") == Path("runs/mine/model")
    assert find_model(Path("runs/mine/model")) == Path("runs/mine/model")
    assert Pipeline.models() == [tmp_path / "shipped/birds", Path("runs/mine/model")]
    with pytest.raises(InputError, match=r'no model "brids" \(did you mean "birds"\?\)'):
        find_model("brids")
    assert Pipeline.from_pretrained("birds").name == "birds"
    mine = Pipeline.from_pretrained("runs/mine")
    assert mine.name == "mine"
    assert mine.hash == Pipeline.from_pretrained("birds").hash
    assert len(mine.hash) == 64
    assert mine("a", seed=1).images[0].tobytes() == Pipeline(painter)("a", seed=1).images[0].tobytes()


def test_the_package_offers_the_pipeline():
    assert limner.Pipeline is Pipeline
    assert limner.InputError is InputError
