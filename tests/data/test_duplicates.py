"""Near duplicates are found, and pictures that only look alike to a hash are not."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from limner.data.people.duplicates import CHANGE, DISTANCE, near, perceptual_hash, thumbnail
from tests.folders import encoded, picture


def groups(images):
    hashes = np.array([perceptual_hash(one) for one in images], dtype=np.uint64)
    return near(hashes, np.array([thumbnail(one) for one in images]))


def test_saved_smaller_worse_or_brighter_a_picture_is_a_near_duplicate():
    images = [picture(number, width=160, height=120)[0] for number in range(20)]
    copies = [Image.open(io.BytesIO(encoded(one, "JPEG", quality=50))).convert("RGB") for one in images[:4]]
    copies += [one.resize((80, 60), Image.Resampling.BICUBIC) for one in images[4:8]]
    copies += [ImageEnhance.Brightness(one).enhance(1.03) for one in images[8:12]]
    assert groups([*images, *copies]) == [[number, 20 + number] for number in range(12)]


def test_plain_pictures_do_not_all_collide():
    plain = [Image.new("RGB", (50, 50), (20 * number, 255 - 20 * number, 100)) for number in range(12)]
    assert groups(plain) == []
    assert groups([*plain, Image.new("RGB", (30, 70), (80, 175, 100))]) == [[4, 12]]


def test_one_drawing_in_two_colours_is_two_drawings():
    def circle(colour):
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=colour)
        return image

    red, blue, again = circle((200, 0, 0)), circle((0, 0, 255)), circle((204, 2, 2))
    assert bin(perceptual_hash(red) ^ perceptual_hash(blue)).count("1") <= DISTANCE, "the hash alone takes them for one"
    assert groups([red, blue, again]) == [[0, 2]]


def test_the_search_agrees_with_comparing_every_pair():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 1 << 63, 300, dtype=np.uint64)
    thumbnails = rng.integers(0, 255, (300, 192), dtype=np.uint8)
    for place in range(0, 300, 3):  # a neighbour 1 to 6 bits and 0 to 30 levels away
        flips = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, rng.integers(1, 7), False).astype(np.uint64))
        hashes[place + 1] = hashes[place] ^ flips
        change = rng.integers(0, 31)
        thumbnails[place + 1] = np.where(
            thumbnails[place] > 128, thumbnails[place] - change, thumbnails[place] + change
        )
    linked = set()
    for one in range(300):
        for other in range(one + 1, 300):
            change = np.abs(thumbnails[one].astype(int) - thumbnails[other]).max()
            if bin(int(hashes[one] ^ hashes[other])).count("1") <= DISTANCE and change <= CHANGE:
                linked.add((one, other))
    assert linked
    assert {tuple(group) for group in near(hashes, thumbnails)} == linked


def test_chains_are_one_group():
    hashes = np.array([0, 0b1111, 0b11111111, 0xFF << 40], dtype=np.uint64)
    assert near(hashes, np.zeros((4, 192), dtype=np.uint8)) == [[0, 1, 2]]
    assert near(np.array([], dtype=np.uint64), np.zeros((0, 192), dtype=np.uint8)) == []
