"""limner data: look at a folder of captioned pictures before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at captioned pictures before training on them.")

Data = Annotated[str, typer.Argument(metavar="PATH", help="A folder of captioned pictures, a .tar or a COCO .json.")]
Size = Annotated[int, typer.Option(min=1, help="The side of the model's pictures, in pixels.")]


@app.command()
def check(
    path: Data,
    size: Size = 128,
    length: Annotated[int, typer.Option(min=2, help="How many tokens the model's text encoder reads.")] = 48,
    tokenizer: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A model's tokenizer.json, to count with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Read everything once, change nothing, and report. Exit code 0: clean; 1: findings; 2: nothing usable."""
    import json

    from rich.console import Console
    from rich.progress import Progress

    from limner.data.people.check import check as check_data
    from limner.data.people.report import table
    from limner.text.bpe import BPE

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading")
        report = check_data(
            path,
            size=size,
            tokenizer=BPE.from_json(tokenizer.read_text("utf-8", "replace")) if tokenizer else None,
            length=length if tokenizer else None,
            watch=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
    else:
        Console().print(table(report))
    raise typer.Exit(report.exit_code)


@app.command()
def preview(
    path: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the sheet goes.")] = Path("sheet.png"),
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures to show.")] = 24,
    size: Size = 128,
) -> None:
    """Draw a contact sheet: pictures as the model will see them, with their captions."""
    from limner.data.people.preview import preview as draw_preview

    typer.echo(f"{output}: {draw_preview(path, output, size=size, count=count)} pictures")
