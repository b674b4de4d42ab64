"""`limner`: the commands, and what a person sees of an error: one line that says what to do."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import limner
from limner.cli import data, keys
from limner.cli.arena import arena
from limner.cli.compare import compare
from limner.cli.convert import convert
from limner.cli.draw import draw
from limner.cli.eval import evaluate
from limner.cli.monitor import monitor
from limner.cli.score import score
from limner.cli.serve import serve
from limner.cli.show import info, models, rerun
from limner.cli.train import train

WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130
COLLECT = 20_000  # new objects, before those without an owner are looked for

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Text in, picture out."
)
for command in (draw, train, score, compare, arena, serve, monitor, info, rerun, models, convert):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"limner {limner.__version__}")
        raise typer.Exit


@app.callback()
def _limner(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Text in, picture out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. 2: the input was wrong; 1: it did not go well; 130: interrupted."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # prompts may hold what a terminal cannot
    _collect_less()
    try:
        code = typer.main.get_command(app).main(argv, prog_name="limner", standalone_mode=False)
    except typer.TyperException as error:
        return _say(error.format_message() or "a command is missing; see limner --help", WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    except OSError as error:
        what = error.strerror or str(error)
        return _say(f"{error.filename}: {what}" if error.filename else what, FAILED)
    except ValueError as error:
        from limner.core import InputError  # which costs the import of torch, paid already if this is one

        if not isinstance(error, InputError):
            raise
        return _say(str(error), WRONG_INPUT)
    if code == INTERRUPTED:  # which typer has made of the interrupt
        return _say("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _collect_less() -> None:
    """The quarter of a million objects that torch consists of stay until the end. To look among them for what has no
    owner, when they are made and once more at the exit, takes half a second of each command."""
    gc.set_threshold(COLLECT, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _say(message: str, code: int) -> int:
    typer.echo(f"limner: {' '.join(message.split())}", err=True)
    return code
