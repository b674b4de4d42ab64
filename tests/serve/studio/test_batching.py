"""Which pictures step together: as many as there is room for; short ones overtake, and none waits for ever."""

from __future__ import annotations

from collections import Counter

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


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 300), st.integers(1, 12), st.booleans()), max_size=25))
def test_none_waits_for_more_steps_than_those_have_that_are_due_before_it(
    comings: list[tuple[int, int, int, bool]],
) -> None:
    """Each comes so many steps after the one before it. Who is due first takes each step; with whom, is a question of
    room: so from its coming to its end pass no more steps than those that are due before it have, and its own."""
    batch: Batch[int] = Batch(100)
    left: dict[int, int] = {}
    dues: dict[int, float] = {}
    taken, coming = Counter[int](), list(enumerate(comings))
    wait = coming[0][1][0] if coming else 0
    sizes = {number: pixels for number, (_, pixels, _, _) in coming}
    while coming or left:
        while coming and (wait <= 0 or not left):
            number, (_, pixels, steps, alone) = coming.pop(0)
            batch.join(number, pixels=pixels, steps=steps, alone=alone)
            left[number], dues[number] = steps, batch._places[number].due
            wait = coming[0][1][0] if coming else 0
        chosen = batch.choose()
        wait -= 1
        assert len(chosen) == len(set(chosen)) > 0
        assert min(left, key=lambda one: (dues[one], one)) in chosen
        assert len(chosen) == 1 or sum(sizes[one] for one in chosen) <= 100
        assert len(chosen) == 1 or not any(comings[one][3] for one in chosen)
        for one in left:
            taken[one] += 1
        for one in chosen:
            left[one] -= 1
            if not left[one]:
                batch.leave(one)
                del left[one]
    for number, (_, _, steps, _) in enumerate(comings):
        before = sum(comings[one][2] for one in dues if one != number and (dues[one], one) < (dues[number], number))
        assert taken[number] <= before + steps
