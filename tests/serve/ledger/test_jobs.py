"""A job's way: accepted, given out, drawn, over; and what an old fence may do, which is nothing."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from limner.core import InputError
from limner.serve.ledger import Ledger, Reused
from limner.serve.orders import Job, Order, State
from tests.serve.ledger.orders import LATE, PLAIN, RICH, START, Clock, accepted, picture
from tests.serve.ledger.places import Place

HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(place: Place, clock: Clock) -> Iterator[Ledger]:
    with closing(Ledger.open(place.url, clock)) as found:
        yield found


def known(ledger: Ledger, job: Job) -> Job:
    found = ledger.get(job.id)
    assert found is not None
    return found


def test_an_order_is_read_as_it_was_given(ledger: Ledger) -> None:
    assert known(ledger, endless := accepted(ledger, deadline=math.inf)) == endless
    for order in (PLAIN, RICH):
        job = accepted(ledger, order)
        assert known(ledger, job) == job
        assert (job.order, job.state, job.fence, job.accepted, job.deadline) == (order, State.QUEUED, 0, START, LATE)
    assert ledger.get("no such job") is None


def test_a_job_is_drawn_and_done(ledger: Ledger, clock: Clock) -> None:
    job = accepted(ledger, RICH)
    assert ledger.begin(job.id) == 1
    assert known(ledger, job).state is State.RUNNING
    for index in (2, 0, 1):
        assert ledger.add(job.id, 1, picture(index))
    clock.now += 5
    assert ledger.end(job.id, 1, State.DONE)
    after = known(ledger, job)
    assert (after.state, after.finished, after.error) == (State.DONE, START + 5, None)
    assert after.drawn == (picture(0), picture(1), picture(2))


def test_only_what_is_queued_is_given_out(ledger: Ledger) -> None:
    job = accepted(ledger)
    assert [ledger.begin(job.id), ledger.begin(job.id), ledger.begin("no such job")] == [1, None, None]


def test_of_eight_who_begin_a_job_one_has_it(ledger: Ledger) -> None:
    job = accepted(ledger)
    with ThreadPoolExecutor(8) as threads:
        fences = list(threads.map(ledger.begin, [job.id] * 8))
    assert sorted(fences, key=str) == [1, *[None] * 7]


def test_an_old_fence_writes_nothing(ledger: Ledger) -> None:
    job = accepted(ledger)
    assert ledger.begin(job.id) == 1
    assert ledger.requeue(job.id, 1)
    for fence in (0, 1):  # queued again, and nobody's
        assert not ledger.add(job.id, fence, picture())
        assert not ledger.end(job.id, fence, State.DONE)
        assert not ledger.requeue(job.id, fence)
    assert ledger.begin(job.id) == 2
    before = known(ledger, job)
    for fence in (0, 1, 3):
        assert not ledger.add(job.id, fence, picture())
        assert not ledger.end(job.id, fence, State.FAILED, "late")
        assert not ledger.requeue(job.id, fence)
    assert known(ledger, job) == before
    assert ledger.add(job.id, 2, picture())
    assert ledger.end(job.id, 2, State.DONE)


def test_a_picture_counts_once_and_the_first_one_stays(ledger: Ledger) -> None:
    job = accepted(ledger, RICH)
    assert ledger.begin(job.id) == 1
    other = dataclasses.replace(picture(), digest="f" * 64)
    assert [ledger.add(job.id, 1, one) for one in (picture(), other)] == [True, True]
    assert known(ledger, job).drawn == (picture(),)


@pytest.mark.parametrize("index", [-1, 1])
def test_a_picture_that_was_not_ordered_is_refused(ledger: Ledger, index: int) -> None:
    job = accepted(ledger)
    assert ledger.begin(job.id) == 1
    with pytest.raises(InputError, match=f"picture {index} is not one of the 1"):
        ledger.add(job.id, 1, picture(index))


def test_an_end_is_an_end_and_may_be_told_again(ledger: Ledger) -> None:
    job = accepted(ledger)
    ledger.begin(job.id)
    assert ledger.end(job.id, 1, State.FAILED, "no memory \ud83d \0")
    assert ledger.end(job.id, 1, State.FAILED)
    assert not ledger.end(job.id, 1, State.DONE)
    assert not ledger.end(job.id, 2, State.FAILED)
    after = known(ledger, job)
    assert (after.state, after.error) == (State.FAILED, "no memory ? ?")
    assert ledger.begin(job.id) is None
    with pytest.raises(InputError, match="has not ended"):
        ledger.end(job.id, 1, State.RUNNING)


def test_a_cancelled_job_is_given_out_and_written_to_no_more(ledger: Ledger) -> None:
    queued, running, done = (accepted(ledger) for _ in range(3))
    for job in (running, done):
        ledger.begin(job.id)
    ledger.end(done.id, 1, State.DONE)
    assert [ledger.cancel(job.id) for job in (queued, running, done)] == [State.CANCELLED, State.CANCELLED, State.DONE]
    assert ledger.begin(queued.id) is None
    assert not ledger.add(running.id, 1, picture())
    assert not ledger.end(running.id, 1, State.DONE)
    assert known(ledger, running).finished == START
    assert ledger.unfinished() == []


STRANGE = ["", "\0", "\ud800", "' OR 1=1 --", "%", "0" * 32, "٠" * 32, "A" * 10**6]


@pytest.mark.parametrize("job_id", STRANGE, ids=range(len(STRANGE)))
def test_a_job_that_is_not_known_is_nobodys(ledger: Ledger, job_id: str) -> None:
    job = accepted(ledger)
    assert ledger.get(job_id) is None
    assert ledger.begin(job_id) is None
    assert ledger.of_key(None, 10, job_id) == []
    assert not ledger.add(job_id, 1, picture())
    assert not ledger.end(job_id, 1, State.DONE)
    assert not ledger.requeue(job_id, 1)
    with pytest.raises(KeyError):
        ledger.cancel(job_id)
    assert ledger.unfinished() == [job]


def test_a_job_whose_worker_dies_again_has_failed(ledger: Ledger) -> None:
    job = accepted(ledger, RICH)
    assert ledger.begin(job.id) == 1
    ledger.add(job.id, 1, picture(1))
    assert ledger.requeue(job.id, 1)
    assert known(ledger, job).drawn == (picture(1),)
    assert ledger.begin(job.id) == 2
    assert not ledger.requeue(job.id, 2)
    after = known(ledger, job)
    assert after.state is State.FAILED
    assert "may be tried again" in str(after.error)
    assert after.finished == START


def test_what_is_late_expires_and_is_not_begun(ledger: Ledger, clock: Clock) -> None:
    late, later, running = (accepted(ledger, deadline=START + 10 + n) for n in range(3))
    ledger.begin(running.id)
    assert ledger.expire(START + 9.9) == []
    assert ledger.expire(START + 10) == [late.id]
    assert known(ledger, late).state is State.EXPIRED
    clock.now = START + 100
    assert ledger.begin(later.id) is None
    assert known(ledger, later).state is State.EXPIRED
    assert ledger.expire(START + 100) == []
    assert known(ledger, running).state is State.RUNNING


def test_what_was_begun_in_time_may_be_begun_again_after_its_time(ledger: Ledger, clock: Clock) -> None:
    """A worker died of one, and all that lacked to the other was its end."""
    lost, whole = accepted(ledger, deadline=START + 10), accepted(ledger, deadline=START + 10)
    for job in (lost, whole):
        assert ledger.begin(job.id) == 1
    clock.now = START + 100
    assert ledger.requeue(lost.id, 1)
    for index in range(whole.order.count):
        assert ledger.add(whole.id, 1, picture(index))
    ledger.recover()
    assert ledger.expire(clock.now) == []
    assert [ledger.begin(job.id) for job in (lost, whole)] == [2, 2]


def test_a_new_server_finds_what_the_last_one_left(place: Place, ledger: Ledger) -> None:
    """The end of a server takes no attempt: a worker may still die once."""
    queued, running, done = (accepted(ledger, RICH) for _ in range(3))
    for job in (running, done):
        ledger.begin(job.id)
    ledger.add(running.id, 1, picture(2))
    ledger.end(done.id, 1, State.DONE)
    ledger.close()
    with closing(Ledger.open(place.url)) as again:
        found = again.recover()
        assert [job.id for job in found] == [queued.id, running.id]
        assert {job.state for job in found} == {State.QUEUED}
        assert found[1].drawn == (picture(2),)
        assert not again.add(running.id, 1, picture())
        assert again.begin(running.id) == 2
        assert again.requeue(running.id, 2)


def test_unfinished_jobs_come_in_order_of_acceptance_whatever_the_clock_says(ledger: Ledger, clock: Clock) -> None:
    ids = []
    for hours in (0, 5, -9, 2):
        clock.now = START + hours * HOUR
        ids.append(accepted(ledger).id)
    ledger.begin(ids[1])
    assert [job.id for job in ledger.unfinished()] == ids


def test_a_gallery_is_a_keys_own_newest_first_by_pages(ledger: Ledger) -> None:
    (one, _), (two, _) = ledger.keys.add("one"), ledger.keys.add("two")
    mine = [accepted(ledger, RICH, key=one.id) for _ in range(5)]
    other, nobody = accepted(ledger, key=two.id), accepted(ledger)
    for job in mine:
        ledger.begin(job.id)
        ledger.add(job.id, 1, picture(0))
        ledger.add(job.id, 1, picture(1))
    first = ledger.of_key(one.id, 2)
    assert [job.id for job in first] == [mine[4].id, mine[3].id]
    assert first[0].drawn == (picture(0), picture(1))
    rest = ledger.of_key(one.id, 10, first[-1].id)
    assert [job.id for job in rest] == [mine[2].id, mine[1].id, mine[0].id]
    assert [job.id for job in ledger.of_key(two.id, 9)] == [other.id]
    assert [job.id for job in ledger.of_key(None, 9)] == [nobody.id]


def test_old_jobs_are_forgotten_with_their_pictures(place: Place, ledger: Ledger, clock: Clock) -> None:
    old, fresh, queued = (accepted(ledger) for _ in range(3))
    for job in (old, fresh):
        ledger.begin(job.id)
        ledger.add(job.id, 1, picture())
        ledger.end(job.id, 1, State.DONE)
        clock.now += HOUR
    assert ledger.forget(START + HOUR) == 1
    assert ledger.get(old.id) is None
    assert known(ledger, fresh).drawn == (picture(),)
    assert known(ledger, queued).state is State.QUEUED
    assert place.run("SELECT count(*) FROM drawn") == [(1,)]


def test_the_pictures_of_unfinished_jobs_are_pinned(ledger: Ledger) -> None:
    done, running = accepted(ledger, dataclasses.replace(RICH, image="d" * 64)), accepted(ledger, RICH)
    for job in (done, running):
        ledger.begin(job.id)
    ledger.add(done.id, 1, picture(1))
    ledger.add(running.id, 1, picture(0))
    ledger.end(done.id, 1, State.DONE)
    assert ledger.pinned() == {"a" * 64, "b" * 64, picture(0).digest}


def test_what_is_no_json_is_refused_before_it_is_written(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="cannot be written down"):
        ledger.accept(dataclasses.replace(PLAIN, knobs={"guidance": float("nan")}), key=None, deadline=LATE)
    with pytest.raises(InputError, match="cannot be written down"):
        ledger.accept(dataclasses.replace(PLAIN, knobs={"guidance": object()}), key=None, deadline=LATE)
    with pytest.raises(InputError, match="no number"):
        ledger.accept(PLAIN, key=None, deadline=float("nan"))
    assert ledger.unfinished() == []


# ---------------------------------------------------------------------------------------------------
# Requests that come twice.


def test_a_request_that_comes_again_is_the_same_job(place: Place, ledger: Ledger) -> None:
    key, _ = ledger.keys.add("one")
    job, new = ledger.accept(PLAIN, key=key.id, deadline=LATE, idempotency=("\ud83d" * 300, "body"))
    ledger.begin(job.id)
    again, new_again = ledger.accept(PLAIN, key=key.id, deadline=LATE + 9, idempotency=("\ud83d" * 300, "body"))
    assert (new, new_again) == (True, False)
    assert again == known(ledger, job)
    assert ledger.repeated(key=key.id, idempotency=("\ud83d" * 300, "body")) == again
    ledger.close()
    with closing(Ledger.open(place.url, Clock(START + 23 * HOUR))) as later:
        assert later.accept(PLAIN, key=key.id, deadline=LATE, idempotency=("\ud83d" * 300, "body"))[0].id == job.id


def test_another_body_with_the_same_key_is_refused(ledger: Ledger) -> None:
    job, _ = ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=("once", "body"))
    with pytest.raises(Reused, match="a key of its own"):
        ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=("once", "other body"))
    with pytest.raises(Reused):
        ledger.repeated(key=None, idempotency=("once", "other body"))
    assert [one.id for one in ledger.unfinished()] == [job.id]


def test_the_same_idempotency_of_other_keys_is_another_request(ledger: Ledger) -> None:
    keys = [None, *(ledger.keys.add(name)[0].id for name in ("one", "two"))]
    made = [ledger.accept(PLAIN, key=key, deadline=LATE, idempotency=("once", str(key))) for key in keys]
    assert [new for _, new in made] == [True, True, True]


def test_a_request_may_come_again_for_a_day(ledger: Ledger, clock: Clock) -> None:
    """Its job is kept as long, though it was over before."""
    given = ("once", "body")
    job, _ = ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=given)
    ledger.cancel(job.id)
    clock.now = START + 24 * HOUR - 1
    assert ledger.forget(clock.now) == 0
    assert ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=given) == (known(ledger, job), False)
    clock.now = START + 24 * HOUR
    assert ledger.repeated(key=None, idempotency=given) is None
    second, new = ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=("once", "other body"))
    assert new
    assert second.id != job.id
    assert ledger.forget(clock.now) == 1


def test_identical_requests_at_once_make_one_job(ledger: Ledger) -> None:
    ready = threading.Barrier(8)

    def ask(number: int) -> tuple[str, bool]:
        ready.wait()
        job, new = ledger.accept(PLAIN, key=None, deadline=LATE, idempotency=(f"request {number // 8}", "body"))
        return job.id, new

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(80)))
    assert len(ledger.unfinished()) == 10
    assert sum(new for _, new in answers) == 10
    for one in range(10):
        assert len({job_id for job_id, _ in answers[8 * one : 8 * one + 8]}) == 1


# ---------------------------------------------------------------------------------------------------
# Many at once.


def test_eight_who_write_at_once_are_told_of_no_lock(ledger: Ledger) -> None:
    """Each accepts and works 100 jobs, while others read."""
    fresh = Order(model="tiny", prompt="many", seed=0)

    def work(_: int) -> list[str]:
        done = []
        for _ in range(100):
            job = accepted(ledger, fresh)
            fence = ledger.begin(job.id)
            assert fence == 1
            assert ledger.add(job.id, fence, picture())
            assert ledger.end(job.id, fence, State.DONE)
            done.append(job.id)
        return done

    def look(_: int) -> int:
        return max(len(ledger.unfinished()) for _ in range(50))

    with ThreadPoolExecutor(10) as threads:
        looking = threads.map(look, range(2))
        written = [one for ids in threads.map(work, range(8)) for one in ids]
        assert max(looking) <= 8
    assert len(set(written)) == 800
    found = ledger.of_key(None, 1000)
    assert {job.id for job in found} == set(written)
    assert all(job.state is State.DONE and job.drawn == (picture(),) for job in found)
