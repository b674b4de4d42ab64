"""limner data: look at a folder of captioned pictures before training on it, or make one with canaries in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at captioned pictures before training on them.")

Data = Annotated[str, typer.Argument(metavar="PATH", help="A folder of captioned pictures, a .tar or a COCO .json.")]
Size = Annotated[int, typer.Option(min=1, help="The side of the model's pictures, in pixels.")]
Model = Annotated[
    str | None, typer.Option(help="Check for this model: a name that `limner models` lists, or a folder.")
]


@app.command()
def check(
    path: Data,
    model: Model = None,
    size: Annotated[int | None, typer.Option(min=1, help="Instead of the side of the model's pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Read everything once, change nothing, and report. Exit code 0: clean; 1: findings; 2: nothing usable.

    Sizes and the length of captions are held against a model's: the shipped one's unless another is named.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress

    from limner import families
    from limner.data.people.check import check as check_data
    from limner.data.people.report import table
    from limner.shelf import DEFAULT, find_model

    family = families.load(find_model(model or DEFAULT))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading")
        report = check_data(
            path,
            size=size or family.config.image_size,
            tokenizer=family.tokenizer,
            length=family.config.text.length,
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


@app.command()
def canaries(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write: a new or an empty one.")],
    pictures: Annotated[int, typer.Option(help="How many scenes to train on.")] = 20_000,
    each: Annotated[int, typer.Option(help="How many canaries for each number of copies.")] = 10,
    held_out: Annotated[int, typer.Option(help="How many scenes to hold out.")] = 400,
    size: Size = 128,
    seed: Annotated[int, typer.Option(help="Another one gives other scenes and other canaries.")] = 0,
) -> None:
    """Write captioned scenes with canaries among them: pictures like no other, 1, 10 and 100 times each.

    Train on the folder with --data, then see with limner eval MODEL --suite captions --data OUT which come back.
    """
    from rich.console import Console
    from rich.progress import Progress

    from limner.data.canaries import COPIES, plant

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("writing")
        planted = plant(
            output,
            pictures=pictures,
            each=each,
            held_out=held_out,
            size=size,
            seed=seed,
            watch=lambda done, total: progress.update(task, completed=done, total=total),
        )
    times = ", ".join(map(str, COPIES))
    typer.echo(f"{output}: {pictures} scenes, {held_out} held out, {len(planted)} canaries: {each} each {times} times")
