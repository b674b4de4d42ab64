"""OpenAI's own client draws, edits, varies and streams; and hears what is wrong in its own words."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageChops, ImageStat

from limner.provenance import Settings
from tests.serve.conftest import Keyed
from tests.serving import Serving


@pytest.fixture(scope="module")
def client(service: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def settings(image: Image.Image) -> Settings:
    return Settings.from_json(image.info["limner"], "the picture")


def file(image: Image.Image, name: str = "image.png", kind: str = "PNG") -> tuple[str, bytes]:
    out = io.BytesIO()
    image.save(out, kind)
    return name, out.getvalue()


def drawn(client: openai.OpenAI, **asked: Any) -> Image.Image:
    answer = client.images.generate(prompt="a red square", **asked)
    return opened(answer.data[0].b64_json)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small"]
    assert client.models.retrieve("small").owned_by == "limner"


def test_pictures_carry_what_they_were_drawn_with(client: openai.OpenAI) -> None:
    more = {"seed": 5, "num_inference_steps": 2, "guidance_scale": 2.0, "negative_prompt": "a circle"}
    answer = client.images.generate(prompt="a red square", n=2, extra_body=more)
    found = [settings(opened(one.b64_json)) for one in answer.data]
    assert [one.seed for one in found] == [5, 6]
    assert {(one.prompt, one.negative_prompt, one.knobs["steps"], one.knobs["guidance"]) for one in found} == {
        ("a red square", "a circle", 2, 2.0)
    }
    assert answer.size == "32x32"
    assert answer.output_format == "png"


def test_a_seed_is_the_same_picture_alone_and_among_others(client: openai.OpenAI) -> None:
    several = client.images.generate(prompt="a red square", n=3, extra_body={"seed": 5}).data
    alone = drawn(client, extra_body={"seed": 7})
    assert alone.tobytes() == opened(several[2].b64_json).tobytes()
    assert alone.tobytes() != opened(several[0].b64_json).tobytes()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_formats_and_addresses(client: openai.OpenAI, kind: Any) -> None:
    answer = client.images.generate(prompt="a red square", response_format="url", output_format=kind)
    sent = httpx.get(answer.data[0].url)
    assert sent.headers["content-type"] == f"image/{kind}"
    image = Image.open(io.BytesIO(sent.content))
    assert image.format == kind.upper()
    assert b"trainedAlgorithmicMedia" in sent.content
    inline = drawn(client, output_format=kind)
    assert inline.format == kind.upper()


def test_compression_is_of_those_that_lose_something(client: openai.OpenAI) -> None:
    small, large = (
        client.images.generate(prompt="a", output_format="jpeg", output_compression=one, extra_body={"seed": 1})
        for one in (10, 100)
    )
    assert len(small.data[0].b64_json) < len(large.data[0].b64_json)
    with pytest.raises(openai.BadRequestError, match="output_compression"):
        client.images.generate(prompt="a", output_compression=10)


def test_an_edit_leaves_alone_what_the_mask_keeps(client: openai.OpenAI) -> None:
    image = Image.new("RGB", (32, 32), "green")
    mask = Image.new("RGBA", (32, 32), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (16, 0, 32, 32))
    answer = client.images.edit(image=file(image), mask=file(mask), prompt="a red square")
    found = opened(answer.data[0].b64_json).convert("RGB")
    assert found.crop((0, 0, 8, 32)).getcolors() == [(8 * 32, (0, 128, 0))]
    assert len(found.crop((24, 0, 32, 32)).getcolors(maxcolors=32 * 32)) > 50
    assert settings(opened(answer.data[0].b64_json)).source != ""


def test_an_edit_in_json(service: Serving) -> None:
    _, data = file(Image.new("RGB", (32, 32), "green"))
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    body = {"prompt": "a red square", "images": [{"image_url": url}]}
    answer = httpx.post(f"{service.url}/v1/images/edits", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["size"] == "32x32"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"image_url": "http://127.0.0.1:1/a.png"}, "none is ever fetched"),
        ({"image_url": "file:///etc/passwd"}, "none is ever fetched"),
        ({"file_id": "file-1"}, "no files are kept"),
        ({"image_url": "data:image/png;base64,!!"}, "base64"),
        ({"image_url": "data:image/png;base64,aGVsbG8="}, "cannot be read"),
    ],
)
def test_nothing_is_fetched(service: Serving, reference: dict[str, str], said: str) -> None:
    body = {"prompt": "a", "images": [reference]}
    answer = httpx.post(f"{service.url}/v1/images/edits", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_variation(client: openai.OpenAI) -> None:
    answer = client.images.create_variation(image=file(Image.new("RGB", (32, 32), "green"), kind="WEBP"), n=2)
    assert len(answer.data) == 2


def test_streams(client: openai.OpenAI) -> None:
    events = list(client.images.generate(prompt="a red square", stream=True, partial_images=3, extra_body={"seed": 1}))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]
    pictures = [opened(event.b64_json) for event in events]
    assert [settings(one).step for one in pictures] == [5, 10, 15, None]
    final = drawn(client, extra_body={"seed": 1})
    assert pictures[-1].tobytes() == final.tobytes()
    distances = [ImageStat.Stat(ImageChops.difference(one, final)).sum[0] for one in pictures]
    assert distances[0] > distances[2]  # they come nearer


def test_an_edit_streams(client: openai.OpenAI) -> None:
    image = file(Image.new("RGB", (32, 32), "green"))
    events = list(client.images.edit(image=image, prompt="a red square", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"model": "smal"}, openai.NotFoundError, 'did you mean "small"'),
        ({"size": "100x100"}, openai.BadRequestError, "32 x 32"),
        ({"size": "99999x1"}, openai.BadRequestError, "too many"),
        ({"size": "huge"}, openai.BadRequestError, "size"),
        ({"n": 11}, openai.BadRequestError, "n"),
        ({"background": "transparent"}, openai.BadRequestError, "transparent"),
        ({"partial_images": 2}, openai.BadRequestError, "stream"),
        ({"extra_body": {"sedd": 1}}, openai.BadRequestError, 'did you mean "seed"'),
        ({"extra_body": {"seed": "1"}}, openai.BadRequestError, "seed"),
        ({"extra_body": {"knobs": {"solver": "no"}}}, openai.BadRequestError, "solver"),
        ({"extra_body": {"knobs": {"stepps": 1}}}, openai.BadRequestError, 'did you mean "steps"'),
        ({"extra_body": {"knobs": {"steps": 3}, "num_inference_steps": 4}}, openai.BadRequestError, "the same"),
        ({"extra_body": {"knobs": {"shift": -1.0}}}, openai.BadRequestError, "shift"),
        ({"extra_body": {"num_inference_steps": 1001}}, openai.BadRequestError, "1000"),
    ],
)
def test_what_is_wrong_is_said(client: openai.OpenAI, asked: dict[str, Any], kind: Any, said: str) -> None:
    with pytest.raises(kind) as caught:
        client.images.generate(**{"prompt": "a"} | asked)
    assert said in caught.value.body["message"]
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert "\n" not in caught.value.body["message"]


def test_masks_that_do_not_fit(client: openai.OpenAI) -> None:
    image = file(Image.new("RGB", (32, 32), "green"))
    for mask, said in ((Image.new("RGBA", (16, 32)), "one size"), (Image.new("RGB", (32, 32)), "transparent")):
        with pytest.raises(openai.BadRequestError, match=said):
            client.images.edit(image=image, mask=file(mask), prompt="a")
    with pytest.raises(openai.BadRequestError, match="one image"):
        client.images.edit(image=[image, image], prompt="a")


def test_keys(keyed: Keyed) -> None:
    def client(secret: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{keyed.server.url}/v1", api_key=secret, max_retries=0)

    assert [model.id for model in client(keyed.secret).models.list()] == ["small"]
    with pytest.raises(openai.AuthenticationError):
        client(keyed.secret[:-1] + ("a" if keyed.secret[-1] != "a" else "b")).models.list()


def test_the_same_request_twice_is_one_job(service: Serving) -> None:
    def ask(body: dict[str, Any], name: str = "once") -> httpx.Response:
        address = f"{service.url}/v1/images/generations"
        return httpx.post(address, json=body, headers={"Idempotency-Key": name}, timeout=60)

    before = service.metric("t2i_images_total")
    first, second = ask({"prompt": "a"}), ask({"prompt": "a"})  # of a seed by chance
    assert first.status_code == 200
    assert first.json() == second.json()
    assert service.metric("t2i_images_total") == before + 1
    other = ask({"prompt": "b"})
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
