"""Rectified-flow transformer (Liu et al. 2022; Esser et al. 2024), after JiT (Li and He 2025) and for tiny budgets.

x0 is predicted and the loss is in velocity. The picture is 8 x 8 tokens of linear latents (codecs/klt.py),
which are orthonormal in pixels; what a linear denoiser can say is added in closed form (`Wiener`), so that the network
begins as the best linear denoiser and learns only the rest. There is no adaLN: the time is added to the
tokens. The text's keys and values join each block's attention and are computed once for a picture.

B batch, N image tokens, L text tokens, W width, H heads, D head size, C latent channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.codecs.klt import KLT
from limner.core import Batch, Family, InputError, Request, Sketch, Step, Tokenizer, check, seeded
from limner.nn.blocks import HeadNorm, ParallelBlock, Rotation, TimeFeatures
from limner.process.guidance import drop, guide
from limner.process.rectified import Wiener, logit_normal, mix, spread_over, times
from limner.process.samplers import SOLVERS
from limner.process.thinning import Kept, centred, keep
from limner.text.transformer import TextConfig, TextTransformer


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 128
    patch: int = 16  # pixels a side; (image_size / patch) squared tokens
    channels: int = 192  # latents kept of each patch
    width: int = 256
    depth: int = 4
    heads: int = 4
    hidden: int = 640  # of the SwiGLU in each block
    text: TextConfig = field(default_factory=TextConfig)
    dropped: float = 0.1  # share of captions replaced by the empty one, for guidance
    time_mean: float = 2.0  # of the logit-normal training times
    time_spread: float = 1.8
    emphasis: float = 0.5  # 0: the loss is the pixels'; 1: every latent counts alike
    kept: float = 1.0  # share of a picture's tokens that a training step computes (process/thinning.py)

    def __post_init__(self) -> None:
        check(
            self.image_size % self.patch == 0,
            f"image_size = {self.image_size} does not divide into patches of {self.patch}",
        )
        check(self.width % (4 * self.heads) == 0, f"width = {self.width} must divide by 4 * heads = {4 * self.heads}")
        check(0.0 <= self.dropped < 1.0, f"dropped = {self.dropped} is not a share from 0 up to 1")
        check(0.0 < self.kept <= 1.0, f"kept = {self.kept} is not a share above 0; 1 keeps every token")


@dataclass(frozen=True, slots=True)
class Knobs:
    steps: int = 20  # network evaluations, each with and without text where guidance acts
    guidance: float = 3.0  # 1 is none
    guidance_from: float = 0.7  # guidance acts at times t within [from, until] (Kynkaanniemi et al. 2024)
    guidance_until: float = 1.0
    shift: float = 3.0  # above 1 spends more steps near noise
    temperature: float = 0.7  # of the first noise; below 1 pictures vary less and are cleaner
    solver: Literal["euler", "dpm++2m"] = "dpm++2m"
    strength: float = 0.6  # with an image: how much of it is drawn anew

    def __post_init__(self) -> None:
        check(1 <= self.steps <= 1000, f"steps = {self.steps} is not from 1 to 1000")
        check(0.0 <= self.guidance <= 30.0, f"guidance = {self.guidance} is not from 0 to 30; 1 is none, 3 is usual")
        check(self.temperature >= 0.0, f"temperature = {self.temperature} is below 0; 1 is all the noise there is")
        check(self.shift > 0.0, f"shift = {self.shift} must be above 0; 1 is an even grid")
        check(0.0 < self.strength <= 1.0, f"strength = {self.strength} is not above 0 and up to 1")
        check(
            0.0 <= self.guidance_from <= self.guidance_until <= 1.0,
            f"guidance acts from {self.guidance_from} until {self.guidance_until}: both lie in 0 to 1, in this order",
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """A text as the blocks read it: `keys` and `values` (B, blocks, H, L, D), `mask` (B, L)."""

    keys: Tensor
    values: Tensor
    mask: Tensor

    @staticmethod
    def stack(rows: Sequence[Memory]) -> Memory:
        """Rows of one text each, padded to the longest."""
        longest = max(row.mask.shape[-1] for row in rows)

        def pad(x: Tensor, tail: int) -> Tensor:
            return F.pad(x, [0] * (2 * tail) + [0, longest - x.shape[-1 - tail]])

        return Memory(
            torch.cat([pad(row.keys, 1) for row in rows]),
            torch.cat([pad(row.values, 1) for row in rows]),
            torch.cat([pad(row.mask, 0) for row in rows]),
        )

    def row(self, index: int) -> Memory:
        """One text without its padding."""
        length = int(self.mask[index].sum())
        keep = slice(index, index + 1)
        return Memory(self.keys[keep, :, :, :length], self.values[keep, :, :, :length], self.mask[keep, :length])


@dataclass(slots=True, kw_only=True)
class FlowSketch(Sketch):
    x: Tensor  # (1, C, h, w): the noisy latents at times[step]
    times: Tensor
    prompt: Memory
    negative: Memory
    x0_before: Tensor  # the prediction of the step before and its time, for the multistep solver
    t_before: float = math.nan

    @property
    def t(self) -> float:
        return float(self.times[self.step])

    @property
    def guidance(self) -> float:
        knobs = self.request.knobs
        return float(knobs.guidance) if knobs.guidance_from <= self.t <= knobs.guidance_until else 1.0


class Denoiser(nn.Module):
    """Noisy latents, their times and a remembered text to latents of unit size: what `Wiener` leaves to be said."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        side = config.image_size // config.patch
        self.into = nn.Linear(config.channels, width)
        self.place = nn.Parameter(torch.empty(side * side, width))
        self.time = TimeFeatures(width)
        self.rotation = Rotation(side, head=width // config.heads)
        self.readers = nn.ModuleList(nn.Linear(config.text.width, 2 * width, bias=False) for _ in range(config.depth))
        self.key_norms = nn.ModuleList(HeadNorm(width // config.heads) for _ in range(config.depth))
        self.blocks = nn.ModuleList(
            ParallelBlock(width, heads=config.heads, hidden=config.hidden) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(width)
        self.out = nn.Linear(width, config.channels)

    def remember(self, tokens: Tensor, mask: Tensor) -> Memory:
        """Text features (B, L, text width) as the keys and values of every block, computed where `mask` is True."""
        told = tokens[mask]
        both = []
        for reader, key_norm in zip(self.readers, self.key_norms, strict=True):
            key, value = rearrange(reader(told), "T (two H D) -> two T H D", two=2, H=self.heads)
            both.append(torch.stack([key_norm(key), value]))
        stacked = torch.stack(both)  # (blocks, 2, T, H, D)
        page = stacked.new_zeros((*mask.shape, *stacked.shape[:2], *stacked.shape[3:]))
        page[mask] = rearrange(stacked, "N two T H D -> T N two H D")
        keys, values = rearrange(page, "B L N two H D -> two B N H L D")
        return Memory(keys, values, mask)

    def forward(self, x: Tensor, t: Tensor, memory: Memory, kept: Kept | None = None) -> Tensor:
        """(B, C, h, w) of unit variance and t (B,) to the same shape; with `kept`, (B, C, 1, K) of those places."""
        place = self.place if kept is None else self.place[kept.places]
        turn = self.rotation.at(None if kept is None else kept.places)
        mask = _mask(memory, x.shape[2] * x.shape[3], kept)
        h = self.into(rearrange(x, "B C h w -> B (h w) C")) + place + self.time(t)[:, None]
        for number, block in enumerate(self.blocks):
            h = block(h, turn=turn, memory=(memory.keys[:, number], memory.values[:, number]), mask=mask)
        return rearrange(self.out(self.norm(h)), "B (h w) C -> B C h w", h=x.shape[2])


def _mask(memory: Memory, tokens: int, kept: Kept | None) -> Tensor:
    """What an image token attends to, (B, 1, 1, N + L): every image token and the text's; kept ones by their weight."""
    seen = F.pad(memory.mask, (tokens, 0), value=True)
    if kept is not None:
        scores = F.pad(-kept.odds.log(), (0, memory.mask.shape[1]))
        seen = scores.masked_fill(~seen, -math.inf)
    return seen[:, None, None, :]


class Flow(Family):
    interest: Tensor

    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["tiny"] = replace(
        presets["base"], image_size=32, patch=8, channels=48, width=64, depth=2, heads=2, hidden=128,
        text=TextConfig(width=64, depth=1, heads=2, hidden=128, length=32),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.codec = KLT(patch=config.patch, channels=config.channels)
        self.text = TextTransformer(config.text, tokenizer)
        self.denoiser = Denoiser(config)
        self.register_buffer("interest", centred(config.image_size // config.patch), persistent=False)
        self._rows: list[Memory] = []  # of the texts in the last step, and stacked
        self._memory: Memory | None = None
        self.initialise()

    def initialise(self) -> None:
        """Every block begins as the identity and the network as the linear denoiser: outputs start at zero."""
        nn.init.normal_(self.denoiser.place, std=0.5)
        for block in self.denoiser.blocks:
            assert isinstance(block, ParallelBlock)
            nn.init.zeros_(block.out.weight)
        nn.init.zeros_(self.denoiser.out.weight)
        nn.init.zeros_(self.denoiser.out.bias)
        for edge in (self.denoiser.into, self.denoiser.out, *self.denoiser.time.mix):
            if isinstance(edge, nn.Linear):
                edge._limner_group = "adamw"  # type: ignore[assignment]  # Muon is for hidden matrices

    # -- training ----------------------------------------------------------------------------------

    def calibrate(self, batch: Batch) -> None:
        self.codec.fit(batch.images)

    def compile_for_training(self) -> None:
        """One graph serves all blocks of one shape, so compiling costs a minute and not one for each block. The text's
        blocks have little to do and meet many shapes, of which the compiler takes eight in all."""
        for block in self.denoiser.blocks:
            block.compile(dynamic=False)

    def steps(self) -> list[Step]:
        return [Step("flow", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The squared error of velocity, |x0' - x0|^2 / t^2, as t is at least 0.05; each latent by its weight."""
        config, count = self.config, len(batch)
        patches, kept = self.codec.cut(batch.images), None
        if config.kept < 1.0:
            kept = keep(self.interest, share=config.kept, rows=count, generator=generator)
            patches = kept.of(patches)
        x0 = self.codec.project(patches)
        t = logit_normal(count, mean=config.time_mean, spread=config.time_spread, generator=generator).to(x0.device)
        eps = torch.randn(x0.shape, generator=generator).to(x0.device)
        texts = drop(batch.captions, share=config.dropped, generator=generator)
        error = self.predict(mix(x0, eps, t), t, self.remember(texts), kept) - x0
        error = error / spread_over(t.clamp(min=0.05), error)
        squares = error.square() * self._weights()
        if kept is not None:
            squares = squares * kept.weights(len(self.denoiser.place))
        return {"loss": squares.mean(), "velocity": error.detach().square().mean()}

    def _weights(self) -> Tensor:
        weights = self.codec.spread ** (-2.0 * self.config.emphasis)
        return (weights / weights.mean())[:, None, None]

    # -- the network -------------------------------------------------------------------------------

    def remember(self, texts: Sequence[str]) -> Memory:
        features = self.text(texts)
        return self.denoiser.remember(features.tokens, features.mask)

    def predict(self, x: Tensor, t: Tensor, memory: Memory, kept: Kept | None = None) -> Tensor:
        """x0 (B, C, h, w) from x_t and t (B,), of the `kept` places where they are given."""
        wiener = Wiener(t, self.codec.spread)
        output: Tensor = self.denoiser(wiener.shrink * x, t, memory, kept)
        return wiener.keep * x + wiener.left * output

    # -- drawing -----------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        texts = [text for request in requests for text in (request.prompt, request.negative_prompt)]
        unique = list(dict.fromkeys(texts))
        memory = self.remember(unique)
        rows = {text: memory.row(index) for index, text in enumerate(unique)}
        return [self._begin(request, rows) for request in requests]

    def _begin(self, request: Request, rows: dict[str, Memory]) -> FlowSketch:
        config, generator = self.config, seeded(request.seed)
        side = config.image_size // config.patch
        noise = torch.randn((1, config.channels, side, side), generator=generator).to(self.device)
        grid = times(request.knobs.steps, shift=request.knobs.shift)
        sketch = FlowSketch(
            request=request, generator=generator, steps=request.knobs.steps, times=grid,
            x=request.knobs.temperature * noise,
            prompt=rows[request.prompt], negative=rows[request.negative_prompt], x0_before=torch.zeros_like(noise),
        )  # fmt: skip
        if request.image is not None:
            self._begin_from_image(sketch, request.image)
        elif request.mask is not None:
            raise InputError("a mask needs the image that it belongs to: give the image too")
        return sketch

    def _begin_from_image(self, sketch: FlowSketch, image: Tensor) -> None:
        """Image to image: noise the picture to the time that `strength` names and go on from there (SDEdit)."""
        size = self.config.image_size
        if tuple(image.shape[-2:]) != (size, size):
            raise InputError(f"the image is {image.shape[-1]} x {image.shape[-2]}; this model draws {size} x {size}")
        knobs = sketch.request.knobs
        sketch.step = min(round(knobs.steps * (1.0 - knobs.strength)), knobs.steps - 1)
        t = sketch.times[sketch.step].reshape(1).to(self.device)
        sketch.x = mix(self.codec.encode(image[None].to(self.device)), sketch.x, t)

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        drawn = [sketch for sketch in sketches if isinstance(sketch, FlowSketch)]
        assert len(drawn) == len(sketches)
        x = torch.cat([sketch.x for sketch in drawn])
        t = torch.tensor([sketch.t for sketch in drawn], device=x.device)
        before = torch.tensor([sketch.t_before for sketch in drawn], device=x.device)
        following = torch.stack([sketch.times[sketch.step + 1] for sketch in drawn]).to(x.device)
        x0 = self._guided(x, t, drawn)
        x0 = self._keep_known(x0, drawn)
        previous = torch.cat([sketch.x0_before for sketch in drawn])
        for name, solve in SOLVERS.items():
            rows = [row for row, sketch in enumerate(drawn) if sketch.request.knobs.solver == name]
            if rows:
                x[rows] = solve(x[rows], x0[rows], previous[rows], t[rows], following[rows], before[rows])
        pictures = self.codec.decode(x0)
        for row, sketch in enumerate(drawn):
            sketch.x, sketch.x0_before, sketch.t_before = x[row : row + 1], x0[row : row + 1], sketch.t
            sketch.step += 1
            sketch.estimate = _paste(pictures[row], sketch.request)

    def _guided(self, x: Tensor, t: Tensor, sketches: list[FlowSketch]) -> Tensor:
        """x0 for each row: one evaluation outside the guidance interval, two within it, all in the same call."""
        two = [row for row, sketch in enumerate(sketches) if sketch.guidance != 1.0]
        memory = self._stacked([sketch.prompt for sketch in sketches] + [sketches[row].negative for row in two])
        x0 = self.predict(torch.cat([x, x[two]]), torch.cat([t, t[two]]), memory)
        cond, uncond = x0[: len(sketches)].clone(), x0[len(sketches) :]
        if two:
            scale = torch.tensor([sketches[row].guidance for row in two], device=x.device)
            cond[two] = guide(cond[two], uncond, scale)
        return cond

    def _stacked(self, rows: list[Memory]) -> Memory:
        """Once for as long as the same pictures step together."""
        if [id(row) for row in rows] != [id(row) for row in self._rows]:
            self._rows, self._memory = rows, Memory.stack(rows)
        assert self._memory is not None
        return self._memory

    def _keep_known(self, x0: Tensor, sketches: list[FlowSketch]) -> Tensor:
        """Repainting: outside the mask the prediction is the known picture."""
        for row, sketch in enumerate(sketches):
            if sketch.request.mask is not None:
                known = _paste(self.codec.decode(x0[row : row + 1])[0], sketch.request)
                x0[row] = self.codec.encode(known[None])[0]
        return x0


def _paste(picture: Tensor, request: Request) -> Tensor:
    if request.image is None or request.mask is None:
        return picture
    mask, image = request.mask.to(picture), request.image.to(picture)
    return mask * picture + (1.0 - mask) * image
