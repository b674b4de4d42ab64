"""Pictures that one worker has in the making: each is as it would be alone, and none takes others with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.core import Sketch
from limner.pipeline import Pipeline
from limner.serve.orders import Order
from limner.serve.studio.easel import Easel, Told, shown_after
from limner.serve.studio.messages import Advanced, Begun, Done, Draw, Failed, FromWorker, Seen
from tests.toys.mural import Mural, mural

__all__ = ["mural"]

STEPS = 6
ORDER = Order(model="small", prompt="a red square", seed=1, knobs={"steps": STEPS})


@pytest.fixture
def pipe(mural: Mural) -> Pipeline:
    return Pipeline(mural, name="small", hash="abc")


def easel(pipe: Pipeline, room: int = 100) -> Easel:
    side = int(pipe.family.config.image_size)
    return Easel(pipe, room=room * side**2)


def draw(name: str, order: Order = ORDER, **more: Any) -> Draw:
    return Draw(task=name, order=replace(order, **more), index=0)


def drawn(easel: Easel, *draws: Draw, most: int = 100) -> list[Told]:
    """All that is told until they are done."""
    told = [one for draw in draws for one in easel.add(draw)]
    for _ in range(most):
        if not len(easel):
            return told
        told += easel.step()
    raise AssertionError("they are never done")


def messages(told: Sequence[Told], kind: type[FromWorker], task: str | None = None) -> list[Any]:
    return [one for one, _ in told if isinstance(one, kind) and task in (None, getattr(one, "task", None))]


def picture(told: Sequence[Told], task: str) -> np.ndarray:
    [(done, [pixels])] = [(one, blobs) for one, blobs in told if isinstance(one, Done) and one.task == task]
    return np.frombuffer(pixels, np.uint8).reshape(*done.size, 3)


def same(one: np.ndarray, image: Image.Image) -> bool:
    """But for the last bits, which hang on how many are drawn together."""
    return bool(np.abs(one.astype(int) - np.asarray(image).astype(int)).max() <= 2)


def test_pictures_that_come_and_go_are_those_of_the_pipeline(pipe: Pipeline) -> None:
    making = easel(pipe)
    told = [*making.add(draw("first")), *making.step(), *making.step()]
    told += drawn(making, draw("second", seed=2, knobs={"steps": 3}), draw("third", prompt="a blue square"))
    for name, prompt, seed, steps in (
        ("first", "a red square", 1, STEPS), ("second", "a red square", 2, 3), ("third", "a blue square", 1, STEPS),
    ):  # fmt: skip
        alone = pipe(prompt, seed=seed, num_inference_steps=steps)
        assert same(picture(told, name), alone.images[0])
        [done] = messages(told, Done, name)
        assert done.settings["seed"] == seed
        assert done.settings["batch"] == 3  # the most that it took a step with
    assert [len(one.places) for one in messages(told, Advanced)] == [1, 1, 3, 3, 3, 2, 1, 1]


def test_a_later_picture_of_an_order_has_the_next_seed(pipe: Pipeline) -> None:
    told = drawn(easel(pipe), Draw(task="a", order=replace(ORDER, count=3), index=2))
    assert same(picture(told, "a"), pipe("a red square", seed=3, num_inference_steps=STEPS).images[0])


def test_no_more_step_together_than_there_is_room_for(pipe: Pipeline) -> None:
    told = drawn(easel(pipe, room=2), *(draw(str(number)) for number in range(5)))
    assert {len(one.places) for one in messages(told, Advanced)} == {1, 2}
    assert len(messages(told, Done)) == 5


def breaking(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, when: Any) -> None:
    """Steps of which `when` is true fail."""
    advance = pipe.advance

    def brittle(sketches: Sequence[Sketch]) -> None:
        if when(sketches):
            raise RuntimeError("there is no memory")
        advance(sketches)

    monkeypatch.setattr(pipe, "advance", brittle)


def test_one_that_fails_takes_no_others_with_it(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breaking(pipe, monkeypatch, lambda sketches: any("blue" in one.request.prompt and one.step for one in sketches))
    told = drawn(easel(pipe), draw("a"), draw("bad", prompt="a blue square"), draw("b", seed=2))
    [failed] = messages(told, Failed)
    assert (failed.task, failed.fault) == ("bad", True)
    assert failed.error in (said := capsys.readouterr().err)  # the number under which the log has it
    assert "RuntimeError" in said
    for name, seed in (("a", 1), ("b", 2)):
        assert same(picture(told, name), pipe("a red square", seed=seed, num_inference_steps=STEPS).images[0])


def test_those_that_fail_together_are_drawn_apart(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(pipe, monkeypatch, lambda sketches: len(sketches) > 1 and sketches[0].step == 2)
    making = easel(pipe)
    told = drawn(making, draw("a"), draw("b", seed=2))
    assert not messages(told, Failed)
    assert [done.settings["batch"] for done in messages(told, Done)] == [1, 1]
    assert [len(one.places) for one in messages(told, Advanced)] == [2, 2] + [1] * 2 * STEPS
    later = messages(drawn(making, draw("c"), draw("d")), Advanced)
    assert len(later[0].places) == 2  # others go together again


def test_what_a_model_cannot_draw_is_said_in_a_line(pipe: Pipeline) -> None:
    [(failed, _)] = easel(pipe).add(draw("a", knobs={"steps": 0}))
    assert isinstance(failed, Failed)
    assert not failed.fault
    assert "\n" not in failed.error


def test_an_image_that_is_none_is_refused(pipe: Pipeline) -> None:
    order = replace(ORDER, image="0" * 64)
    [(failed, _)] = easel(pipe).add(Draw(task="a", order=order, index=0), b"no picture")
    assert isinstance(failed, Failed)
    assert not failed.fault


def test_what_is_enlarged_is_drawn_twice(pipe: Pipeline) -> None:
    told = drawn(easel(pipe), draw("large", upscale=2.0), draw("other"))
    alone = pipe("a red square", seed=1, num_inference_steps=STEPS, upscale=2.0).images[0]
    assert picture(told, "large").shape[:2] == (alone.height, alone.width) == (2 * pipe.family.config.image_size,) * 2
    assert same(picture(told, "large"), alone)
    places = [at for step in messages(told, Advanced) for at in step.places if at.task == "large"]
    steps = [at.step for at in places]
    assert steps == sorted(steps)
    assert len(set(steps)) == len(steps)
    assert {at.steps for at in places} == {2 * STEPS}
    assert steps[-1] == 2 * STEPS


def test_one_that_fails_the_second_time_is_drawn_a_second_time_alone(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both_large(sketches: Sequence[Sketch]) -> bool:
        return len(sketches) > 1 and all(one.request.image is not None for one in sketches)

    breaking(pipe, monkeypatch, both_large)
    told = drawn(easel(pipe), draw("a", upscale=2.0), draw("b", upscale=2.0))
    alone = pipe("a red square", seed=1, num_inference_steps=STEPS, upscale=2.0).images[0]
    assert same(picture(told, "a"), alone)
    places = [[at.step for at in one.places] for one in messages(told, Advanced)]
    assert places == [[step] * 2 for step in range(1, STEPS + 1)] + 2 * [[2 * STEPS - left] for left in (2, 1, 0)]
    assert [done.settings["batch"] for done in messages(told, Done)] == [2, 2]  # as they were the first time


def test_previews_come_after_the_right_steps(pipe: Pipeline) -> None:
    told = drawn(easel(pipe), draw("a", previews=2), draw("b"))
    assert [(one.task, one.step, one.steps) for one in messages(told, Seen)] == [("a", 2, STEPS), ("a", 4, STEPS)]
    assert [one.settings["step"] for one in messages(told, Seen)] == [2, 4]


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 100))
def test_previews_are_as_evenly_spaced_as_can_be(start: int, left: int, previews: int) -> None:
    steps = start + left
    shown = sorted(shown_after(start, steps, previews))
    assert len(shown) == min(previews, left - 1)
    gaps = [after - before for before, after in zip([start, *shown], [*shown, steps], strict=True)]
    assert min(gaps) > 0
    assert max(gaps) - min(gaps) <= 1


def test_what_is_dropped_takes_no_further_step(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    rested = []
    monkeypatch.setattr(pipe, "rest", lambda: rested.append(True))
    making = easel(pipe)
    told = [one for name in "ab" for one in making.add(draw(name))]
    told += making.step()
    making.drop("a")
    making.drop("nobody")
    assert not rested
    told = list(making.step())
    assert [at.task for step in messages(told, Advanced) for at in step.places] == ["b"]
    making.drop("b")
    assert len(making) == 0
    assert rested


def test_it_says_what_its_work_was(pipe: Pipeline) -> None:
    told = drawn(easel(pipe), draw("a"), draw("b"))
    area = int(pipe.family.config.image_size) ** 2
    assert {one.work for one in messages(told, Advanced)} == {2 * area}
    assert all(one.memory > 1 << 20 and one.seconds > 0 for one in messages(told, Advanced))
    assert len(messages(told, Begun)) == 2
