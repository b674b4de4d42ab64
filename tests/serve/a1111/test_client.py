"""A public client of A1111's API draws, redraws, repaints, reads progress and interrupts."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import numpy as np
import pytest
import webuiapi
from PIL import Image

from tests.serve.conftest import Keyed
from tests.serving import Serving

OWN = {"width": 32, "height": 32, "steps": 4, "cfg_scale": 3}


@pytest.fixture(scope="module")
def api(service: Serving) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=service.port, sampler="DPM++ 2M", steps=4)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.int16)


def test_pictures_of_a_prompt(api: webuiapi.WebUIApi) -> None:
    found = api.txt2img(prompt="a red square", negative_prompt="a circle", seed=5, batch_size=2, n_iter=2, **OWN)
    assert [one.size for one in found.images] == [(32, 32)] * 4
    assert found.info["all_seeds"] == [5, 6, 7, 8]
    assert found.info["sampler_name"] == "dpm++2m"
    assert found.info["infotexts"][1].splitlines()[:2] == ["a red square", "Negative prompt: a circle"]
    assert found.images[1].info["parameters"] == found.info["infotexts"][1]
    assert found.parameters["prompt"] == "a red square"
    assert api.png_info(found.images[0]).info == found.info["infotexts"][0]
    again = api.txt2img(prompt="a red square", negative_prompt="a circle", seed=7, **OWN)
    assert (pixels(again.image) == pixels(found.images[2])).all()


def test_what_is_left_out_is_the_models_own(service: Serving) -> None:
    answer = httpx.post(f"{service.url}/sdapi/v1/txt2img", json={"prompt": "a red square"}, timeout=60)
    assert answer.status_code == 200
    assert '"steps": 20' in answer.json()["info"]
    assert '"width": 32' in answer.json()["info"]


def test_an_image_is_redrawn_the_more_the_stronger(api: webuiapi.WebUIApi) -> None:
    image = Image.new("RGB", (32, 32), "green")
    own = OWN | {"steps": 20}
    weak, strong = (
        api.img2img(images=[image], prompt="a red square", seed=1, denoising_strength=one, **own).image
        for one in (0.1, 0.9)
    )
    distances = [np.abs(pixels(one) - pixels(image)).mean() for one in (weak, strong)]
    assert distances[0] < distances[1]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("inverted", [0, 1])
def test_what_is_white_in_the_mask_is_painted(api: webuiapi.WebUIApi, whole: bool, inverted: int) -> None:
    image, mask = Image.new("RGB", (64, 64), "green"), Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 24, 64))
    size = (64, 64) if whole else (32, 32)  # only a part is drawn at the full size, and put back
    image, mask = (image, mask) if whole else (image.resize(size), mask.resize(size))
    found = api.img2img(
        images=[image], mask_image=mask, prompt="a red square", seed=1, denoising_strength=1.0, mask_blur=1,
        inpaint_full_res=whole, inpainting_mask_invert=inverted, **OWN,
    ).image  # fmt: skip
    assert found.size == size
    changed = np.abs(pixels(found) - pixels(image)).max(axis=(0, 2)) > 2  # by column
    painted, kept = (changed[: size[0] // 4], changed[size[0] // 2 :])
    if inverted:
        painted, kept = changed[size[0] // 2 :], changed[: size[0] // 4]
    assert painted.all()
    assert not kept.any()


def test_a_second_pass_is_larger_where_the_model_draws_larger_ones(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="Latent"):
        api.txt2img(prompt="a", enable_hr=True, hr_scale=2, **OWN)


class Drawing(threading.Thread):
    """A request that takes a while."""

    def __init__(self, api: webuiapi.WebUIApi, **asked: Any) -> None:
        super().__init__()
        self._api, self._asked, self.found = api, asked, None
        self.start()

    def run(self) -> None:
        self.found = self._api.txt2img(**OWN | self._asked)


def test_progress_and_interrupt(service: Serving, api: webuiapi.WebUIApi) -> None:
    watch = webuiapi.WebUIApi(host="127.0.0.1", port=service.port)
    assert watch.get_progress()["progress"] == 0.0
    drawing = Drawing(api, prompt="a red square", steps=1000, batch_size=8)
    seen = []
    ends = time.monotonic() + 60
    while not (seen and seen[-1]["current_image"] and seen[-1]["progress"] > 0.01) and time.monotonic() < ends:
        seen.append(watch.get_progress())
        time.sleep(0.05)
    assert seen[-1]["current_image"]
    shares = [one["progress"] for one in seen]
    assert shares == sorted(shares)
    assert seen[-1]["state"]["sampling_steps"] == 1000
    assert seen[-1]["state"]["job_count"] == 8
    assert 0 < seen[-1]["eta_relative"] < 600
    watch.interrupt()
    drawing.join(30)
    assert drawing.found is not None
    assert len(drawing.found.images) < 8
    assert watch.get_progress()["progress"] == 0.0


def test_lists(api: webuiapi.WebUIApi) -> None:
    assert [one["name"] for one in api.get_samplers()] == ["Euler", "DPM++ 2M"]
    assert [one["label"] for one in api.get_schedulers()] == ["Automatic"]
    assert [one["model_name"] for one in api.get_sd_models()] == ["small"]
    assert [one["name"] for one in api.get_upscalers()] == ["None", "Lanczos"]
    assert api.get_loras() == api.get_hypernetworks() == api.get_face_restorers() == []
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_cmd_flags()["share"] is False


def test_options(api: webuiapi.WebUIApi) -> None:
    assert api.util_get_current_model().startswith("small [")
    api.set_options({"sd_model_checkpoint": "small"})
    assert api.set_options({"sd_model_checkpoint": "nobody"})["error"] == "model_not_found"
    assert "cannot be changed" in api.set_options({"show_progress_every_n_steps": 3})["detail"]


def test_enlarging(api: webuiapi.WebUIApi) -> None:
    image = Image.new("RGB", (20, 10), "green")
    assert api.extra_single_image(image, upscaler_1="Lanczos", upscaling_resize=2).image.size == (40, 20)
    with pytest.raises(RuntimeError, match="upscaler_1"):
        api.extra_single_image(image, upscaler_1="R-ESRGAN 4x+", upscaling_resize=2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tiling": True}, "tiling"),
        ({"restore_faces": True}, "restore_faces"),
        ({"styles": ["fancy"]}, "styles"),
        ({"subseed_strength": 0.5}, "subseed_strength"),
        ({"script_name": "xyz"}, "script_name"),
        ({"alwayson_scripts": {"ControlNet": {}}}, "alwayson_scripts"),
        ({"sampler_name": "Euler a"}, "Euler, DPM++ 2M"),
        ({"scheduler": "Karras"}, "Automatic"),
        ({"width": 512}, "32 x 32"),
        ({"batch_size": 6, "n_iter": 2}, "at most 10"),
        ({"seed": -2}, "seed"),
        ({"cfg_scale": "7"}, "cfg_scale"),
        ({"override_settings": {"sd_model_checkpoint": "nobody"}}, "nobody"),
        ({"override_settings": {"sd_vae": "x"}}, "sd_vae"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"distilled_cfg_scale": 3}, "distilled_cfg_scale"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(service: Serving, asked: dict[str, Any], said: str) -> None:
    answer = httpx.post(f"{service.url}/sdapi/v1/txt2img", json={"prompt": "a", **OWN, **asked}, timeout=60)
    assert 400 <= answer.status_code < 500
    assert answer.json().keys() == {"error", "detail", "body", "errors"}
    assert said in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("image", ["", "!!", "aGVsbG8=", "data:image/png;base64,aGVsbG8=", "http://127.0.0.1:1/a.png"])
def test_images_that_are_none(service: Serving, image: str) -> None:
    answer = httpx.post(f"{service.url}/sdapi/v1/img2img", json={"init_images": [image]}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_image"


def test_the_password_is_the_key(keyed: Keyed) -> None:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=keyed.server.port, username="anybody", password=keyed.secret)
    assert [one["model_name"] for one in api.get_sd_models()] == ["small"]
    wrong = webuiapi.WebUIApi(host="127.0.0.1", port=keyed.server.port, username="anybody", password="guess")
    assert wrong.get_sd_models()["error"] == "invalid_api_key"
