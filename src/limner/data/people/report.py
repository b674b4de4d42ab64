"""What `limner data check` says: findings by kind, sizes and losses, as data and as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.core import unparse

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = 5

KINDS: Mapping[str, tuple[bool, str]] = {
    "unreadable": (True, "remove them or put a good copy in their place"),
    "truncated": (True, "fetch them again: the file ends before the picture does"),
    "malformed": (True, "mend or remove the entry"),
    "missing caption": (True, "write one, or keep it: the picture trains the empty prompt"),
    "empty caption": (True, "write one, or keep it: the picture trains the empty prompt"),
    "cut caption": (True, "shorten it: the text encoder does not see its end"),
    "leakage": (True, "remove the copy or keep all of them in one split: the validation loss is not honest"),
    "equal files": (True, "keep one of them"),
    "equal pixels": (True, "keep one of them"),
    "near duplicates": (False, "look at them; copies are learnt by heart"),
    "smaller than the model": (False, "they are enlarged and look soft; larger originals would help"),
    "more than half cropped away": (False, "crop by hand what matters"),
    "not used": (False, "nothing refers to them; list them, or remove them"),
}
"""Every kind of finding: whether it matters for the exit code, and the remedy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`places` are files, with a line where there is one; a group of copies is one finding."""

    kind: str
    places: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes in pixels, upright; `aspect` is width by height; `cropped` is the share of a picture that is cut off."""

    width: Spread
    height: Spread
    aspect: Spread
    cropped: Spread
    enlarged: int


@dataclass(frozen=True, slots=True)
class Report:
    """`held_out`: the validation split is ours, not the folder's. `length`: what became of the captions' length."""

    path: str
    layout: str
    size: int
    pictures: int
    readable: int
    captions: int
    splits: Mapping[str, int]
    held_out: bool
    length: str
    shape: Shape | None
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0: nothing to mend; 1: findings that matter; 2: nothing that can be used."""
        if not self.readable:
            return 2
        return int(any(KINDS[one.kind][0] for one in self.findings))

    def to_json(self) -> dict[str, Any]:
        counts = Counter(one.kind for one in self.findings)
        plain: dict[str, Any] = unparse(self)
        return {**plain, "counts": {kind: counts[kind] for kind in KINDS}, "exit_code": self.exit_code}


def table(report: Report) -> Group:
    """For a terminal: the folder, then its findings with the first few places of each kind."""
    from rich.console import Group

    return Group(_facts(report), _findings(report), _verdict(report))


def _facts(report: Report) -> Any:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, title=Text(report.path), title_justify="left")
    how = "held out by the content of the files" if report.held_out else "as the folder says"
    rows = [
        ("layout", report.layout),
        ("pictures", f"{report.readable} of {report.pictures} can be read"),
        ("captions", f"{report.captions}; {report.length}"),
        ("splits", f"{', '.join(f'{name} {count}' for name, count in report.splits.items())}; {how}"),
    ]
    if report.shape is not None:
        rows += _shape_rows(report.shape, report.size)
    for name, value in rows:
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid


def _shape_rows(shape: Shape, size: int) -> list[tuple[str, str]]:
    cropped = shape.cropped
    return [
        ("width", _spread(shape.width, ".0f")),
        ("height", _spread(shape.height, ".0f")),
        ("width / height", _spread(shape.aspect, ".2f")),
        ("at this size", f"{size} x {size}: {shape.enlarged} enlarged; cropped away {_spread(cropped, '.0%')}"),
    ]


def _spread(spread: Spread, form: str) -> str:
    return f"{spread.low:{form}} to {spread.high:{form}}, median {spread.median:{form}}"


def _findings(report: Report) -> Any:
    from rich.table import Table
    from rich.text import Text

    rows = Table(show_edge=False, pad_edge=False, expand=False)
    for title in ("finding", "count", "where", "remedy"):
        rows.add_column(title, justify="right" if title == "count" else "left", overflow="fold")
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for one in report.findings:
        by_kind[one.kind].append(one)
    for kind, (matters, remedy) in KINDS.items():
        if kind in by_kind:
            style = "yellow" if matters else ""
            cells = (kind, str(len(by_kind[kind])), _places(by_kind[kind]), remedy)
            rows.add_row(*(Text(cell, style=style) for cell in cells), end_section=True)
    return rows if by_kind else Text("")


def _places(findings: list[Finding]) -> str:
    lines = []
    for one in findings[:SHOWN]:
        places = " = ".join(one.places[:SHOWN]) + (f" and {len(one.places) - SHOWN} more" if one.places[SHOWN:] else "")
        lines.append(f"{places}: {one.message}" if one.message else places)
    if findings[SHOWN:]:
        lines.append(f"and {len(findings) - SHOWN} more: --json lists them all")
    return "\n".join(lines)


def _verdict(report: Report) -> Any:
    from rich.text import Text

    said = {0: ("clean: nothing to mend", "green"), 1: ("usable, with the findings above", "yellow")}
    words, style = said.get(report.exit_code, ("no picture can be used", "red"))
    return Text(words, style=style)
