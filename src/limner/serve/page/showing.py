"""Pictures and lines as HTML. Every text that comes from outside goes through `escape`.

It is shown by a component that also reads Markdown: what has no empty line and begins with a tag is not taken for any.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape as escaped
from typing import Any

from PIL import Image

from limner.core import parse
from limner.provenance import Settings, encode
from limner.serve.orders import Drawn, Job
from limner.serve.studio.events import Preview

FILES = "/v1/images/files"
EMPTY = '<div class="easel empty"><p>Your picture comes here.</p></div>'


def escape(text: str) -> str:
    """As text, in one line."""
    return escaped(" ".join(text.split()), quote=True)


def finished(drawn: Drawn) -> str:
    """A picture at its own address, which leads to the file."""
    name = f"{FILES}/{drawn.digest}.png"
    settings = drawn.settings
    said = escape(str(settings["prompt"]) or "a picture without a prompt")
    size = f'width="{int(settings["width"])}" height="{int(settings["height"])}"'
    save = f"{escape(settings['model'])}-{int(settings['seed'])}.png"
    return f'<a href="{name}" download="{escape(save)}"><img src="{name}" alt="{said}" {size}></a>'


def running(event: Preview) -> str:
    """The estimate so far."""
    height, width = event.size
    image = Image.frombytes("RGB", (width, height), event.pixels)
    out = io.BytesIO(encode(image, "PNG", parse(Settings, event.settings, "preview")))
    data = base64.b64encode(out.getvalue()).decode()
    step = f"step {event.step} of {event.steps}"
    return f'<img class="running" src="data:image/png;base64,{data}" alt="{step}" width="{width}" height="{height}">'


def easel(pictures: Mapping[int, str], count: int) -> str:
    """All pictures of a drawing, each in its place."""
    places = [pictures.get(index, '<div class="waiting"></div>') for index in range(count)]
    return f'<div class="easel n{min(count, 4)}">{"".join(places)}</div>' if places else EMPTY


def line(text: str, *, share: float | None = None, wrong: bool = False) -> str:
    """What is going on, in words; and as a bar where a share of it is done."""
    kind = "line wrong" if wrong else "line"
    bar = "" if share is None else f'<progress max="1" value="{min(1.0, max(0.0, share)):.3f}"></progress>'
    return f'<div class="{kind}" role="status" aria-live="polite"><span>{escape(text)}</span>{bar}</div>'


def table(rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[int, int], str]) -> str:
    """Pictures by two knobs."""
    head = "".join(f"<th>{escape(one)}</th>" for one in columns)
    body = "".join(
        f"<tr><th>{escape(row)}</th>"
        + "".join(f"<td>{cells.get((y, x), '')}</td>" for x in range(len(columns)))
        + "</tr>"
        for y, row in enumerate(rows)
    )
    return f'<table class="grid"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'


def beside(names: Sequence[str], pictures: Sequence[str]) -> str:
    """Pictures with the names of who drew them."""
    figures = "".join(
        f"<figure>{picture or '<div class=waiting></div>'}<figcaption>{escape(name)}</figcaption></figure>"
        for name, picture in zip(names, pictures, strict=True)
    )
    return f'<div class="beside">{figures}</div>'


def about(job: Job, drawn: Drawn) -> str:
    """What a picture was drawn with."""
    settings: dict[str, Any] = drawn.settings
    order = job.order
    pairs = {
        "Prompt": order.prompt, "Not": order.negative_prompt, "Model": order.model, "Seed": settings["seed"],
        "Size": f"{settings['width']} x {settings['height']}",
        **{key.replace("_", " "): value for key, value in settings["knobs"].items()},
    }  # fmt: skip
    told = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in pairs.items() if value != ""
    )
    return f'<dl class="about">{told}</dl>'
