"""Pictures that wait: bounded, fair between keys by their work, gone when their time has passed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.serve.faults import Full
from limner.serve.studio.queue import Entry, Queue


def entry(
    key: int | None, job: str = "job", *, index: int = 0, work: float = 1.0, model: str = "m", **more: float
) -> Entry:
    return Entry(job, index, key, model, work, **more)


def taken(queue: Queue, count: int, model: str = "m") -> list[Entry]:
    return [one for one in (queue.take(model) for _ in range(count)) if one is not None]


def test_who_asks_for_much_does_not_keep_others_waiting() -> None:
    queue = Queue(1000)
    queue.put([entry(1, f"a{number}") for number in range(100)])
    queue.put([entry(2, f"b{number}") for number in range(3)])
    first = taken(queue, 6)
    assert Counter(one.key for one in first) == {1: 3, 2: 3}


def test_shares_are_of_work_and_not_of_pictures() -> None:
    queue = Queue(1000)
    queue.put([entry(1, work=4.0) for _ in range(100)])
    queue.put([entry(2, work=1.0) for _ in range(100)])
    work = Counter[int]()
    for one in taken(queue, 50):
        work[one.key or 0] += int(one.work)
    assert abs(work[1] - work[2]) <= 4


def test_nobody_saves_up_by_staying_away() -> None:
    queue = Queue(1000)
    queue.put([entry(1) for _ in range(60)])
    taken(queue, 50)
    queue.put([entry(2) for _ in range(20)])
    assert Counter(one.key for one in taken(queue, 10)) == {1: 5, 2: 5}


def test_what_is_cancelled_has_cost_nothing() -> None:
    queue = Queue(1000)
    queue.put([entry(1, "gone", work=100.0)])
    queue.put([entry(2, "there")])
    assert [one.job for one in queue.drop("gone")] == ["gone"]
    queue.put([entry(1, "later")])
    queue.put([entry(2, "there, too")])
    assert Counter(one.key for one in taken(queue, 3)) == {1: 1, 2: 2}


def test_what_is_put_back_comes_first_again() -> None:
    queue = Queue(10)
    queue.put([entry(1, "first"), entry(1, "second")])
    [first] = taken(queue, 1)
    queue.put_back(first)
    assert [one.job for one in taken(queue, 2)] == ["first", "second"]


def test_it_says_how_long_there_is_no_room() -> None:
    queue = Queue(10)
    queue.put([entry(1, work=2.0) for _ in range(10)])
    queue.rate.add(work=4.0, seconds=1.0)
    with pytest.raises(Full) as caught:
        queue.check(4)
    assert caught.value.retry_after == 2  # four pictures of two units each, four units a second
    taken(queue, 4)
    queue.check(4)


def test_before_anything_was_drawn_it_guesses() -> None:
    queue = Queue(1)
    queue.put([entry(1)])
    with pytest.raises(Full) as caught:
        queue.check(1)
    assert caught.value.retry_after >= 1


def test_deadlines() -> None:
    queue = Queue(10)
    queue.put([entry(1, "late", deadline=5.0), entry(1, "begun", deadline=5.0), entry(1, "in time", deadline=50.0)])
    queue.begun("begun")
    assert [one.job for one in queue.expired(5.0)] == ["late"]
    assert [one.job for one in queue] == ["begun", "in time"]
    assert math.isinf(next(iter(queue)).deadline)


def test_each_model_has_its_own() -> None:
    queue = Queue(10)
    queue.put(
        [entry(1, "a", model="x", since=3.0), entry(1, "b", model="y", since=1.0), entry(2, "c", model="x", since=2.0)]
    )
    assert queue.models() == {"x": 2.0, "y": 1.0}
    assert [one.job for one in taken(queue, 5, "y")] == ["b"]
    assert queue.models() == {"x": 2.0}


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0.1, 10.0)), min_size=1, max_size=60))
def test_every_picture_comes_once_and_a_keys_own_in_order(asked: list[tuple[int, float]]) -> None:
    queue = Queue(1000)
    queue.put([entry(key, str(number), work=work) for number, (key, work) in enumerate(asked)])
    found = taken(queue, len(asked) + 1)
    assert sorted(int(one.job) for one in found) == list(range(len(asked)))
    for key in (1, 2, 3):
        own = [int(one.job) for one in found if one.key == key]
        assert own == sorted(own)
    assert len(queue) == 0
