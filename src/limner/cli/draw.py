"""`limner draw`: prompts to pictures in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("drawings")


def draw(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures of each prompt.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The first picture's; the others count on from it.")] = None,
    steps: Annotated[int | None, typer.Option(help="More is slower and often better.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is plain.")] = None,
    negative: Annotated[str, typer.Option(help="What to keep away from.")] = "",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Width x height, such as 768x512.")] = None,
    image: Annotated[Path | None, typer.Option(help="Draw this picture anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much of it: 1 is all.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Paint only where this is white.")] = None,
    extend: Annotated[str | None, typer.Option(metavar="SIDE=N,...", help="left=128,right=128: add pixels.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Elsewhere keep the picture's own pixels.")] = False,
    feather: Annotated[int | None, typer.Option(help="The same, blended over so many pixels; 8 usually.")] = None,
    upscale: Annotated[float, typer.Option(help="Enlarge so many times, and draw anew.")] = 1.0,
    model: Annotated[str | None, typer.Option(help="A name that `limner models` lists, or a folder.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder, or a .png, .jpg or .webp.")] = Path(
        "drawings"
    ),
    file: Annotated[Path | None, typer.Option(help="Read more prompts from a file, one a line.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="knob=value. See `limner info MODEL`.")] = None,
    previews: Annotated[bool, typer.Option("--previews", help="Keep what each step looks like, too.")] = False,
    rerank: Annotated[int | None, typer.Option(help="Keep so many of each prompt's pictures: the best.")] = None,
    judge: Annotated[str | None, typer.Option(help="A CLIP that says which; if not given, the shipped one.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16, where the model has a choice.")] = "auto",
    compile_: Annotated[str, typer.Option("--compile", help="auto, on or off, where the model has a choice.")] = "auto",
) -> None:
    """Draw pictures of prompts."""
    from limner.cli import drawing

    knobs = drawing.knobs(set_ or [], steps=steps, guidance=guidance, strength=strength)
    order = drawing.Order(
        prompts=drawing.prompts(prompts or [], file), negative=drawing.prompt(negative, "--negative"), count=count,
        seed=seed, knobs=knobs, model=model, output=output, previews=previews, rerank=rerank, judge=judge,
        size=None if size is None else drawing.size(size), image=image, strength=knobs.pop("strength", None), mask=mask,
        extend=None if extend is None else drawing.margins(extend), exact=exact, feather=feather, upscale=upscale,
        precision=precision, compile=compile_,
    )  # fmt: skip
    drawing.carry_out(order, say=typer.echo)
