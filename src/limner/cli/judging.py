"""What `limner arena` does: gather pictures, serve the page, print what the votes say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table as Shown

from limner.cli import drawing
from limner.core import InputError, check
from limner.evaluate.arena.arena import Arena
from limner.evaluate.arena.entrants import Entrant, Folder, common, find
from limner.evaluate.arena.standings import Interval, Record, Standings, standings
from limner.evaluate.arena.studio import Progress as Drawn
from limner.evaluate.arena.studio import Studio
from limner.evaluate.arena.subjects import COUNT, Subject, numbered, of_scenes
from limner.evaluate.arena.votes import Votes
from limner.store import atomic_write

VOTES, PICTURES = "votes.sqlite", "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    runs: Sequence[str]
    prompts: Path | None
    scenes: str
    count: int | None
    seed: int
    steps: int | None
    guidance: float | None
    out: Path
    draw_first: bool
    host: str
    port: int


# ---------------------------------------------------------------------------------------------------
# Holding a session.


def hold(order: Order, *, say: Callable[[str], object]) -> None:
    """Draw what is missing and serve the page until somebody ends it."""
    serving = _serving()
    knobs = drawing.knobs([], steps=order.steps, guidance=order.guidance)
    entrants = find(order.runs, order.out / PICTURES, seed=order.seed, knobs=knobs, say=say)
    subjects = common(entrants, _asked(order, entrants), most=order.count)
    address = serving.Address.open(order.host, order.port)
    with closing(address.socket):
        order.out.mkdir(parents=True, exist_ok=True)
        with closing(Votes(order.out / VOTES)) as votes, _bar() as watch:
            session = votes.begin()
            studio = Studio(votes, session, entrants, subjects, watch)
            studio.draw() if order.draw_first else studio.start()
            about = f"{_counted(len(entrants), 'contestant')}, {_counted(len(subjects), 'prompt')}"
            say(f"{about}: open {address.url} (Ctrl-C ends it)")
            try:
                serving.serve(serving.application(Arena(votes, session, studio), address), address)
            finally:
                studio.stop()
            say(f"{_counted(len(votes), 'vote')} in {votes.path}; the table: limner arena --table {votes.path}")


def _serving() -> Any:
    """What is needed to serve, which is not installed everywhere."""
    try:
        return import_module("limner.serve.arena")
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in ("starlette", "uvicorn"):
            raise
        raise InputError(f'serving a page needs {missing}; pip install "limner[serve]"') from None


def _asked(order: Order, entrants: Sequence[Entrant]) -> list[Subject] | None:
    if order.prompts is not None:
        return numbered(drawing.prompts([], order.prompts))
    if any(isinstance(one, Folder) for one in entrants):
        return None
    return of_scenes(order.scenes, seed=order.seed, count=order.count or COUNT)


@contextmanager
def _bar() -> Iterator[Callable[[Drawn], object]]:
    """How far the drawing is, where there is a terminal to show it on."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", visible=False)

        def watch(drawn: Drawn) -> None:
            visible = drawn.drawn < drawn.total and not drawn.fault
            bar.update(task, completed=drawn.drawn, total=drawn.total, visible=visible)

        yield watch


# ---------------------------------------------------------------------------------------------------
# Reporting.


def check_options(*, runs: Sequence[str], table: Path | None, export: Path | None, as_json: bool) -> None:
    """Either a session or a table."""
    check(table is None or not runs, "--table prints and serves nothing; leave out the runs, or --table")
    check(table is not None or export is None, "--export needs --table VOTES.sqlite, whose votes it writes")
    check(table is not None or not as_json, "--json needs --table VOTES.sqlite, whose table it prints")


def report(path: Path, *, export: Path | None, as_json: bool) -> None:
    """Print the table of the votes at `path`; write them to `export`, if it is given."""
    with closing(Votes(path, create=False)) as file:
        votes = list(file)
    if export is not None:
        lines = [json.dumps(vote.to_json(), ensure_ascii=False) + "\n" for vote in votes]
        atomic_write(export, "".join(lines).encode())
    table = standings(votes)
    if as_json:
        print(json.dumps(table.to_json(), ensure_ascii=False, indent=1))
        return
    console = Console(markup=False, emoji=False, highlight=False)  # names are text, brackets and colons too
    for part in _parts(table):
        console.print(part, soft_wrap=isinstance(part, str))


def _parts(table: Standings) -> Iterator[Shown | str]:
    if not table.votes:
        yield "There are no votes yet"
        return
    title = f"{_counted(table.votes, 'vote')} on {_counted(table.prompts, 'prompt')}"
    ratings = _table(["", "rating", "95 %", "won", "tied", "lost"], title)
    for row in table.standings:
        ratings.add_row(row.name, f"{row.rating:.0f}", _between(row.interval, "{:.0f}"), *_record(row.record))
    yield ratings
    duels = _table(["", "lead", "95 %", "won", "tied", "lost", "better"], "duels")
    for duel in table.duels:
        names, lead = f"{duel.first} against {duel.second}", f"{duel.lead:+.0f}"
        duels.add_row(names, lead, _between(duel.interval, "{:+.0f}"), *_record(duel.record), duel.verdict)
    yield duels
    yield f"ties {table.ties} % of {table.ties.trials}; left {table.left} % of {table.left.trials} that were decided"
    yield from (f"note: {note}" for note in table.notes)


def _table(columns: Sequence[str], title: str) -> Shown:
    shown = Shown(*columns, title=title, box=SIMPLE, pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    return shown


def _between(interval: Interval, form: str) -> str:
    return " to ".join(map(form.format, interval))


def _record(record: Record) -> tuple[str, str, str]:
    return str(record.won), str(record.tied), str(record.lost)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
