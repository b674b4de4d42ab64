"""Pictures that wait: bounded, fair between keys by their work, gone when their time has passed."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from limner.serve.faults import Full
from limner.serve.studio.queue import Entry, Queue


def entry(
    key: int | None, job: str = "job", *, index: int = 0, work: float = 1.0, model: str = "m", **more: float
) -> Entry:
    return Entry(job, index, key, model, work, **more)


def taken(queue: Queue, count: int, model: str = "m") -> list[Entry]:
    found = []
    while len(found) < count and (entry := queue.next(model)) is not None:
        queue.take(entry)
        found.append(entry)
    return found


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
    begun = [entry(1, "begun", index=index, deadline=5.0) for index in range(2)]
    queue.put([*begun, entry(1, "late", deadline=5.0), entry(1, "in time", deadline=50.0)])
    [first] = taken(queue, 1)
    queue.begun(first)
    assert [one.job for one in queue.expired(5.0)] == ["late"]
    assert [one.job for one in queue] == ["begun", "in time"]
    assert all(math.isinf(one.deadline) for one in begun)


def test_each_model_has_its_own() -> None:
    queue = Queue(10)
    queue.put(
        [entry(1, "a", model="x", since=3.0), entry(1, "b", model="y", since=1.0), entry(2, "c", model="x", since=2.0)]
    )
    assert queue.models() == {"x": 2.0, "y": 1.0}
    assert [one.job for one in taken(queue, 5, "y")] == ["b"]
    assert queue.models() == {"x": 2.0}


@given(works=st.lists(st.tuples(st.floats(0.1, 10.0), st.floats(0.1, 10.0)), min_size=2, max_size=40))
def test_keys_that_always_have_something_waiting_are_never_further_apart_than_two_pictures(
    works: list[tuple[float, float]],
) -> None:
    """The bound of start-time fair queueing, from any moment to any other."""
    queue = Queue(1000)
    queue.put([entry(1, work=mine) for mine, _ in works])
    queue.put([entry(2, work=other) for _, other in works])
    apart = max(mine for mine, _ in works) + max(other for _, other in works)
    ahead, seen = 0.0, [0.0]
    while all(any(one.key == key for one in queue) for key in (1, 2)):
        [one] = taken(queue, 1)
        ahead += one.work if one.key == 1 else -one.work
        seen.append(ahead)
    assert max(seen) - min(seen) <= apart + 1e-6


class Waiting(RuleBasedStateMachine):
    """The queue beside lists of what waits: nothing is lost, nothing comes twice, and a key's own come in order."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(20)
        self.lines: dict[int, deque[Entry]] = {1: deque(), 2: deque(), 3: deque()}
        self.out: list[Entry] = []
        self.now, self.jobs = 0.0, 0

    @property
    def waiting(self) -> list[Entry]:
        return [one for line in self.lines.values() for one in line]

    @rule(
        key=st.integers(1, 3), count=st.integers(1, 5), work=st.floats(0.1, 9.0), model=st.sampled_from("mn"),
        late=st.floats(0.0, 5.0),
    )  # fmt: skip
    def put(self, key: int, count: int, work: float, model: str, late: float) -> None:
        self.jobs += 1
        made = [entry(key, str(self.jobs), index=index, work=work, model=model, deadline=self.now + late,
                      since=float(self.jobs)) for index in range(count)]  # fmt: skip
        if len(self.waiting) + count > self.queue.most:
            with pytest.raises(Full) as caught:
                self.queue.check(count)
            assert 1 <= caught.value.retry_after <= 3600
            return
        self.queue.check(count)
        self.queue.put(made)
        self.lines[key].extend(made)

    @rule(model=st.sampled_from("mn"))
    def take(self, model: str) -> None:
        expected = self.queue.next(model)
        found = next(iter(taken(self.queue, 1, model)), None)
        assert found is expected
        firsts = [next((one for one in line if one.model == model), None) for line in self.lines.values()]
        if found is None:
            assert firsts == [None] * 3
        else:
            assert found in firsts
            self.lines[found.key or 0].remove(found)
            self.out.append(found)

    @precondition(lambda self: self.out)
    @rule()
    def put_back(self) -> None:
        one = self.out.pop()
        self.queue.put_back(one)
        self.lines[one.key or 0].appendleft(one)

    @precondition(lambda self: self.out)
    @rule()
    def begun(self) -> None:
        self.queue.begun(self.out[-1])
        assert all(math.isinf(one.deadline) for one in (*self.waiting, self.out[-1]) if one.job == self.out[-1].job)

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted({one.job for one in self.waiting}) or ["nobody"]))
        gone = self.queue.drop(job)
        assert gone == self._forgotten(lambda one: one.job == job)

    @rule(seconds=st.floats(0.0, 2.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        assert {id(one) for one in self.queue.expired(self.now)} == {
            id(one) for one in self._forgotten(lambda one: one.deadline <= self.now)
        }

    def _forgotten(self, which: Callable[[Entry], bool]) -> list[Entry]:
        gone = [one for one in self.waiting if which(one)]
        for one in gone:
            self.lines[one.key or 0].remove(one)
        return gone

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert {id(one) for one in self.queue} == {id(one) for one in self.waiting}
        oldest = {model: min((one.since for one in self.waiting if one.model == model), default=None) for model in "mn"}
        assert self.queue.models() == {model: since for model, since in oldest.items() if since is not None}


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
