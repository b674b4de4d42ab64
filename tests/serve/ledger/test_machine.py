"""The ledger against a plain model of it in memory: whatever is asked in whatever order, both say the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from limner.serve.ledger import Ledger, Reused
from limner.serve.ledger.tables import OPEN
from limner.serve.orders import Job, State
from tests.serve.ledger.orders import LATE, RICH, Clock, picture
from tests.serve.ledger.places import Place

DAY = 24 * 3600
FENCES = st.sampled_from([0, 0, 0, 0, 0, -1, 1])  # from the one that holds


class Killed(BaseException):
    """As what ends a program."""


@dataclass
class Model:
    """A job as it should be."""

    accepted: float
    deadline: float
    state: State = State.QUEUED
    fence: int = 0
    attempts: int = 0
    finished: float | None = None
    drawn: set[int] = field(default_factory=set)

    def end(self, state: State, now: float) -> None:
        self.state, self.finished = state, now

    def late(self, now: float) -> bool:
        """Deadlines are for the beginning."""
        waits = self.state is State.QUEUED and self.attempts == 0 and len(self.drawn) < RICH.count
        return waits and self.deadline <= now

    def held(self, fence: int) -> bool:
        return self.state is State.RUNNING and self.fence == fence

    def shows(self, job: Job) -> bool:
        return (job.state, job.fence, job.accepted, job.deadline, job.finished, {one.index for one in job.drawn}) == (
            self.state, self.fence, self.accepted, self.deadline, self.finished, self.drawn,
        )  # fmt: skip


class Machine(RuleBasedStateMachine):
    known = Bundle("known")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place, self.clock = place, Clock()
        self.ledger = Ledger.open(place.url, self.clock)
        self.models: dict[str, Model] = {}
        self.repeats: dict[str, tuple[str, str, float]] = {}  # an idempotency's body, job, and time

    def teardown(self) -> None:
        self.ledger.close()

    def few(self) -> bool:
        """Enough that they meet, and so few that much happens to each."""
        return len(self._ids(*OPEN)) < 3

    @precondition(lambda self: self.few())
    @rule(target=known, wait=st.sampled_from([-1, 0, 30, DAY, LATE]))
    def accept(self, wait: float) -> str:
        return self._accepted(wait, None)

    @precondition(lambda self: self.few())
    @rule(target=known, name=st.sampled_from("ab"), body=st.sampled_from("xxy"))
    def accept_once(self, name: str, body: str) -> str | object:
        earlier = self.repeats.get(name)
        if earlier is None or earlier[2] <= self.clock.now - DAY:
            job = self._accepted(DAY, (name, body))
            self.repeats[name] = (body, job, self.clock.now)
            return job
        if earlier[0] == body:
            job, new = self.ledger.accept(RICH, key=None, deadline=LATE, idempotency=(name, body))
            assert (job.id, new) == (earlier[1], False)
        else:
            with pytest.raises(Reused):
                self.ledger.accept(RICH, key=None, deadline=LATE, idempotency=(name, body))
        return multiple()

    @rule(job=known)
    def begin(self, job: str) -> None:
        model = self.models.get(job)
        expected = None
        if model and model.state is State.QUEUED:
            if model.late(self.clock.now):
                model.end(State.EXPIRED, self.clock.now)
            else:
                model.state, model.fence, model.attempts = State.RUNNING, model.fence + 1, model.attempts + 1
                expected = model.fence
        assert self.ledger.begin(job) == expected

    @rule(job=known, off=FENCES, index=st.integers(0, 2))
    def add(self, job: str, off: int, index: int) -> None:
        model, fence = self._with_fence(job, off)
        held = model is not None and model.held(fence)
        if model and held:
            model.drawn.add(index)
        assert self.ledger.add(job, fence, picture(index)) is held

    @rule(job=known, off=FENCES, state=st.sampled_from([State.DONE, State.FAILED]))
    def end(self, job: str, off: int, state: State) -> None:
        model, fence = self._with_fence(job, off)
        if model and model.held(fence):
            model.end(state, self.clock.now)
        stands = model is not None and (model.state, model.fence) == (state, fence)
        assert self.ledger.end(job, fence, state) is stands

    @rule(job=known)
    def cancel(self, job: str) -> None:
        model = self.models.get(job)
        if model is None:
            with pytest.raises(KeyError):
                self.ledger.cancel(job)
            return
        if not model.state.over:
            model.end(State.CANCELLED, self.clock.now)
        assert self.ledger.cancel(job) is model.state

    @rule(job=known, off=FENCES)
    def worker_dies(self, job: str, off: int) -> None:
        model, fence = self._with_fence(job, off)
        again = model is not None and model.held(fence) and model.attempts < 2
        if model and model.held(fence):
            if again:
                model.state = State.QUEUED
            else:
                model.end(State.FAILED, self.clock.now)
        assert self.ledger.requeue(job, fence) is again

    @rule()
    def server_starts_again(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.place.url, self.clock)
        for model in self.models.values():
            if model.state is State.RUNNING:
                model.state, model.attempts = State.QUEUED, model.attempts - 1
        assert [job.id for job in self.ledger.recover()] == self._ids(State.QUEUED)

    @rule(job=known)
    def server_dies_in_the_middle(self, job: str) -> None:
        """Of a transaction: nothing of it is written."""
        with contextlib.suppress(Killed), self.ledger._database.writing() as connection:
            connection.exec_driver_sql("UPDATE jobs SET state = 'done', fence = fence + 1")
            raise Killed
        self.server_starts_again()

    @rule()
    def expire(self) -> None:
        late = [job for job in self._ids(State.QUEUED) if self.models[job].late(self.clock.now)]
        for job in late:
            self.models[job].end(State.EXPIRED, self.clock.now)
        assert self.ledger.expire(self.clock.now) == late

    @rule(seconds=st.sampled_from([1, 31, 3600, DAY, -3600, -DAY]))
    def clock_jumps(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(age=st.sampled_from([-1, 0, 3600]))
    def forget(self, age: float) -> None:
        since = self.clock.now - age
        self.repeats = {name: one for name, one in self.repeats.items() if one[2] > self.clock.now - DAY}
        needed = {job for _, job, _ in self.repeats.values()}
        old = [job for job, one in self.models.items() if one.finished is not None and one.finished < since]
        gone = [job for job in old if job not in needed]
        for job in gone:
            del self.models[job]
        assert self.ledger.forget(since) == len(gone)

    @rule(job=consumes(known))
    def ask_no_more_about(self, job: str) -> None:
        found = self.ledger.get(job)
        assert (found is not None) is (job in self.models)

    @invariant()
    def both_say_the_same(self) -> None:
        found = self.ledger.of_key(None, 1000)
        assert [job.id for job in found] == list(self.models)[::-1]
        for job in found:
            assert self.models[job.id].shows(job), (job, self.models[job.id])
        assert [job.id for job in self.ledger.unfinished()] == self._ids(State.QUEUED, State.RUNNING)

    def _accepted(self, wait: float, given: tuple[str, str] | None) -> str:
        deadline = self.clock.now + wait
        job, new = self.ledger.accept(RICH, key=None, deadline=deadline, idempotency=given)
        assert new
        self.models[job.id] = Model(self.clock.now, deadline)
        return job.id

    def _with_fence(self, job: str, off: int) -> tuple[Model | None, int]:
        model = self.models.get(job)
        return model, off + (model.fence if model else 1)

    def _ids(self, *states: State) -> list[str]:
        return [job for job, one in self.models.items() if one.state in states]


def test_the_ledger_is_as_its_model(new_place: Callable[[], Place]) -> None:
    run_state_machine_as_test(
        lambda: Machine(new_place()),
        settings=settings(
            max_examples=30, stateful_step_count=40, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
