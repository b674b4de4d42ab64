"""What is told of a job: the last event always comes, and who is slow misses previews and steps alone."""

from __future__ import annotations

import asyncio

import pytest

from limner.serve.orders import Drawn, State
from limner.serve.studio import events
from limner.serve.studio.events import MOST_BEHIND, Event, Listener, Over, Preview, Progress


async def heard(listener: Listener) -> list[Event]:
    return [event async for event in listener]


def step(number: int) -> Progress:
    return Progress(index=0, step=number, steps=10**6)


def test_all_is_heard_in_order_until_it_is_over() -> None:
    async def go() -> list[Event]:
        listener = Listener()
        for number in range(5):
            listener.tell(step(number))
        listener.tell(Over(state=State.DONE))
        listener.tell(step(9))
        return await heard(listener)

    assert asyncio.run(go()) == [*(step(number) for number in range(5)), Over(state=State.DONE)]


def test_who_is_slow_misses_steps_and_no_picture() -> None:
    async def go() -> list[Event]:
        listener = Listener()
        for number in range(10 * MOST_BEHIND):
            listener.tell(step(number))
            if number % 100 == 0:
                listener.tell(Drawn(index=number, digest="0" * 64, settings={}))
        listener.tell(Over(state=State.DONE))
        return await heard(listener)

    found = asyncio.run(go())
    assert len(found) <= MOST_BEHIND + 2
    assert [one.index for one in found if isinstance(one, Drawn)] == list(range(0, 10 * MOST_BEHIND, 100))
    assert found[-1] == Over(state=State.DONE)


def test_who_waits_is_woken() -> None:
    async def go() -> list[Event]:
        listener = Listener()
        hearing = asyncio.create_task(heard(listener))
        await asyncio.sleep(0)
        listener.tell(step(1))
        await asyncio.sleep(0)
        listener.tell(Over(state=State.CANCELLED))
        return await asyncio.wait_for(hearing, 5)

    assert asyncio.run(go()) == [step(1), Over(state=State.CANCELLED)]


def test_closed_is_closed() -> None:
    async def go() -> list[Event]:
        listener = Listener()
        listener.tell(step(1))
        listener.close()
        return await asyncio.wait_for(heard(listener), 5)

    assert asyncio.run(go()) == []


def test_previews_that_nobody_has_seen_take_up_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_BYTES", 1000)

    async def go() -> list[Event]:
        listener = Listener()
        for number in range(20):
            listener.tell(preview(number, bytes(300)))
        listener.tell(Drawn(index=0, digest="0" * 64, settings={}))
        listener.tell(Over(state=State.DONE))
        return await heard(listener)

    found = asyncio.run(go())
    assert [one.step for one in found if isinstance(one, Preview)] == [17, 18, 19]
    assert len(found) == 5


def test_who_gives_up_waiting_and_comes_again_has_missed_nothing() -> None:
    async def go() -> list[Event]:
        listener = Listener()
        waiting = asyncio.create_task(anext(listener))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        listener.tell(step(1))
        listener.tell(Over(state=State.DONE))
        return await asyncio.wait_for(heard(listener), 5)

    assert asyncio.run(go()) == [step(1), Over(state=State.DONE)]


def preview(number: int, pixels: bytes) -> Preview:
    return Preview(index=0, step=number, steps=20, pixels=pixels, size=(10, 10), settings={})
