"""A report: sections of words, tables and pictures; JSON for programs, Markdown and HTML for people."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from limner.store import atomic_write

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; image-rendering: auto; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } th, td { border-color: #444; } }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """`columns` and `rows` are the cells of a table, as text; `pictures` go by what stands below them."""

    heading: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """`data` is what `report.json` holds: every number with its doubt, and how it came about."""

    title: str
    lead: str
    sections: Sequence[Section]
    data: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """`report.json`, `report.md`, `report.html`, and the pictures in `pictures/`."""
        shown = folder / "pictures"
        shown.mkdir(parents=True, exist_ok=True)
        for number, section in enumerate(self.sections):
            for place, picture in enumerate(section.pictures.values()):
                picture.save(shown / _name(number, place))
        markdown = "\n".join(self._lines())
        atomic_write(folder / "report.md", markdown.encode())
        atomic_write(folder / "report.html", _page(self.title, markdown).encode())
        atomic_write(folder / "report.json", json.dumps(self.data, ensure_ascii=False, indent=1).encode())

    def _lines(self) -> Iterator[str]:
        yield f"# {_plain(self.title)}\n"
        yield f"{self.lead}\n"
        for number, section in enumerate(self.sections):
            yield f"## {_plain(section.heading)}\n"
            if section.columns:
                yield table(section.columns, section.rows)
            if section.text:
                yield f"{section.text}\n"
            for place, below in enumerate(section.pictures):
                yield f"![{_plain(below)}](pictures/{_name(number, place)})\n"
                yield f"{_plain(below)}\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, the first column to the left and the others to the right."""
    marks = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in (columns, marks, *rows)) + "\n"


def _name(section: int, place: int) -> str:
    return f"{section:02}-{place:02}.png"


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """A prompt is shown as it is: neither a line's end nor a mark in it means anything."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")


def _page(title: str, markdown: str) -> str:
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
