"""A picture is the same alone and in any mix, on the shipped model."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from limner.pipeline import Pipeline
from tests.serving import GENERATIONS, serving

PICTURES, CLIENTS = 200, 12
PROMPTS = ("a red balloon over a meadow", "two blue cars in snow", "a stop sign is flying in blue skies", "")

pytestmark = pytest.mark.stress


def test_pictures_in_random_mixes_are_those_drawn_alone(tmp_path: Path) -> None:
    orders = [order(random.Random(seed), seed) for seed in range(PICTURES)]
    with serving(tmp_path / "data", ["flow-scenes"]) as server:
        mixed = asyncio.run(drawn(server.url, orders))
    pipe = Pipeline.from_pretrained("flow-scenes")
    worst = 0
    for one, found in zip(orders, mixed, strict=True):
        alone = pipe(
            one["prompt"], seed=one["seed"], num_inference_steps=one["num_inference_steps"],
            guidance_scale=one["guidance_scale"], height=128, width=128,
        ).images[0]  # fmt: skip
        worst = max(worst, int(np.abs(np.asarray(alone, np.int16) - found.pixels).max()))
    together = max(one.batch for one in mixed)
    print(f"{PICTURES} pictures, drawn with up to {together} together: at most {worst} of 255 apart")
    assert worst <= 2
    assert together > 2  # or nothing was mixed


def order(dice: random.Random, seed: int) -> dict[str, Any]:
    return {
        "prompt": dice.choice(PROMPTS), "seed": seed, "num_inference_steps": dice.choice([4, 8, 20, 30]),
        "guidance_scale": dice.choice([1.0, 2.0, 3.0, 5.0]), "response_format": "b64_json",
    }  # fmt: skip


@dataclass(frozen=True)
class Mixed:
    """A picture, and with how many others it was drawn."""

    pixels: np.ndarray
    batch: int


async def drawn(url: str, orders: list[dict[str, Any]]) -> list[Mixed]:
    """At most so many clients at once, each at a moment of its own."""
    gate = asyncio.Semaphore(CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:

        async def one(asked: dict[str, Any]) -> Mixed:
            async with gate:
                await asyncio.sleep(random.random() * 0.2)
                answer = await client.post(GENERATIONS, json=asked)
            assert answer.status_code == 200, answer.text
            return opened(base64.b64decode(answer.json()["data"][0]["b64_json"]))

        return await asyncio.gather(*(one(asked) for asked in orders))


def opened(data: bytes) -> Mixed:
    image = Image.open(io.BytesIO(data))
    return Mixed(np.asarray(image.convert("RGB"), np.int16), json.loads(image.info["limner"])["batch"])
