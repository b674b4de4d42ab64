"""The table of families, and families to and from model folders. A new family is one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from limner import store
from limner.core import Family, InputError, Tokenizer, nearest, parse, unparse
from limner.store.pages import Spans, forget, mappings
from limner.store.weights import check_match, finite
from limner.text import load_tokenizer

DType = Callable[[], torch.dtype | None]  # None: as they are in their files

TABLE = {
    "aligndraw": "limner.families.aligndraw:AlignDRAW",
    "clip": "limner.families.clip:CLIP",
    "dalle": "limner.families.dalle:Dalle",
    "df_gan": "limner.families.df_gan:DFGAN",
    "flow": "limner.families.flow:Flow",
    "gan_int_cls": "limner.families.gan_int_cls:GANIntCls",
    "regressor": "limner.families.regressor:Regressor",
    "stable_diffusion": "limner.families.stable_diffusion:StableDiffusion",
}

FOREIGN = ("limner.families.stable_diffusion_layouts",)  # can `recognise` and `read` paths, and `write`


def find(name: str) -> type[Family]:
    """The class of a family by its name in TABLE; InputError that names the nearest."""
    if name not in TABLE:
        raise InputError(f'unknown family "{name}"{nearest(name, list(TABLE))}; known: {", ".join(TABLE)}')
    module, _, kind = TABLE[name].partition(":")
    found: type[Family] = getattr(importlib.import_module(module), kind)
    return found


def name_of(family: Family) -> str:
    """The inverse of `find`."""
    kind = type(family)
    place = f"{kind.__module__}:{kind.__qualname__}"
    names = [name for name, one in TABLE.items() if one == place]
    assert names, f"{place} is not in families.TABLE"
    return names[0]


def build(name: str, config: Any, tokenizer: Tokenizer) -> Family:
    """A fresh family. `config` is its Config, or a mapping that is read into one strictly."""
    kind = find(name)
    typed = parse(kind.Config, config, f"{name}: config") if isinstance(config, Mapping) else config
    return kind(typed, tokenizer)


def save(
    folder: Path, family: Family, *, card: str = "", dtype: torch.dtype | None = None, shard_bytes: int | None = None
) -> None:
    """Write a model folder, all of it or nothing.

    `dtype` is for the parameters on disk (torch.float16 halves the file); buffers are constants of the
    mathematics and keep theirs. `shard_bytes` splits the weights (see `store.write`).
    """
    tensors: dict[str, Tensor] = dict(family.state_dict())
    if dtype is not None:
        learnt = {name for name, one in family.named_parameters() if one.is_floating_point()}
        tensors = {name: _narrowed(name, one, dtype) if name in learnt else one for name, one in tensors.items()}
    store.write(
        folder, family=name_of(family), config=unparse(family.config), tokenizer=family.tokenizer.to_json(),
        tensors=tensors, card=card, shard_bytes=shard_bytes,
    )  # fmt: skip


def load(path: Path, *, dtype: DType | None = None) -> Family:
    """The family in a model folder or in a model of another program, on the CPU, in evaluation mode; its numbers are
    those of the mapped files.

    What was stored in half precision is widened to what the family computes in; its `networks`, where it names any, are
    made what `dtype` says if that is given, for drawing alone. InputError if any file or key is missing, foreign or of
    another shape.
    """
    found = _read_foreign(path)
    return _load_own(path, dtype) if found is None else _cast_all(found.built(), dtype)


def describe(path: Path) -> store.Description:
    """What there is to know of a model before it is loaded. One of another program has no sums to be checked
    by: its keys and shapes are."""
    found = _read_foreign(path)
    if found is None:
        return store.describe(path)
    found.check()
    about: store.Description = found.described()
    return about


def load_described(path: Path, *, dtype: DType | None = None) -> tuple[Family, store.Description]:
    """Both at once: what other programs wrote takes a second to read."""
    found = _read_foreign(path)
    if found is None:
        return _load_own(path, dtype), store.describe(path)
    return _cast_all(found.built(), dtype), found.described()


def foreign(path: Path) -> Any:
    """The module that reads what lies there, where that is a model of another program."""
    if store.holds_model(path):
        return None
    return next((one for one in map(importlib.import_module, FOREIGN) if one.recognise(path)), None)


def _read_foreign(path: Path) -> Any:
    """The same model, read and not yet built."""
    layouts = foreign(path)
    return None if layouts is None else layouts.read(path)


def _load_own(folder: Path, dtype: DType | None) -> Family:
    stored = store.read(folder)
    where = folder / "config.json"
    if stored.family not in TABLE:
        raise InputError(f'{where}: unknown family "{stored.family}"{nearest(stored.family, list(TABLE))}')
    kind = find(stored.family)
    config: Any = parse(kind.Config, stored.config, f"{where}: config")
    with WithoutInitialising():
        family = kind(config, load_tokenizer(stored.tokenizer))
    expected = family.state_dict(keep_vars=True)
    check_match(f"{folder}: weights and config do not belong together", expected, stored.tensors)
    drawing, files = _drawing(family, dtype), mappings()
    kinds = {name: drawing.get(id(one), one.dtype) for name, one in expected.items()}
    family.load_state_dict(
        {name: _cast(stored.tensors[name], kind, mapped=files) for name, kind in kinds.items()}, assign=True
    )
    return family.eval()


def export(path: Path, family: Family) -> None:
    """Write a model as other programs read it, where any does, and as ours does elsewhere."""
    for layouts in map(importlib.import_module, FOREIGN):
        if layouts.takes(family):
            layouts.write(path, family)
            return
    save(path, family)


@torch.no_grad()
def _cast_all(family: Family, dtype: DType | None) -> Family:
    """Weights that are there in any precision to float32, and those of its `networks` to what `dtype` says."""
    drawing, files = _drawing(family, dtype), mappings()
    for one in family.state_dict(keep_vars=True).values():
        if one.is_floating_point():
            one.data = _cast(one.data, drawing.get(id(one), torch.float32), mapped=files)
    return family


def _drawing(family: Family, dtype: DType | None) -> dict[int, torch.dtype | None]:
    """What tensors of its `networks` are to be, by their ids. Nobody is asked for a family without."""
    own = [id(one) for network in family.networks() for one in network.state_dict(keep_vars=True).values()]
    return dict.fromkeys(own, dtype()) if own and dtype is not None else {}


def _cast(tensor: Tensor, dtype: torch.dtype | None, *, mapped: Spans) -> Tensor:
    made = tensor if dtype is None else tensor.to(dtype)
    if made is not tensor:
        forget(tensor, mapped=mapped)
    return made


class WithoutInitialising(TorchFunctionMode):
    """Random first weights that are replaced at once need not be drawn. (Building on torch's meta device
    would lose the buffers that are computed and not stored, and imports the compiler, which takes seconds.)"""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


FILLING = (torch.empty_like, Tensor.copy_, Tensor.fill_, Tensor.zero_, Tensor.normal_, Tensor.uniform_)


class Hollow(WithoutInitialising):
    """Parameters take no memory either: each is one number, seen as often as its shape says. All must be replaced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.empty:
            size = args[0] if len(args) == 1 and not isinstance(args[0], int) else args
            return torch.zeros((), **(kwargs or {})).expand(size)
        if func in FILLING and 0 in args[0].stride():  # what is left of initialising
            return args[0]
        return super().__torch_function__(func, types, args, kwargs)


def _narrowed(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    narrow = tensor.to(dtype)
    if finite(tensor) and not finite(narrow):
        raise InputError(f"{name} holds numbers too large for {dtype}; save it as torch.bfloat16 or leave it as it is")
    return narrow
