"""DALL-E (Ramesh et al. 2021): a causal transformer over a caption's tokens and then over those of its picture.

A discrete autoencoder (codecs/dvae.py) makes a picture an S x S grid of tokens; the transformer is trained to
continue the caption by the picture, in raster order. Its layers see all of the text but only a few tokens of the
picture. So drawing is cheap: keys and values are kept, and of the picture's only those are looked up that a layer sees.

B batch, R streams in the making (a sketch has one, or two under guidance), L text tokens, N = S * S image tokens,
T = L + N - 1 places in a stream (the last token is never read), V image tokens to choose from, W width, H heads, D head
size, M image tokens seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.codecs.dvae import DVAE, DVAEConfig
from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, prompt_alone, seeded
from limner.nn.blocks import Linear, ParallelBlock
from limner.process import grid_attention
from limner.process.categorical import choose
from limner.process.guidance import drop, guide


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 64
    codec: DVAEConfig = field(default_factory=DVAEConfig)
    length: int = 32  # text tokens; longer texts are cut, shorter ones padded
    width: int = 256
    depth: int = 6
    heads: int = 4
    hidden: int = 640  # of the SwiGLU in each block
    kernel: int = 5  # tokens a side that the last layer sees
    text_share: float = 0.125  # of the loss; the picture has the rest
    dropped: float = 0.1  # share of captions replaced by the empty one, for guidance

    def __post_init__(self) -> None:
        factor = self.codec.factor
        check(
            self.image_size >= 2 * factor and self.image_size % factor == 0,
            f"image_size = {self.image_size} is not 2 or more tokens of {factor} pixels (codec.groups = "
            f"{self.codec.groups}); set image_size = {8 * factor}, say",
        )
        check(self.width % self.heads == 0, f"width = {self.width} does not divide into heads = {self.heads}")
        check(self.depth >= 1, f"depth = {self.depth} must be 1 or more")
        check(self.kernel % 2 == 1, f"kernel = {self.kernel} has no middle: set an odd number, 5 say")
        check(self.length >= 2, f"length = {self.length} leaves no room for text; set length = 32, say")
        check(0.0 <= self.text_share < 1.0, f"text_share = {self.text_share} is not a share from 0 up to 1")
        check(0.0 <= self.dropped < 1.0, f"dropped = {self.dropped} is not a share from 0 up to 1")

    @property
    def side(self) -> int:
        """Of the grid of tokens."""
        return self.image_size // self.codec.factor


@dataclass(frozen=True, slots=True)
class Knobs:
    temperature: float = 1.0  # below 1 prefers the likelier tokens
    top_k: int = 0  # choose among so many of the likeliest; 0: among all
    top_p: float = 1.0  # choose within the smallest set of this probability
    guidance: float = 3.0  # 1 is none
    tokens_per_step: int = 8  # how often there is something new to see; the picture does not depend on it

    def __post_init__(self) -> None:
        check(self.temperature > 0.0, f"temperature = {self.temperature} must be above 0; 1 is the model's own")
        check(self.top_k >= 0, f"top_k = {self.top_k} must be 1 or more, or 0 for all tokens")
        check(0.0 < self.top_p <= 1.0, f"top_p = {self.top_p} is not above 0 and up to 1")
        check(0.0 <= self.guidance <= 30.0, f"guidance = {self.guidance} is not from 0 to 30; 1 is none, 3 is usual")
        check(self.tokens_per_step >= 1, f"tokens_per_step = {self.tokens_per_step} must be 1 or more")


# ---------------------------------------------------------------------------------------------------
# The transformer.


@dataclass(frozen=True, slots=True)
class Memory:
    """What the blocks remember of R streams: `pages` (blocks, R, H, T, 2 D) of keys and values side by side, zero where
    nothing is yet."""

    pages: Tensor

    @staticmethod
    def gather(rows: Sequence[tuple[Memory, int]]) -> Memory:
        """Copies of rows, of one memory or of several."""
        return Memory(torch.stack([memory.pages[:, row] for memory, row in rows], dim=1))

    def __len__(self) -> int:
        return self.pages.shape[1]


class Pattern(nn.Module):
    """Who sees whom in the layers of one kind.

    `mask` (T, T) is for whole streams. For streams that grow by a token, at place L - 1 + i, row i of `places`
    (N, L + M) says what it sees, the text first; `seen` (N, L + M) is False where that is padding.
    """

    mask: Tensor
    places: Tensor
    seen: Tensor

    def __init__(self, grid: Tensor, *, length: int) -> None:
        super().__init__()
        mask = grid_attention.after_text(grid, length)[:-1, :-1]
        places, seen = grid_attention.neighbours(mask[length - 1 :])
        for name, tensor in (("mask", mask), ("places", places), ("seen", seen)):
            self.register_buffer(name, tensor, persistent=False)

    def lookup(self, index: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """For tokens number `index` (R,) of streams that begin at `starts` (R, H, 1): the rows of what they see
        (R, H, L + M), and which of them count, (R, 1, 1, L + M)."""
        return starts + self.places[index][:, None], self.seen[index][:, None, None]


class Transformer(nn.Module):
    def __init__(self, config: Config, words: int) -> None:
        super().__init__()
        width, side = config.width, config.side
        self.length, self.total = config.length, config.length + side * side - 1
        self.word = nn.Embedding(words, width)
        self.padding = nn.Parameter(torch.empty(config.length, width))  # where there is no word, for each place its own
        self.word_place = nn.Parameter(torch.empty(config.length, width))
        self.code = nn.Embedding(config.codec.vocabulary, width)
        self.row = nn.Parameter(torch.empty(side, 1, width))
        self.column = nn.Parameter(torch.empty(1, side, width))
        self.kinds = grid_attention.kinds(config.depth)
        grids = {
            "row": grid_attention.row(side),
            "column": grid_attention.column(side),
            "convolution": grid_attention.convolution(side, config.kernel),
        }
        self.patterns = nn.ModuleDict(
            {kind: Pattern(grids[kind], length=config.length) for kind in dict.fromkeys(self.kinds)}
        )
        self.blocks = nn.ModuleList(
            ParallelBlock(width, heads=config.heads, hidden=config.hidden) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(width)
        self.say_word = nn.Linear(width, words)
        self.say_code = Linear(width, config.codec.vocabulary)
        self.initialise()

    def initialise(self) -> None:
        """Every block begins as the identity, every answer as nearly uniform."""
        for embedding in (self.word.weight, self.code.weight, self.padding):
            nn.init.normal_(embedding, std=0.3)
        for place in (self.word_place, self.row, self.column):
            nn.init.normal_(place, std=0.1)
        for block in self.blocks:
            assert isinstance(block, ParallelBlock)
            nn.init.zeros_(block.out.weight)
        for say in (self.say_word, self.say_code):
            nn.init.normal_(say.weight, std=0.02)
            nn.init.zeros_(say.bias)
            say._limner_group = "adamw"  # type: ignore[assignment]  # Muon is for hidden matrices

    def embed_words(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) to (B, L, W)."""
        return torch.where(mask[..., None], self.word(ids), self.padding) + self.word_place

    def embed_codes(self, codes: Tensor, places: Tensor) -> Tensor:
        """Image tokens at their places in raster order, both of one shape, to vectors."""
        embedded: Tensor = self.code(codes) + (self.row + self.column).flatten(0, 1)[places]
        return embedded

    def forward(self, ids: Tensor, mask: Tensor, codes: Tensor) -> Tensor:
        """Texts (B, L) and the first n of their pictures' tokens, (B, n) with n < N, to (B, L + n, W): each place
        knows what follows it, which `say_word` or `say_code` says."""
        places = torch.arange(codes.shape[1], device=codes.device)
        x = torch.cat([self.embed_words(ids, mask), self.embed_codes(codes, places)], dim=1)
        size = x.shape[1]
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = block(x, turn=None, memory=None, mask=self._pattern(kind).mask[:size, :size])
        return self.norm(x)

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Memory, Tensor]:
        """Texts (B, L) into a memory, all but their last token; and the vector (B, W) of that one, to proceed with."""
        x = self.embed_words(ids, mask)
        x, last = x[:, :-1], x[:, -1]
        pages = []
        for block in self._blocks():
            query, key, value, gated = block.project(x, turn=None)
            pages.append(torch.cat([key, value], dim=-1))
            x = block.join(x, F.scaled_dot_product_attention(query, key, value, is_causal=True), gated)
        return Memory(F.pad(torch.stack(pages), (0, 0, 0, self.total - x.shape[1]))), last

    def proceed(self, x: Tensor, index: Tensor, memory: Memory) -> Tensor:
        """Vectors (R, W) of the tokens at L - 1 + `index` (R,) to the logits (R, V) of image token number `index`."""
        _, rows, heads, total, _ = memory.pages.shape
        starts = total * torch.arange(rows * heads, device=x.device).reshape(rows, heads, 1)
        here = (starts + (self.length - 1 + index)[:, None, None]).flatten()
        lookups = {kind: self._pattern(kind).lookup(index, starts) for kind in self.patterns}
        x = x[:, None]
        for kind, block, page in zip(self.kinds, self._blocks(), memory.pages, strict=True):
            query, key, value, gated = block.project(x, turn=None)
            page.flatten(0, 2).index_copy_(0, here, torch.cat([key, value], dim=-1).flatten(0, 2))
            x = block.join(x, attend(query, page, *lookups[kind]), gated)
        logits: Tensor = self.say_code(self.norm(x[:, 0]))
        return logits

    def _blocks(self) -> list[ParallelBlock]:
        return [block for block in self.blocks if isinstance(block, ParallelBlock)]

    def _pattern(self, kind: str) -> Pattern:
        pattern = self.patterns[kind]
        assert isinstance(pattern, Pattern)
        return pattern


def attend(query: Tensor, page: Tensor, places: Tensor, seen: Tensor) -> Tensor:
    """One query (R, H, 1, D) to the rows `places` (R, H, L + M) of a page of keys and values (R, H, T, 2 D). They are
    copied, since they do not lie together in the stream; `seen` (R, 1, 1, L + M) says which of them count."""
    key, value = F.embedding(places, page.flatten(0, 2)).chunk(2, dim=-1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen)


# ---------------------------------------------------------------------------------------------------
# The family.


@dataclass(slots=True, kw_only=True)
class DalleSketch(Sketch):
    """The first `drawn` of `tokens` (N,) are there. `last` (1, W), or (2, W) with guidance, are the last text tokens of
    the prompt and of what is guided away from; `rows` are theirs in `memory`, which other sketches may share."""

    tokens: Tensor
    last: Tensor
    memory: Memory
    rows: tuple[int, ...]
    paint: Callable[[Tensor, int], Tensor]
    drawn: int = 0

    @property
    def goal(self) -> int:
        """How many tokens there are after the present step."""
        return min((self.step + 1) * self.request.knobs.tokens_per_step, len(self.tokens))

    def preview(self) -> Tensor | None:
        """What is there, on grey."""
        if self.estimate is None and self.drawn:
            return self.paint(self.tokens, self.drawn)
        return self.estimate


class Dalle(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["tiny"] = replace(
        presets["base"], image_size=32, length=32, width=32, depth=3, heads=2, hidden=64, kernel=3,
        codec=DVAEConfig(vocabulary=64, groups=3, blocks=1, width=16, start=32, cooling=0.5, warming=0.15),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.codec = DVAE(config.codec)
        self.transformer = Transformer(config, tokenizer.size)

    # -- training ----------------------------------------------------------------------------------

    def calibrate(self, batch: Batch) -> None:
        self.codec.calibrate(batch.images)

    def steps(self) -> list[Step]:
        return [
            Step("codec", list(self.codec.parameters()), self.reconstruct, anneal=self.codec.anneal),
            Step("tokens", list(self.transformer.parameters()), self.predict),
        ]

    def reconstruct(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        return self.codec.loss(batch.images, generator)

    def predict(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The cross-entropy of text and of image tokens in nats, each averaged over its own kind, then mixed."""
        config, model = self.config, self.transformer
        with torch.no_grad():
            codes = self.codec.encode(batch.images).flatten(1)
        ids, mask = self.tokenize(drop(batch.captions, share=config.dropped, generator=generator))
        known = model(ids, mask, codes[:, :-1])
        words, pixels = known[:, : config.length - 1], known[:, config.length - 1 :]
        text = F.cross_entropy(model.say_word(words).flatten(0, 1), ids[:, 1:].flatten())
        image = F.cross_entropy(model.say_code(pixels).flatten(0, 1), codes.flatten())
        loss = config.text_share * text + (1.0 - config.text_share) * image
        return {"loss": loss, "text": text.detach(), "image": image.detach()}

    def compile_for_training(self) -> None:
        """One graph serves all blocks, as they differ in their mask alone."""
        for block in self.transformer.blocks:
            block.compile(dynamic=False)

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask (B, L)."""
        ids, mask = self.tokenizer.encode(texts, self.config.length)
        tail = (0, self.config.length - ids.shape[1])
        return F.pad(ids, tail).to(self.device), F.pad(mask, tail).to(self.device)

    # -- drawing -----------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        for request in requests:
            prompt_alone(replace(request, negative_prompt=""), "DALL-E")  # what guidance leads away from has its use
        texts = [(one.prompt, one.negative_prompt)[: 1 if one.knobs.guidance == 1.0 else 2] for one in requests]
        unique = list(dict.fromkeys(text for pair in texts for text in pair))
        memory, last = self.transformer.read(*self.tokenize(unique))
        sketches = [
            self._begin(request, memory, last, tuple(unique.index(text) for text in pair))
            for request, pair in zip(requests, texts, strict=True)
        ]
        _move(sketches)
        return [*sketches]

    def _begin(self, request: Request, memory: Memory, last: Tensor, rows: tuple[int, ...]) -> DalleSketch:
        count = self.config.side**2
        return DalleSketch(
            request=request, generator=seeded(request.seed), steps=-(-count // request.knobs.tokens_per_step),
            tokens=torch.zeros(count, dtype=torch.int64, device=self.device), last=last[list(rows)], memory=memory,
            rows=rows, paint=self.unfinished,
        )  # fmt: skip

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        drawn = [sketch for sketch in sketches if isinstance(sketch, DalleSketch)]
        assert len(drawn) == len(sketches)
        while waiting := [sketch for sketch in drawn if sketch.drawn < sketch.goal]:
            self._draw_token(waiting)
        for sketch in drawn:
            sketch.step += 1
        done = [sketch for sketch in drawn if sketch.done]
        if done:
            for sketch, picture in zip(done, self.paint(torch.stack([one.tokens for one in done])), strict=True):
                sketch.estimate = picture

    @torch.inference_mode()  # a tenth faster than without gradients alone; what is made in it stays in the memory
    def _draw_token(self, sketches: list[DalleSketch]) -> None:
        """The next token of each, by one pass of the network."""
        guided = [row for row, sketch in enumerate(sketches) if len(sketch.rows) == 2]
        memory = _together(sketches)
        index = torch.tensor([sketch.drawn for sketch in sketches], device=memory.pages.device)
        index = torch.cat([index, index[guided]])
        logits = self.transformer.proceed(self._last(sketches, guided, index), index, memory)
        cond, uncond = logits[: len(sketches)], logits[len(sketches) :]
        if guided:
            scale = torch.tensor([sketches[row].request.knobs.guidance for row in guided], device=logits.device)
            cond[guided] = guide(cond[guided], uncond, scale)
        for sketch, token in zip(sketches, self._choose(cond, sketches), strict=True):
            sketch.tokens[sketch.drawn] = token
            sketch.drawn += 1

    def _last(self, sketches: list[DalleSketch], guided: list[int], index: Tensor) -> Tensor:
        """The vector (R, W) of the last token of each row: of its text where nothing is drawn yet."""
        before = (index - 1).clamp(min=0)
        tokens = torch.stack([sketch.tokens for sketch in (*sketches, *(sketches[row] for row in guided))])
        codes = self.transformer.embed_codes(tokens.gather(1, before[:, None])[:, 0], before)
        words = torch.cat([one.last[:1] for one in sketches] + [sketches[row].last[1:] for row in guided])
        return torch.where(index[:, None] > 0, codes, words)

    def _choose(self, logits: Tensor, sketches: Sequence[DalleSketch]) -> Tensor:
        knobs = [sketch.request.knobs for sketch in sketches]
        uniform = torch.cat([torch.rand(1, generator=one.generator, dtype=torch.float64) for one in sketches])
        settings = {
            name: torch.tensor([getattr(one, name) for one in knobs], device=logits.device)
            for name in ("temperature", "top_k", "top_p")
        }
        return choose(logits, uniform.to(logits.device), **settings)

    def paint(self, tokens: Tensor) -> Tensor:
        """(B, N) to pictures (B, 3, H, W)."""
        return self.codec.decode(rearrange(tokens, "B (h w) -> B h w", h=self.config.side))

    @torch.no_grad()
    def unfinished(self, tokens: Tensor, drawn: int) -> Tensor:
        """The picture (3, H, W) of the first `drawn` of tokens (N,), grey where there are none yet."""
        there = torch.arange(len(tokens), device=tokens.device) < drawn
        there = rearrange(there, "(h w) -> 1 h w", h=self.config.side)
        factor = self.config.codec.factor
        return self.paint(tokens[None])[0] * there.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def _together(sketches: Sequence[DalleSketch]) -> Memory:
    """The memory of these sketches and no others: the prompts' rows, then those that are guided away from.

    Rows are copied only when a sketch joins or leaves.
    """
    memory = sketches[0].memory
    rows = [row for which in (0, 1) for sketch in sketches for row in sketch.rows[which : which + 1]]
    if any(sketch.memory is not memory for sketch in sketches) or rows != list(range(len(memory))):
        _move(sketches)
    return sketches[0].memory


def _move(sketches: Sequence[DalleSketch]) -> None:
    """Into a memory of their own."""
    places = [(number, which) for which in (0, 1) for number, one in enumerate(sketches) if which < len(one.rows)]
    memory = Memory.gather([(sketches[number].memory, sketches[number].rows[which]) for number, which in places])
    for number, sketch in enumerate(sketches):
        sketch.memory, sketch.rows = memory, tuple(row for row, place in enumerate(places) if place[0] == number)
