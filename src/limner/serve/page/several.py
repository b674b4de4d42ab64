"""Several drawings at once: two models beside one another, and a grid over two knobs."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from limner.core import check
from limner.serve.catalogue import Model
from limner.serve.orders import Order
from limner.serve.page import knobs
from limner.serve.page.drawing import Sessions, Shown, drawing
from limner.serve.service import Service

MOST_CELLS = 16


async def all_of(
    service: Service, sessions: Sessions, request: gr.Request, orders: Sequence[Order]
) -> AsyncIterator[tuple[list[str], str, bool]]:
    """The pictures of all orders, of one picture each, as they come; what there is to say, and whether it is wrong."""
    news: asyncio.Queue[tuple[int, Shown] | None] = asyncio.Queue()

    async def follow(number: int, order: Order) -> None:
        async for shown in drawing(service, sessions, request, order):
            await news.put((number, shown))
        await news.put(None)

    following = [asyncio.create_task(follow(number, order)) for number, order in enumerate(orders)]
    pictures, wrong, ended = [""] * len(orders), "", 0
    try:
        while ended < len(orders):
            told = await news.get()
            if told is None:
                ended += 1
            else:
                number, shown = told
                pictures[number] = shown.pictures.get(0, pictures[number])
                wrong = shown.said if shown.wrong else wrong
            if news.empty():
                yield pictures, wrong or f"{ended} of {len(orders)} done", bool(wrong)
    finally:
        for task in following:
            task.cancel()


def grid(order: Order, model: Model, rows: tuple[str, str], columns: tuple[str, str]) -> list[list[Order]]:
    """The same picture with other values of two knobs, each a name and its values with commas between."""
    down, across = (values(model, *one) for one in (rows, columns))
    count = len(down) * len(across)
    check(count <= MOST_CELLS, f"{len(down)} times {len(across)} are {count} pictures, and at most {MOST_CELLS} fit")
    return [
        [_with(order, {rows[0]: row, columns[0]: column}) for column in across] for row in down
    ]  # fmt: skip


def values(model: Model, name: str, text: str) -> list[Any]:
    """The values of a knob that are written with commas between; InputError where one is none."""
    check(model.has(name), f"{model.name} has no knob {name}")
    kind = typing.get_type_hints(model.knobs)[name]
    found = [_value(kind, part.strip(), name) for part in text.split(",") if part.strip()]
    check(len(found) > 0, f"there is no value of {name}: write 10, 20, 40, say")
    for value in found:
        model.check_knobs({name: value})
    return found


def _with(order: Order, more: dict[str, Any]) -> Order:
    return replace(order, knobs={**order.knobs, **more}, previews=2)


def _value(kind: Any, text: str, name: str) -> Any:
    if kind is str or knobs.choices(kind):
        return text
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    check(number == number, f"{name} = {text[:40]!r} is no number")
    return knobs.read(kind, number, name)
