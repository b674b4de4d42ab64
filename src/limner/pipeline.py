"""Prompts to pictures, for any family: one path for the command line, Python and everything above."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Generator, Tensor

import limner
from limner import engine, families
from limner.canvas import FEATHER, Canvas, Margins, Sizes, Task, prepare
from limner.core import Family, InputError, Request, Sketch, check, parse, unparse
from limner.drawing import BATCH, OnStep, drawing, fits, to_pil
from limner.judge import Judge
from limner.provenance import Settings
from limner.shelf import DEFAULT, find_judge, find_model, models, name_of

CPU = torch.device("cpu")  # where models are loaded
MOST_TOGETHER = 256  # whatever a picture's settings claim
MOST_SEED = 2**63 - 1

StepEnd = Callable[["Pipeline", int, int, dict[str, Any]], object]


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


@dataclass(frozen=True, slots=True)
class Speed:
    """How a model is to be made fast: see `engine.prepared`."""

    precision: str
    compile: str

    def __post_init__(self) -> None:
        self.dtype(CPU)
        engine.check_wish(self.compile)

    def dtype(self, device: torch.device) -> torch.dtype:
        """What it draws in there."""
        return engine.dtype_for(self.precision, device, kernels=self.compile != "off")

    def loading(self) -> torch.dtype | None:
        """What its networks are made as they are loaded; what is drawn in float32 is widened when it is made fast, or
        only when it is used."""
        drawn = self.dtype(CPU)
        return None if drawn is torch.float32 else drawn


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
        self._speed: Speed | None = None
        self._fast, self._compile = False, "auto"

    @staticmethod
    def from_pretrained(
        path_or_name: str | Path = DEFAULT, *, precision: str = "auto", compile: str = "auto"
    ) -> Pipeline:
        """A shipped model by its name, or a model's or a run's folder; InputError if it is not whole.

        With the first picture it is made fast for the machine (see `engine.prepared`), and only draws from then on:
        until then its weights are those of the files.
        """
        folder, speed = find_model(path_or_name), Speed(precision, compile)
        family, about = families.load_described(folder, dtype=speed.loading)
        pipe = Pipeline(family, name=name_of(folder), hash=about.hash)
        if family.networks():
            pipe._speed, pipe._compile = speed, compile
        return pipe

    @property
    def precision(self) -> str:
        """What its networks draw in: fp32, bf16 or fp16; nothing where it has no choice."""
        networks = self.family.networks()
        if not networks:
            return ""
        drawn = next(networks[0].parameters()).dtype if self._speed is None else self._speed.dtype(self.family.device)
        return engine.NAMES[drawn]

    def save_pretrained(self, path: str | Path) -> None:
        """Write the model: a Stable Diffusion as a folder of diffusers or, where `path` ends in .safetensors, as a
        single file in the original layout; another family as a model folder of ours."""
        check(not self._fast, f"{self.name} was made fast to draw, and its weights given up: load it again to save it")
        families.export(Path(path), self.family)

    def to(self, device: str | torch.device) -> Pipeline:
        check(not self._fast, f"{self.name} was made fast for where it drew; load it again to draw elsewhere")
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
        height: int | None = None,
        width: int | None = None,
        image: Image.Image | None = None,
        mask_image: Image.Image | None = None,
        strength: float | None = None,
        extend: Mapping[str, int] | None = None,
        upscale: float = 1.0,
        exact: bool = False,
        feather: int | None = None,
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
        seed is random.

        `strength` is how much of `image` is drawn anew; where it is not given and a part is painted, that part is new.
        For `height` to `feather` see `canvas`.

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
            strength=strength,
            canvas=self.canvas(
                height=height, width=width, image=image, mask_image=mask_image, extend=extend, upscale=upscale,
                exact=exact, feather=feather,
            ),
        )  # fmt: skip
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
        strength: float | None = None,
        canvas: Canvas | None = None,
    ) -> list[Request]:
        """`copies` requests for each prompt, seeded one after the other; InputError if anything does not fit.

        They are drawn upon `canvas`, or a blank one of the model's own size. `strength` is the knob of that name.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = _for_each(prompts, negative_prompt or "")
        if copies < 1 or not prompts:
            raise InputError(f"{copies} pictures of {len(prompts)} prompts cannot be drawn; ask for 1 or more")
        canvas = canvas or self.canvas()
        typed = self.knobs({**(knobs or {}), **self._strength(canvas, strength, among=knobs or {})})
        pairs = [pair for pair in zip(prompts, negatives, strict=True) for _ in range(copies)]
        return [
            Task(
                prompt=one, negative_prompt=negative, seed=number, knobs=typed,
                size=canvas.size, image=canvas.image, mask=canvas.mask, canvas=canvas,
            )
            for (one, negative), number in zip(pairs, _numbered(seeds, len(pairs)), strict=True)
        ]  # fmt: skip

    def canvas(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        image: Image.Image | None = None,
        mask_image: Image.Image | None = None,
        extend: Mapping[str, int] | None = None,
        upscale: float = 1.0,
        exact: bool = False,
        feather: int | None = None,
    ) -> Canvas:
        """What `requests` are drawn upon; InputError if this model cannot draw it, or something contradicts the rest.

        `height` and `width` are pixels. Without them an image keeps its size if the model draws many, and is scaled and
        cut in the middle to the model's if it draws one. What is white in `mask_image` is painted; without one, what is
        transparent in the image. `extend` adds pixels at "left", "right", "top" and "bottom", which are painted. With
        `exact` the image's own pixels come back wherever nothing is painted, and are blended over the first `feather`
        pixels (8) where something is; what is extended always keeps them. With `upscale` the image, or what is drawn
        from the prompt alone, is enlarged so many times and drawn anew.
        """
        check((height is None) == (width is None), "give height and width, or neither of them")
        check(upscale == 1.0 or self._redraws(), f"{self.name or 'this model'} cannot draw anew: leave upscale out")
        return prepare(
            Sizes.of(self.family),
            image=image,
            mask=mask_image,
            size=None if height is None or width is None else (height, width),
            extend=None if extend is None else parse(Margins, extend, "extend"),
            feather=FEATHER if exact and feather is None else feather,
            upscale=float(upscale),
        )

    def _redraws(self) -> bool:
        return "strength" in {one.name for one in fields(self.family.Knobs)}

    def _strength(self, canvas: Canvas, asked: float | None, *, among: Mapping[str, Any]) -> dict[str, float]:
        """The knob, if it was asked for or is usual for what is drawn and not among the other knobs."""
        if asked is not None:
            redrawn = canvas.image is not None or canvas.twice
            check(redrawn, "strength is how much of an image is drawn anew, and there is none: leave it out")
            return {"strength": asked}
        if canvas.strength is None or "strength" in among or not self._redraws():
            return {}
        return {"strength": canvas.strength}

    def knobs(self, values: Mapping[str, Any]) -> Any:
        """The family's Knobs, read strictly."""
        return parse(self.family.Knobs, values, f"the knobs of {families.name_of(self.family)}")

    def stream(
        self, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
    ) -> Iterator[Picture]:
        """The pictures in order, each batch as soon as it is done. `on_step` sees both times of what is enlarged."""
        self._hasten(requests)
        for done in drawing(self.family, requests, batch=batch, on_step=on_step):
            for sketch in self._enlarged(done, on_step):
                yield self.picture(sketch, batch=len(done))

    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        """Step by step, for who draws many at once: `begin`, `advance` until a sketch is done, and then, unless it is
        to be drawn `larger`, its `picture`. InputError where a request does not fit the model."""
        self._hasten(requests)
        fits(self.family, requests)
        return self.family.begin(requests)

    def advance(self, sketches: Sequence[Sketch]) -> None:
        """One step for each, none of which is done: whatever their steps, sizes and knobs."""
        self.family.advance(sketches)

    def rest(self) -> None:
        """No step is to be done for now."""
        engine.rest(self.family)

    def larger(self, sketch: Sketch) -> Task | None:
        """The request for the second time, where what is done is to be enlarged and drawn once more. InputError as of
        `picture`."""
        task = _task(sketch)
        if not task.canvas.twice:
            return None
        return task.upon(task.canvas.enlarged(to_pil(self._drawn(sketch)), Sizes.of(self.family)))

    def picture(self, sketch: Sketch, *, batch: int) -> Picture:
        """What is done, as it was asked for; `batch` is how many were drawn together. InputError where the model's
        numbers were too large for its precision."""
        return self._picture(sketch, self._drawn(sketch), batch=batch)

    def _hasten(self, requests: Sequence[Request]) -> None:
        """Once, before the first picture."""
        if self._speed is not None:
            calls = sum(getattr(request.knobs, "steps", 1) for request in requests)
            engine.prepared(self.family, precision=self._speed.precision, compile=self._speed.compile, calls=calls)
            self._speed, self._fast = None, True

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
        seen = [(one, one.preview()) for one in sketches]
        pictures = [None if so is None else self._picture(one, so, batch=len(sketches)) for one, so in seen]
        return [
            None if one is None else replace(one, settings=replace(one.settings, step=sketch.step))
            for one, sketch in zip(pictures, sketches, strict=True)
        ]

    def redraw(
        self, settings: Settings, *, image: Image.Image | None = None, mask_image: Image.Image | None = None
    ) -> Picture:
        """The picture of `settings` again, among as many as it was first drawn with: that decides the last bits.

        What was painted over another picture wants that `image`, and the mask if there was one.
        """
        check(settings.step is None, f"it is a preview after step {settings.step}; take the finished picture")
        if settings.source and image is None:
            raise InputError("it was painted over another picture, which it does not carry: give that image too")
        height, width = settings.size
        canvas = self.canvas(
            height=height,
            width=width,
            image=image,
            mask_image=mask_image,
            extend=None if settings.extend is None else unparse(settings.extend),
            upscale=settings.upscale,
            feather=settings.feather,
        )
        check(canvas.source == settings.source, "it was painted over another picture or mask: give those")
        together = min(max(settings.batch, 1), MOST_TOGETHER)
        requests = self.requests(
            settings.prompt,
            negative_prompt=settings.negative_prompt,
            copies=together,
            seeds=[settings.seed] * together,
            knobs=settings.knobs,
            canvas=canvas,
        )
        return next(self.stream(requests, batch=together))

    def _stepper(self, callback: StepEnd) -> OnStep:
        def on_step(sketches: Sequence[Sketch]) -> None:
            step, left = max(one.step for one in sketches), max(one.steps - one.step for one in sketches)
            callback(self, step - 1, left, {"sketches": list(sketches)})

        return on_step

    def _enlarged(self, done: Sequence[Sketch], on_step: OnStep | None) -> Iterator[Sketch]:
        """`done`, those that are drawn twice drawn again: fewer together, so that they take no more memory."""
        tasks = [task for one in done if (task := self.larger(one)) is not None]
        batch = max(1, min((int(len(done) / task.canvas.upscale**2) for task in tasks), default=1))
        again = (one for some in drawing(self.family, tasks, batch=batch, on_step=on_step) for one in some)
        for sketch in done:
            yield next(again) if _task(sketch).canvas.twice else sketch

    def _drawn(self, sketch: Sketch) -> Tensor:
        """Numbers that grew too large end as none, and such a picture would be black."""
        picture = sketch.image
        why = "it may be broken"
        if self.precision not in ("", "fp32"):
            why = f"{self.precision} does not hold its numbers, draw with precision fp32"
        check(bool(torch.isfinite(picture).all()), f"{self.name or 'this model'} drew what is no picture: {why}")
        return picture

    def _picture(self, sketch: Sketch, pixels: Tensor, *, batch: int) -> Picture:
        request = _task(sketch)
        canvas = request.canvas
        picture = canvas.finish(pixels)
        settings = Settings(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=request.seed,
            family=families.name_of(self.family),
            knobs=unparse(request.knobs),
            model=self.name,
            model_hash=self.hash,
            width=picture.shape[2],
            height=picture.shape[1],
            limner=limner.__version__,
            torch=str(torch.__version__),
            batch=batch,
            precision=self.precision,
            compile=self._compile,
            source=canvas.source,
            extend=canvas.extend,
            feather=canvas.feather,
            upscale=1.0 if canvas.twice else canvas.upscale,  # not yet
        )
        return Picture(picture, settings)


# ---------------------------------------------------------------------------------------------------
# What was asked, made regular.


def check_rerank(keep: int, *, of: int) -> None:
    check(1 <= keep <= of, f"rerank = {keep} is not from 1 to {of}, the number of pictures of each prompt")


def _task(sketch: Sketch) -> Task:
    assert isinstance(sketch.request, Task), "a pipeline draws what its own requests ask for"
    return sketch.request


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


def _unit(pictures: Sequence[Picture]) -> Tensor:
    """(N, 3, H, W) in [0, 1]."""
    return torch.stack([picture.pixels for picture in pictures]).float().cpu().add(1.0).div(2.0)


OUTPUTS: Mapping[str, Callable[[Sequence[Picture]], Any]] = {
    "pil": lambda pictures: [picture.image for picture in pictures],
    "np": lambda pictures: _unit(pictures).permute(0, 2, 3, 1).numpy(),
    "pt": _unit,
}
