"""The shared words: what flows between the rooms, and the contract that every family keeps.

Images are (B, 3, H, W) floats in [-1, 1]; t = 0 is data and t = 1 is noise; one generator for each
picture. Nothing here knows a family, a file format or an optimiser.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Generator, Tensor, nn

T = TypeVar("T")


class InputError(ValueError):
    """What somebody gave us is at fault: one line that says what, where, and what to do about it."""


# ---------------------------------------------------------------------------------------------------
# Data: captioned pictures by number.


@dataclass(frozen=True, slots=True)
class Example:
    """One captioned picture: `image` is (3, H, W) uint8, already at the size the model is trained at.

    `label` is its class where the data have classes: what two pictures share whatever their captions say.
    """

    image: Tensor
    caption: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """`images` is (B, 3, H, W) in [-1, 1]; `captions` has B strings, of which any may be empty.

    `labels` are the pictures' classes, B strings, or nothing where the data have none.
    """

    images: Tensor
    captions: Sequence[str]
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.captions)

    @staticmethod
    def of(examples: Sequence[Example]) -> Batch:
        images = torch.stack([example.image for example in examples]).float().div_(127.5).sub_(1.0)
        labels = [example.label for example in examples]
        return Batch(images, [example.caption for example in examples], labels if any(labels) else ())

    def to(self, device: torch.device) -> Batch:
        return Batch(self.images.to(device, non_blocking=True), self.captions, self.labels)


class Source(Protocol):
    """An endless row of examples in which number `index` is a pure function of (source, index).

    A run's place in its data is therefore one integer, and resuming is starting at that integer. A
    finite folder is made endless by a new permutation in each epoch, keyed by the epoch's number.
    """

    def __getitem__(self, index: int) -> Example: ...


# ---------------------------------------------------------------------------------------------------
# Text and codecs.


class Tokenizer(Protocol):
    """Text to numbers. Every Unicode string is legal; the empty one is the unconditional prompt."""

    @property
    def size(self) -> int:
        """How many different tokens there are."""
        ...

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """Ids (B, L) int64 and mask (B, L) bool (True where there is text), L <= `length`; longer texts are cut."""
        ...

    def to_json(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What a text encoder says of B texts: `tokens` (B, L, D), `mask` (B, L) True where there is text."""

    tokens: Tensor
    mask: Tensor

    def __getitem__(self, rows: slice | Tensor | list[int]) -> TextFeatures:
        return TextFeatures(self.tokens[rows], self.mask[rows])

    def mean(self) -> Tensor:
        """The mean over each text's tokens, (B, D)."""
        share = self.mask / self.mask.sum(dim=1, keepdim=True)
        return torch.einsum("BLD,BL->BD", self.tokens, share)


class TextEncoder(Protocol):
    def __call__(self, texts: Sequence[str]) -> TextFeatures: ...


class Codec(Protocol):
    """Pixels (B, 3, H, W) in [-1, 1] to latents (B, C, h, w) and back."""

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


# ---------------------------------------------------------------------------------------------------
# Training: what a family asks of the trainer.

Loss = Callable[[Batch, Generator], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Step:
    """One update: `loss(batch, generator)["loss"]` is minimised over `parameters`, the other entries are logged.

    A diffusion model has one step, a GAN two, a cascade one for each stage, a model over a codec's
    tokens one for the codec and one for itself. A step runs in every `every`-th iteration, at `rate` times the
    recipe's learning rates: two networks that play against each other may need two (Heusel et al. 2017). `anneal` is
    for a loss that changes: before each update it is told how much of the step's training has passed, from 0 to 1.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Loss
    every: int = 1
    rate: float = 1.0
    anneal: Callable[[float], None] | None = None


# ---------------------------------------------------------------------------------------------------
# Drawing: a request, and the picture in the making.


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for, of `size` (H, W) pixels or, without one, of the model's own.

    `image` is (3, H, W) in [-1, 1]; `mask` is (1, H, W) from 0 to 1: 1 where to paint, between where what is painted
    fades into the image.
    """

    prompt: str
    seed: int
    knobs: Any
    negative_prompt: str = ""
    size: tuple[int, int] | None = None
    image: Tensor | None = None
    mask: Tensor | None = None


def prompt_alone(request: Request, family: str) -> None:
    """InputError where more is given than a prompt: for families that draw from that alone."""
    given = {"an image": request.image, "a mask": request.mask, "a negative prompt": request.negative_prompt or None}
    for name, value in given.items():
        check(value is None, f"{family} draws from the prompt alone and has no use for {name}: leave it out")


@dataclass(slots=True, kw_only=True)
class Sketch:
    """A picture in the making: all that belongs to it alone, until it is done.

    A family adds its own fields in a subclass: the noisy image, the tokens so far, the canvas, the
    encoded text, the sampler's memory. `advance` may be handed sketches at different steps and with
    different knobs. `estimate` is the best guess so far at the finished picture, (3, H, W) in [-1, 1].
    """

    request: Request
    generator: Generator
    steps: int
    step: int = 0
    estimate: Tensor | None = None

    @property
    def done(self) -> bool:
        return self.step >= self.steps

    def preview(self) -> Tensor | None:
        """The running estimate, (3, H, W) in [-1, 1]; None before the first step."""
        return self.estimate

    @property
    def image(self) -> Tensor:
        """The finished picture, (3, H, W) in [-1, 1]."""
        assert self.done, f"at step {self.step} of {self.steps} there is no picture yet"
        assert self.estimate is not None
        return self.estimate.clamp(-1.0, 1.0)


def seeded(seed: int) -> Generator:
    """The generator of one picture. Always on the CPU, so that a seed means the same noise on every device."""
    return torch.Generator("cpu").manual_seed(seed)


@dataclass(frozen=True, slots=True)
class NoKnobs:
    """Nothing can be set."""


class Family(nn.Module):
    """A family of text-to-image models: how it is built, trained and sampled. See docs/DESIGN.md.

    `Config` is the architecture (with `image_size`), `Knobs` what may be set at sampling; both are
    frozen dataclasses and read strictly by `parse`. `presets` has at least `tiny` and `base`. A family
    that draws no pictures (CLIP, which judges them) leaves out `Knobs`, `begin` and `advance`. One that
    draws over images has the knob `strength`: how much of an image is drawn anew, 1 being all.
    """

    Config: ClassVar[type]
    Knobs: ClassVar[type] = NoKnobs
    presets: ClassVar[Mapping[str, Any]]

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @classmethod
    def draws(cls) -> bool:
        """Whether it draws pictures at all."""
        return cls.begin is not Family.begin

    @property
    def multiple(self) -> int | None:
        """The sides of a picture may be any multiples of so many pixels; None: they are `config.image_size` both."""
        return None

    def networks(self) -> list[nn.Module]:
        """The parts that drawing spends its time in, which may do so in half precision. `engine` makes them fast."""
        return []

    def calibrate(self, batch: Batch) -> None:
        """Set in closed form, once, before a fresh training begins: a linear basis, a latent's scale, a mean."""

    def steps(self) -> list[Step]:
        """The updates of one training iteration, in order. All of them see the same batch."""
        raise NotImplementedError

    def check(self, request: Request, *, redrawn: bool) -> None:
        """InputError where `begin` would find that it cannot be drawn: asked of all before any is drawn.

        `redrawn` says whether it has an image, or will have one when it is drawn a second time.
        """

    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        """Encode the texts, draw each picture's first noise from its own generator."""
        raise InputError(f"a {type(self).__name__} model draws no pictures; limner models says which do")

    def advance(self, sketches: Sequence[Sketch]) -> None:
        """One step for each sketch, in one network call; none of them is done. Changes them in place.

        They may be of different sizes where `multiple` allows that: a family then groups them itself, a call for each.
        """
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------------
# Configuration: mappings to typed objects, strictly.


def nearest(word: str, known: Sequence[str]) -> str:
    """' (did you mean "steps"?)', or nothing where no known word is near."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f' (did you mean "{match[0]}"?)' if match else ""


def parse(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Read a mapping into a dataclass, strictly.

    An unknown key, a missing one and a value of another type are each an InputError that names
    `where` (a file and table, say), the key and the value. Nested dataclasses are read in turn, lists
    become tuples, and an int is accepted where a float is meant.
    """
    assert dataclasses.is_dataclass(kind), kind
    fields = {one.name: one for one in dataclasses.fields(kind) if one.init}
    hints = _hints(kind)
    for key in values:
        if key not in fields:
            raise InputError(f'{where}: unknown key "{key}"{nearest(key, list(fields))}; known: {", ".join(fields)}')
    found = {key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    for key, one in fields.items():
        if key not in found and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise InputError(f'{where}: the key "{key}" is missing; add {key} = ...')
    try:
        return typing.cast(T, kind(**found))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Looked up once: it takes longer than the reading."""
    return typing.get_type_hints(kind)


def unparse(value: Any) -> Any:
    """The inverse of `parse`: plain dicts, lists, numbers and strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: unparse(getattr(value, one.name)) for one in dataclasses.fields(value) if one.init}
    if isinstance(value, Mapping):
        return {key: unparse(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [unparse(one) for one in value]
    return value


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            hinted = nearest(str(value), [str(one) for one in arguments])
            raise InputError(f"{where} = {value!r} is not one of {', '.join(map(repr, arguments))}{hinted}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return parse(typing.cast(type, hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        hints = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(value) != len(hints):
            raise InputError(f"{where} = {list(value)!r} has {len(value)} values, not {len(hints)}")
        return tuple(_value(inner, one, where) for inner, one in zip(hints, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(arguments[1], one, f"{where}: {key}") for key, one in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, where)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise InputError(f"{where} = {value!r} is a {type(value).__name__}, not a {getattr(hint, '__name__', hint)}")


def _finite(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{where} = {number} is not a finite number")
    return number


def _union(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    choices = [hint for hint in hints if hint is not type(None)]
    choices.sort(key=lambda hint: _likeness(hint, value))  # the likeliest one, being last, says what is wrong
    for hint in choices[:-1]:
        try:
            return _value(hint, value, where)
        except InputError:
            continue
    return _value(choices[-1], value, where)


def _likeness(hint: Any, value: Any) -> int:
    """How many of a mapping's keys are fields of the dataclass `hint`."""
    if not (dataclasses.is_dataclass(hint) and isinstance(value, Mapping)):
        return 0
    return len({one.name for one in dataclasses.fields(hint)} & value.keys())


def check(condition: bool, message: str) -> None:
    """For a config's or a knob's own `__post_init__`: an InputError with `message` unless `condition`."""
    if not condition:
        raise InputError(message)


__all__ = [
    "Batch", "Codec", "Example", "Family", "InputError", "Loss", "NoKnobs", "Request", "Sketch", "Source", "Step",
    "TextEncoder", "TextFeatures", "Tokenizer", "check", "nearest", "parse", "prompt_alone", "seeded", "unparse",
]  # fmt: skip
