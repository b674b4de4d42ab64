"""Prompts to pictures: order, seeds, knobs, callbacks, and what diffusers' users expect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner import families, pipeline, shelf
from limner.core import InputError, Request
from limner.drawing import draw, drawing, to_pil
from limner.pipeline import Pipeline
from limner.shelf import find_model
from tests.painter import Knobs, Painter, painter
from tests.toys.mural import Mural, mural

__all__ = ["mural", "painter"]


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


def test_an_image_and_a_mask_are_cut_to_the_size_of_a_model_that_has_but_one(pipe):
    image = Image.new("RGB", (60, 20), "red")
    image.paste((0, 0, 255), (10, 0, 50, 20))  # the middle, 20 to 40, and what the filter reaches
    mask = Image.new("L", (60, 20), 0)
    mask.paste(255, (20, 0, 30, 20))
    [found] = pipe.requests("a", seeds=1, canvas=pipe.canvas(image=image, mask_image=mask))
    assert torch.equal(found.image, torch.tensor([-1.0, -1.0, 1.0])[:, None, None].expand(3, 8, 8))
    assert torch.equal(found.mask, torch.tensor([1.0] * 4 + [0.0] * 4).expand(1, 8, 8))
    out = pipe("a", seed=1, image=image, mask_image=mask)
    assert out.settings[0].source
    assert out.settings[0].source != pipe("a", seed=1, image=image).settings[0].source
    assert not pipe("a", seed=1).settings[0].source


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
        ({"strength": 0.5}, "strength is how much of an image"),
        ({"strength": 0.5, "image": Image.new("L", (8, 8))}, 'unknown key "strength"'),
        ({"height": 8}, "height and width"),
        ({"height": 8, "width": 16}, "16 x 8 is not a size of this model's, which draws 8 x 8 alone"),
        ({"upscale": 2}, "painter cannot draw anew"),
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


def test_what_is_no_picture_is_said_and_not_handed_over(pipe, painter, monkeypatch):
    painter.scale.fill_(torch.nan)
    with pytest.raises(InputError, match="painter drew what is no picture: it may be broken"):
        pipe("a red square")
    monkeypatch.setattr(Pipeline, "precision", "bf16")
    with pytest.raises(InputError, match="bf16 does not hold its numbers, draw with precision fp32"):
        pipe("a red square")


def test_drawn_again_it_is_the_same(pipe, painter):
    out = pipe(["a", "b"], num_images_per_prompt=2, knobs={"brush": "flat"}, seed=3, negative_prompt=["c", "d"])
    painter.together.clear()
    for image, about in zip(out.images, out.settings, strict=True):
        assert pipe.redraw(about).image.tobytes() == image.tobytes()
    assert set(painter.together) == {4}  # as many as the first time: that decides the last bits
    assert pipe.redraw(replace(out.settings[0], batch=10**9)).image.tobytes() == out.images[0].tobytes()
    assert max(painter.together) == pipeline.MOST_TOGETHER


# ---------------------------------------------------------------------------------------------------
# At any size; over images.


@pytest.fixture
def wall(mural: Mural) -> Pipeline:
    return Pipeline(mural, name="wall", hash="def")


def coloured(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def differing(one: Image.Image, other: Image.Image) -> np.ndarray:
    """(H, W), True where the pixels are not the same."""
    assert one.size == other.size
    return (np.asarray(one) != np.asarray(other)).any(axis=2)


def test_a_size_is_drawn_and_told(wall):
    out = wall(["a", "b"], width=24, height=12, seed=3)
    assert [one.size for one in out.images] == [(24, 12)] * 2
    assert (out.settings[0].width, out.settings[0].height) == (24, 12)
    assert wall("a", seed=3).images[0].size == (16, 16)


def test_sizes_are_drawn_together_as_alone(wall):
    wide, plain = wall.canvas(width=24, height=12), wall.canvas()
    requests = [wall.requests("a", seeds=3, canvas=one)[0] for one in (wide, plain, wide)]
    together = [picture.image.tobytes() for picture in wall.stream(requests)]
    assert together == [next(wall.stream([one])).image.tobytes() for one in requests]


def test_an_image_is_redrawn_at_its_own_size_by_as_much_as_asked(wall):
    image = coloured(19, 9)
    little, much = (wall("a", image=image, seed=1, strength=strength).images[0] for strength in (0.25, 1.0))
    usual = wall("a", image=image, seed=1)
    assert little.size == much.size == (19, 9)
    assert little.tobytes() != much.tobytes()
    assert usual.settings[0].knobs["strength"] == 0.5  # the family's own
    assert usual.settings[0].source
    assert wall("a", image=image, seed=1, width=8, height=8).images[0].size == (8, 8)


def test_a_painted_part_is_new_and_the_rest_stays_within_the_codecs_error(wall):
    image, mask = coloured(24, 16), Image.new("L", (24, 16))
    mask.paste(255, (12, 0, 24, 16))
    out = wall("a", image=image, mask_image=mask, seed=1)
    tiles = image.resize((6, 4), Image.Resampling.BOX).resize((24, 16), Image.Resampling.NEAREST)
    far = np.abs(np.asarray(out.images[0]).astype(int) - np.asarray(tiles)).max(axis=2)
    assert far[:, :12].max() <= 1
    assert far[:, 12:].max() > 20
    assert out.settings[0].knobs["strength"] == 1.0
    assert out.settings[0].feather is None


def test_what_is_not_painted_comes_back_exactly_where_asked(wall):
    image, mask = coloured(22, 16), Image.new("L", (22, 16))  # 22 is drawn upon 24
    mask.paste(255, (6, 0, 22, 16))
    loose = wall("a", image=image, mask_image=mask, seed=1).images[0]
    out = wall("a", image=image, mask_image=mask, seed=1, exact=True, feather=4)
    changed = differing(out.images[0], image)
    assert not changed[:, :6].any()
    assert changed[:, 8:].any(axis=0).all()
    assert not differing(out.images[0], loose)[:, 6 + 3 :].any()
    blend = (np.asarray(image)[:, 6:9].astype(float), np.asarray(loose)[:, 6:9].astype(float))
    share = np.array([0.25, 0.5, 0.75])[:, None]
    assert np.abs(np.asarray(out.images[0])[:, 6:9] - (blend[0] + share * (blend[1] - blend[0]))).max() <= 1.01
    assert out.settings[0].feather == 4
    assert wall("a", image=image, mask_image=mask, exact=True).settings[0].feather == 8
    assert wall("a", image=image, mask_image=mask, feather=4, seed=1).images[0].tobytes() == out.images[0].tobytes()


def test_transparent_parts_are_painted(wall):
    image = coloured(16, 16).convert("RGBA")
    image.paste((0, 0, 0, 0), (8, 0, 16, 16))
    out = wall("a", image=image, seed=1, exact=True)
    changed = differing(out.images[0], image.convert("RGB"))
    assert not changed[:, :8].any()
    assert changed[:, 8:].mean() > 0.9
    assert out.settings[0].knobs["strength"] == 1.0


def test_an_image_is_extended_and_keeps_its_pixels(wall):
    image = coloured(40, 21)
    out = wall("a", image=image, extend={"left": 5, "bottom": 7}, seed=1, feather=3)
    assert out.images[0].size == (45, 28)
    inside = out.images[0].crop((5, 0, 45, 21))
    changed = differing(inside, image)
    assert not changed[:-3, 3:].any()
    assert changed.any()
    assert out.settings[0].knobs["strength"] == 1.0
    assert str(out.settings[0].extend) == "left=5 bottom=7"


def test_a_model_of_one_size_extends_what_then_has_that_size(painter):
    pipe = Pipeline(painter)
    image = coloured(5, 8)
    out = pipe("a", image=image, extend={"right": 3}, seed=1, feather=0)
    assert not differing(out.images[0].crop((0, 0, 5, 8)), image).any()
    with pytest.raises(InputError, match="7 x 8 is not a size of this model's"):
        pipe("a", image=image, extend={"right": 2})


def test_a_picture_is_enlarged_and_drawn_once_more(wall):
    seen = []
    out = wall(
        "a", seed=1, upscale=1.5, strength=0.25, num_images_per_prompt=3,
        callback_on_step_end=lambda pipe, step, left, more: seen.append((len(more["sketches"]), step, left)),
    )  # fmt: skip
    assert seen == [(3, 0, 3), (3, 1, 2), (3, 2, 1), (3, 3, 0)] + [(1, 3, 0)] * 3  # 1.5 squared as much memory each
    first, second = wall("a", seed=2).images[0], out.images[1]
    assert second.size == (24, 24)
    assert (out.settings[1].upscale, out.settings[1].width, out.settings[1].source) == (1.5, 24, "")
    larger = first.resize((24, 24), Image.Resampling.LANCZOS)
    by_hand = wall("a", seed=2, image=larger, strength=0.25)
    assert by_hand.images[0].tobytes() == second.tobytes()
    assert by_hand.settings[0].source
    assert wall("a", seed=2, image=first, upscale=1.5, strength=0.25).images[0].tobytes() == second.tobytes()
    assert wall("a", upscale=1.5).settings[0].knobs["strength"] == 0.5


def test_pictures_over_others_and_enlarged_ones_are_drawn_again(wall):
    image, mask = coloured(21, 16), Image.new("L", (21, 16), 255)
    mask.paste(0, (0, 0, 9, 9))
    asked = [
        ({"width": 12, "height": 20}, {}),
        ({"upscale": 1.7, "num_images_per_prompt": 3}, {}),
        ({"image": image}, {"image": image}),
        ({"image": image, "width": 9, "height": 7}, {"image": image}),
        ({"image": image, "upscale": 1.3}, {"image": image}),
        ({"image": image, "mask_image": mask, "feather": 2}, {"image": image, "mask_image": mask}),
        ({"image": image, "extend": {"top": 3, "left": 5}, "width": 8, "height": 8}, {"image": image}),
    ]
    for wanted, with_ in asked:
        out = wall("a", seed=1, **wanted)
        assert wall.redraw(out.settings[-1], **with_).image.tobytes() == out.images[-1].tobytes(), wanted
    about = wall("a", seed=1, image=image, mask_image=mask).settings[0]
    with pytest.raises(InputError, match="give that image too"):
        wall.redraw(about)
    for other in ({"image": coloured(21, 16, seed=1), "mask_image": mask}, {"image": image}):
        with pytest.raises(InputError, match="painted over another picture or mask"):
            wall.redraw(about, **other)


def test_previews_of_what_is_enlarged_have_the_size_so_far(wall):
    kept = []
    requests = wall.requests("a", seeds=3, knobs={"steps": 2}, canvas=wall.canvas(upscale=2.0))
    list(wall.stream(requests, on_step=lambda sketches: kept.extend(wall.previews(sketches))))
    assert [(one.image.size, one.settings.step, one.settings.upscale) for one in kept] == [
        ((16, 16), 1, 1.0), ((16, 16), 2, 1.0), ((32, 32), 2, 2.0),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------
# Models by name.


def test_models_are_found_by_name_by_folder_and_by_run(painter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path / "shipped")
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
