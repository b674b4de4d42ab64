"""Prompts to pictures, for any family: one path for the command line, Python and everything above."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Generator, Tensor

import limner
from limner import families, store
from limner.core import Family, InputError, Request, Sketch, check, nearest, parse, unparse
from limner.judge import Judge
from limner.provenance import Settings

BATCH = 8  # pictures advanced together: more no longer fill the caches of a CPU better (docs/LOG.md)
MOST_TOGETHER = 256  # whatever a picture's settings claim
MOST_SEED = 2**63 - 1
SHIPPED = Path(__file__).parent / "assets" / "models"
DEFAULT, JUDGE = "flow-scenes", "clip-scenes"

OnStep = Callable[[Sequence[Sketch]], None]
StepEnd = Callable[["Pipeline", int, int, dict[str, Any]], object]


# ---------------------------------------------------------------------------------------------------
# Requests to tensors.


def drawing(
    family: Family, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
) -> Iterator[list[Sketch]]:
    """Draw `requests` in order, at most `batch` at once: yields each batch when it is done.

    `on_step` is shown the sketches of a batch after each of their steps.
    """
    for start in range(0, len(requests), batch):
        sketches = family.begin(requests[start : start + batch])
        while undone := [sketch for sketch in sketches if not sketch.done]:
            family.advance(undone)
            if on_step is not None:
                on_step(sketches)
        yield sketches


def draw(
    family: Family, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
) -> list[Tensor]:
    """The finished pictures in order, (3, H, W) in [-1, 1] each. See `drawing`."""
    return [sketch.image for done in drawing(family, requests, batch=batch, on_step=on_step) for sketch in done]


def to_pil(picture: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to 8-bit RGB, each value rounded to the nearest."""
    pixels = picture.detach().float().cpu().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


# ---------------------------------------------------------------------------------------------------
# Models by name.


def shipped() -> list[str]:
    """The names of the models that came with the package."""
    return sorted(path.name for path in SHIPPED.glob("*") if store.holds_model(path))


def find_model(name: str | Path) -> Path:
    """The folder of a shipped model by its name, or of any by its path; a run's folder means the model in it."""
    if str(name) in shipped():
        return SHIPPED / name
    path = Path(name)
    if path.exists():
        inner = path / "model"
        return inner if store.holds_model(inner) and not store.holds_model(path) else path
    known = shipped()
    names = f", or one of: {', '.join(known)}" if known else ""
    raise InputError(f'there is no model "{name}"{nearest(str(name), known)}; give a model\'s folder{names}')


def find_judge(name: str | Path | None = None) -> Judge:
    """A CLIP by the name or path that `find_model` takes; without one the shipped CLIP, which knows scenes."""
    folder = find_model(name or JUDGE)
    return Judge.load(folder, name=name_of(folder))


def name_of(folder: Path) -> str:
    """What a model is called: its folder's name, or its run's."""
    return folder.resolve().parent.name if folder.name == "model" else folder.name


def models(runs: Path = Path("runs")) -> list[Path]:
    """The folders of models: the shipped ones, then those of the runs in `runs`."""
    trained = (path / "model" for path in runs.glob("*"))
    return [SHIPPED / name for name in shipped()] + sorted(filter(store.holds_model, trained))


# ---------------------------------------------------------------------------------------------------
# Prompts to pictures.


@dataclass(frozen=True, slots=True)
class Picture:
    """`pixels` is (3, H, W) in [-1, 1], `settings` all that it was drawn with."""

    pixels: Tensor
    settings: Settings

    @property
    def image(self) -> Image.Image:
        return to_pil(self.pixels)


@dataclass(frozen=True, slots=True)
class Output:
    """`images` as `output_type` says; `seeds` and `settings` have one entry for each."""

    images: Any
    seeds: list[int]
    settings: list[Settings]


class Pipeline:
    """A model, ready to draw.

    >>> pipe = Pipeline.from_pretrained("flow-scenes")
    >>> pipe("a stop sign is flying in blue skies", seed=7).images[0].save("sign.png")
    """

    models = staticmethod(models)

    def __init__(self, family: Family, *, name: str = "", hash: str = "") -> None:
        if not family.draws():
            kind = families.name_of(family)
            raise InputError(f"{name or 'this model'} is a {kind} and draws no pictures; limner models says which do")
        self.family, self.name, self.hash = family.eval(), name, hash

    @staticmethod
    def from_pretrained(path_or_name: str | Path = DEFAULT) -> Pipeline:
        """A shipped model by its name, or a model's or a run's folder; InputError if it is not whole."""
        folder = find_model(path_or_name)
        return Pipeline(families.load(folder), name=name_of(folder), hash=store.describe(folder).hash)

    def to(self, device: str | torch.device) -> Pipeline:
        self.family.to(device)
        return self

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        generator: Generator | Sequence[Generator] | None = None,
        seed: int | None = None,
        image: Image.Image | None = None,
        mask_image: Image.Image | None = None,
        knobs: Mapping[str, Any] | None = None,
        callback_on_step_end: StepEnd | None = None,
        output_type: str = "pil",
        batch: int = BATCH,
        rerank: int | None = None,
        judge: Judge | str | Path | None = None,
    ) -> Output:
        """Draw `num_images_per_prompt` pictures of each prompt, those of the first prompt first.

        `knobs` are the family's own (its `Knobs`); `num_inference_steps` and `guidance_scale` are other
        names of `steps` and `guidance`. Pictures have the seeds `seed`, `seed + 1`, ...; a generator stands
        for its initial seed and is not advanced, a list has one for each picture, and without either the first
        seed is random. `image` and `mask_image` (white: paint here) are scaled and cut to the model's size.

        `callback_on_step_end(pipe, step, steps_left, {"sketches": [...]})` is called after each step
        of each batch; a sketch's `preview()` is its picture so far, which `to_pil` converts. What it
        returns is not used; to stop, raise. `output_type` "np" is (N, H, W, 3) and "pt" (N, 3, H, W), in [0, 1].

        With `rerank` the best so many of each prompt's pictures are kept, best first, as `judge` finds them: a CLIP,
        its name or folder, or the shipped one; `settings` have their scores.
        """
        if output_type not in OUTPUTS:
            raise InputError(f'output_type = "{output_type}" is not one of {", ".join(OUTPUTS)}')
        asked = {"steps": num_inference_steps, "guidance": guidance_scale}
        requests = self.requests(
            prompt,
            negative_prompt=negative_prompt,
            copies=num_images_per_prompt,
            seeds=_seeds(generator, seed),
            knobs={**(knobs or {}), **{key: value for key, value in asked.items() if value is not None}},
            image=image,
            mask_image=mask_image,
        )
        on_step = None if callback_on_step_end is None else self._stepper(callback_on_step_end)
        if rerank is None:
            check(judge is None, "a judge is for rerank: say how many pictures of each prompt to keep")
            pictures = list(self.stream(requests, batch=batch, on_step=on_step))
        else:
            check_rerank(rerank, of=num_images_per_prompt)
            judge = judge if isinstance(judge, Judge) else find_judge(judge)
            groups = self.ranked(requests, of=num_images_per_prompt, judge=judge, batch=batch, on_step=on_step)
            pictures = [picture for group in groups for picture in group[:rerank]]
        settings = [picture.settings for picture in pictures]
        return Output(OUTPUTS[output_type](pictures), [one.seed for one in settings], settings)

    def requests(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] | None = None,
        copies: int = 1,
        seeds: int | Sequence[int] | None = None,
        knobs: Mapping[str, Any] | None = None,
        image: Image.Image | None = None,
        mask_image: Image.Image | None = None,
    ) -> list[Request]:
        """`copies` requests for each prompt, seeded one after the other; InputError if anything does not fit."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = _for_each(prompts, negative_prompt or "")
        if copies < 1 or not prompts:
            raise InputError(f"{copies} pictures of {len(prompts)} prompts cannot be drawn; ask for 1 or more")
        size, typed = self.family.config.image_size, self.knobs(knobs or {})
        pixels = None if image is None else _pixels(image, size)
        mask = None if mask_image is None else _mask(mask_image, size)
        pairs = [pair for pair in zip(prompts, negatives, strict=True) for _ in range(copies)]
        return [
            Request(prompt=one, negative_prompt=negative, seed=number, knobs=typed, image=pixels, mask=mask)
            for (one, negative), number in zip(pairs, _numbered(seeds, len(pairs)), strict=True)
        ]

    def knobs(self, values: Mapping[str, Any]) -> Any:
        """The family's Knobs, read strictly."""
        return parse(self.family.Knobs, values, f"the knobs of {families.name_of(self.family)}")

    def stream(
        self, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
    ) -> Iterator[Picture]:
        """The pictures in order, each batch as soon as it is done."""
        for done in drawing(self.family, requests, batch=batch, on_step=on_step):
            for sketch in done:
                yield Picture(sketch.image, self._settings(sketch, batch=len(done)))

    def ranked(
        self, requests: Sequence[Request], *, of: int, judge: Judge, batch: int = BATCH, on_step: OnStep | None = None
    ) -> Iterator[list[Picture]]:
        """Each `of` pictures together, first those that `judge` finds nearest to their prompt; `settings` say so."""
        pictures = self.stream(requests, batch=batch, on_step=on_step)
        while group := list(islice(pictures, of)):
            scores = judge.scores([one.pixels for one in group], [one.settings.prompt for one in group])
            judged = [
                replace(one, settings=replace(one.settings, judge=judge.name, judge_hash=judge.hash, score=score))
                for one, score in zip(group, scores, strict=True)
            ]
            yield sorted(judged, key=lambda one: -(one.settings.score or 0.0))

    def previews(self, sketches: Sequence[Sketch]) -> list[Picture | None]:
        """The pictures so far, for use in `on_step`; None where there is nothing to see yet."""
        pixels = [sketch.preview() for sketch in sketches]
        settings = [replace(self._settings(one, batch=len(sketches)), step=one.step) for one in sketches]
        return [None if one is None else Picture(one, about) for one, about in zip(pixels, settings, strict=True)]

    def redraw(self, settings: Settings) -> Picture:
        """The picture of `settings` again, among as many as it was first drawn with: that decides the last bits."""
        if settings.source:
            raise InputError("it was painted over another picture, which it does not carry; draw it with that one")
        if settings.step is not None:
            raise InputError(f"it is a preview after step {settings.step}; take the finished picture")
        together = min(max(settings.batch, 1), MOST_TOGETHER)
        requests = self.requests(
            settings.prompt,
            negative_prompt=settings.negative_prompt,
            copies=together,
            seeds=[settings.seed] * together,
            knobs=settings.knobs,
        )
        return next(self.stream(requests, batch=together))

    def _stepper(self, callback: StepEnd) -> OnStep:
        def on_step(sketches: Sequence[Sketch]) -> None:
            step, left = max(one.step for one in sketches), max(one.steps - one.step for one in sketches)
            callback(self, step - 1, left, {"sketches": list(sketches)})

        return on_step

    def _settings(self, sketch: Sketch, *, batch: int) -> Settings:
        request, size = sketch.request, self.family.config.image_size
        return Settings(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=request.seed,
            family=families.name_of(self.family),
            knobs=unparse(request.knobs),
            model=self.name,
            model_hash=self.hash,
            width=size,
            height=size,
            limner=limner.__version__,
            torch=str(torch.__version__),
            batch=batch,
            source=_source(request),
        )


# ---------------------------------------------------------------------------------------------------
# What was asked, made regular.


def check_rerank(keep: int, *, of: int) -> None:
    check(1 <= keep <= of, f"rerank = {keep} is not from 1 to {of}, the number of pictures of each prompt")


def _seeds(generator: Generator | Sequence[Generator] | None, seed: int | None) -> int | list[int] | None:
    if generator is None:
        return seed
    if seed is not None:
        raise InputError("give a seed or a generator, not both")
    return generator.initial_seed() if isinstance(generator, Generator) else [one.initial_seed() for one in generator]


def _numbered(seeds: int | Sequence[int] | None, count: int) -> list[int]:
    if seeds is None:
        seeds = secrets.randbelow(2**32)
    numbers = list(range(seeds, seeds + count)) if isinstance(seeds, int) else list(seeds)
    if len(numbers) != count:
        raise InputError(f"there are {len(numbers)} generators for {count} pictures; give one, or one for each")
    for number in numbers:
        if not 0 <= number <= MOST_SEED:
            raise InputError(f"seed = {number} is not from 0 to {MOST_SEED}")
    return numbers


def _for_each(prompts: Sequence[str], negative: str | Sequence[str]) -> list[str]:
    negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
    if len(negatives) != len(prompts):
        raise InputError(
            f"there are {len(negatives)} negative prompts for {len(prompts)} prompts; give one, or as many"
        )
    return negatives


def _pixels(image: Image.Image, size: int) -> Tensor:
    """Scaled and cut in the middle to (3, size, size) in [-1, 1]."""
    return _fitted(image.convert("RGB"), size).permute(2, 0, 1).div(127.5).sub(1.0)


def _mask(image: Image.Image, size: int) -> Tensor:
    """(1, size, size), 1 where white."""
    return _fitted(image.convert("L"), size)[None].gt(127).float()


def _fitted(image: Image.Image, size: int) -> Tensor:
    fitted = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    array = torch.frombuffer(bytearray(fitted.tobytes()), dtype=torch.uint8)
    return array.reshape(size, size, *([3] if image.mode == "RGB" else [])).float()


def _source(request: Request) -> str:
    parts = [part for part in (request.image, request.mask) if part is not None]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest() if parts else ""


def _unit(pictures: Sequence[Picture]) -> Tensor:
    """(N, 3, H, W) in [0, 1]."""
    return torch.stack([picture.pixels for picture in pictures]).float().cpu().add(1.0).div(2.0)


OUTPUTS: Mapping[str, Callable[[Sequence[Picture]], Any]] = {
    "pil": lambda pictures: [picture.image for picture in pictures],
    "np": lambda pictures: _unit(pictures).permute(0, 2, 3, 1).numpy(),
    "pt": _unit,
}
