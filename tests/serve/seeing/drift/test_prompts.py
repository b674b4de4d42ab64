"""A prompt in numbers, and a model's captions as what they are compared with."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from limner.core import InputError
from limner.data.scenes.source import Scenes
from limner.serve.orders import Job, Order, State
from limner.serve.seeing.drift.examination import Examined, Limits, examine, share
from limner.serve.seeing.drift.prompts import MOST, Ruler, words
from limner.serve.seeing.drift.reference import Reference, tokenizer_of
from limner.shelf import DEFAULT, find_model
from limner.text.bpe import BPE

CAPTIONS = ("a red square on a white ground", "a blue square on a yellow ground", "two small stars above a big moon")
KNOWN = {word: sum(word in caption.split() for caption in CAPTIONS) for caption in CAPTIONS for word in caption.split()}


@pytest.fixture
def ruler(tokenizer: BPE) -> Ruler:
    return Ruler(CAPTIONS, KNOWN, len(CAPTIONS), tokenizer)


def test_words_are_folded_and_marks_are_words_of_their_own() -> None:
    assert words("A Red, ＲＥＤ square!") == ["a", "red", ",", "red", "square", "!"]
    assert words("🧔‍♀️") == ["🧔", "\u200d", "♀", "\ufe0f"]


def test_a_caption_is_no_way_off_and_other_words_are_all_the_way(ruler: Ruler) -> None:
    own, foreign, half = ruler.measure([CAPTIONS[2].upper(), "ein Haus am Meer", "two green stars"])
    assert (own.unknown, own.nearest) == (0.0, 2)
    assert own.distance == pytest.approx(0.0, abs=1e-9)
    assert (foreign.unknown, foreign.distance) == (1.0, 1.0)
    assert half.unknown == pytest.approx(1 / 3)
    assert half.nearest == 2
    assert 0.2 < half.distance < 0.9


def test_rare_words_say_more_than_common_ones(ruler: Ruler) -> None:
    common, rare = ruler.measure(["a square", "a moon"])
    assert KNOWN["moon"] < KNOWN["square"]
    assert ruler.measure(["a red"])[0].nearest == 0
    assert rare.nearest == 2
    assert common.nearest in (0, 1)


def test_tokens_are_the_models_own(ruler: Ruler, tokenizer: BPE) -> None:
    [found] = ruler.measure([CAPTIONS[0]])
    assert found.length == tokenizer.count(CAPTIONS[0])


@pytest.mark.parametrize("prompt", ["", " \n", "\0", "\ud83d", "a" * 10 * MOST, "a " * 10 * MOST, "\u0301" * 500])
def test_whatever_is_typed_is_measured(ruler: Ruler, prompt: str) -> None:
    began = time.perf_counter()
    [found] = ruler.measure([prompt])
    assert found.length >= 1
    assert 0.0 <= found.unknown <= 1.0
    assert 0.0 <= found.distance <= 1.0
    assert time.perf_counter() - began < 1.0


# ---------------------------------------------------------------------------------------------------
# Against scenes.

PHOTOGRAPHS = (
    "a photograph of my grandmother's kitchen in 1974, grainy film", "an astronaut riding a horse, photorealistic",
    "portrait of a tired fisherman, golden hour, 85mm, bokeh", "a wedding couple on a beach at sunset",
    "cinematic wide shot of a rainy street in Tokyo at night, neon", "a bustling market in Marrakech, Leica M6",
    "interior design of a Scandinavian living room", "aerial view of terraced rice fields, drone footage",
)  # fmt: skip
GERMAN = (
    "ein alter Mann sitzt auf einer Bank im Park und liest Zeitung", "eine Katze schläft auf dem Sofa am Fenster",
    "ein Boot auf dem See bei Sonnenuntergang", "zwei Kinder spielen Fußball auf der Straße",
)  # fmt: skip


def captions(count: int, *, first: int = 0) -> list[str]:
    scenes = Scenes("train")
    return [scenes.truth(index).caption for index in range(first, first + count)]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(captions(12_000), tokenizer_of(find_model(DEFAULT)))


def looked_at(reference: Reference, prompts: list[str]) -> Examined:
    jobs = [
        Job(
            id=f"{number:032x}", order=Order(model=DEFAULT, prompt=prompt, seed=number), key=None, state=State.DONE,
            fence=1, accepted=0.0, deadline=9.0, finished=1.0,
        )
        for number, prompt in enumerate(prompts)
    ]  # fmt: skip
    tokenizer = tokenizer_of(find_model(DEFAULT))
    return examine(DEFAULT, jobs, Limits(), reference=reference, tokenizer=tokenizer)


def passed(found: Examined) -> set[str]:
    return {one.name for one in found.findings if one.passed}


def test_captions_that_nobody_has_seen_pass_however_many(reference: Reference) -> None:
    for number, count in enumerate([20, 20, 20, 20, 50, 50, 50, 200, 200, 1000]):
        assert not passed(looked_at(reference, captions(count, first=20_000 + 1000 * number))), count


def test_what_was_held_out_has_its_own_unknown_words(reference: Reference) -> None:
    """Else nothing unknown would be usual, and any of it an alarm."""
    counts = reference.counts["unknown"]
    assert 0.01 < sum(counts[1:]) / sum(counts) < 0.2


@pytest.mark.parametrize(
    ("foreign", "measures"),
    [
        (PHOTOGRAPHS, {"unknown", "distance"}), (GERMAN, {"unknown", "distance"}),
        ([" and ".join(captions(6, first=30_000 + 6 * number)) for number in range(8)], {"length"}),
    ],
    ids=["photographs", "another language", "very long"],
)  # fmt: skip
def test_foreign_prompts_are_found_among_twice_as_many(
    reference: Reference, foreign: tuple[str, ...], measures: set[str]
) -> None:
    mixed = captions(160, first=40_000) + [foreign[number % len(foreign)] for number in range(80)]
    assert passed(looked_at(reference, mixed)) >= measures
    assert passed(looked_at(reference, list(foreign) * (40 // len(foreign)))) >= measures


def test_a_reference_is_read_as_it_was_written(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    reference.write(path)
    assert Reference.read(path) == reference
    whole = json.loads(path.read_text())
    for broken in (
        "[1]",
        "{",
        json.dumps({**whole, "format": 99}),
        json.dumps({**whole, "counts": {"length": [1, 2]}}),
    ):
        path.write_text(broken)
        with pytest.raises(InputError, match=r"reference\.json"):
            Reference.read(path)


# ---------------------------------------------------------------------------------------------------
# What else may go wrong.


def test_a_share_is_beyond_its_limit_only_where_that_is_sure() -> None:
    assert share("failed", "", 1, 19, 0.02).value is None
    assert not share("failed", "", 1, 20, 0.02).passed  # one of twenty may be chance
    assert share("failed", "", 5, 50, 0.02).passed
    assert not share("failed", "", 2, 100, 0.02).passed


def test_one_job_in_twenty_may_take_longer(reference: Reference) -> None:
    def ended(seconds: list[float]) -> set[str]:
        jobs = [
            Job(
                id=f"{number:032x}", order=Order(model=DEFAULT, prompt="a cat", seed=0), key=None, state=State.DONE,
                fence=1, accepted=100.0, deadline=200.0, finished=100.0 + one,
            )
            for number, one in enumerate(seconds)
        ]  # fmt: skip
        return passed(examine(DEFAULT, jobs, Limits(seconds=10.0)))

    assert ended([1.0] * 30) == ended([1.0] * 29 + [99.0]) == set()
    assert ended([1.0] * 20 + [99.0] * 10) == {"seconds"}
