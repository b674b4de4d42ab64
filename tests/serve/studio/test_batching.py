"""Which pictures step together: as many as there is room for; short ones overtake, and none waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from limner.serve.studio.batching import Batch


def finish(batch: Batch[str], left: dict[str, int], most: int = 100_000) -> list[str]:
    """The names in the order in which they are done."""
    done = []
    for _ in range(most):
        if not left:
            return done
        for name in batch.choose():
            left[name] -= 1
            if left[name] == 0:
                batch.leave(name)
                done.append(name)
                del left[name]
    raise AssertionError(f"{left} were never done")


def joined(*pictures: tuple[str, int, int], room: int = 100) -> tuple[Batch[str], dict[str, int]]:
    batch: Batch[str] = Batch(room)
    for name, pixels, steps in pictures:
        batch.join(name, pixels=pixels, steps=steps)
    return batch, {name: steps for name, _, steps in pictures}


def test_all_step_together_while_there_is_room() -> None:
    batch, _ = joined(("a", 25, 5), ("b", 25, 9), ("c", 50, 2))
    assert batch.choose() == ["a", "b", "c"]


def test_a_picture_larger_than_the_room_is_drawn_alone() -> None:
    batch, left = joined(("large", 500, 2), ("small", 10, 2))
    chosen = [tuple(batch.choose()) for _ in range(3)]
    assert all(len(one) == 1 for one in chosen if "large" in one)
    assert set(finish(*joined(("large", 500, 2), ("small", 10, 2)))) == set(left)


def test_a_short_one_overtakes_a_long_one_that_came_before_it() -> None:
    assert finish(*joined(("long", 100, 40), ("short", 100, 4))) == ["short", "long"]


def test_who_failed_with_others_takes_no_step_with_them() -> None:
    batch: Batch[str] = Batch(100)
    batch.join("apart", pixels=10, steps=3, alone=True)
    batch.join("other", pixels=10, steps=3)
    assert all(len(batch.choose()) == 1 for _ in range(6))


def test_short_ones_without_end_do_not_starve_a_long_one() -> None:
    batch, left = joined(("long", 100, 20))
    for number in range(1000):
        name = f"short {number}"
        batch.join(name, pixels=100, steps=2)
        left[name] = 2
        for one in batch.choose():
            left[one] -= 1
            if left[one] == 0:
                batch.leave(one)
                del left[one]
        if "long" not in left:
            return
    raise AssertionError("it was never done")


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 30)), min_size=1, max_size=30))
def test_everything_is_done_and_no_step_is_too_large(pictures: list[tuple[int, int]]) -> None:
    batch, left = joined(*((str(number), *one) for number, one in enumerate(pictures)))
    sizes = {str(number): pixels for number, (pixels, _) in enumerate(pictures)}
    for _ in range(sum(steps for _, steps in pictures)):
        chosen = batch.choose()
        assert len(chosen) == len(set(chosen)) > 0
        assert len(chosen) == 1 or sum(sizes[name] for name in chosen) <= 100
        for name in chosen:
            left[name] -= 1
            if left[name] == 0:
                batch.leave(name)
                del left[name]
        if not left:
            return
    raise AssertionError("a step was taken in vain")
