"""Stable Diffusions in other programs' files, as folders of diffusers and as single files (Rombach et al. 2022).

Strictly: a weight that is missing, unknown or of another shape, and a part that our model has not, is an InputError of
one line. Weights are safetensors, and mapped; a pickle is refused (`limner convert` makes safetensors of it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from limner.core import Family, InputError
from limner.families.stable_diffusion import Config, StableDiffusion
from limner.families.stable_diffusion_layouts import names
from limner.families.stable_diffusion_layouts.folders import holds_folder, read_folder, write_folder
from limner.families.stable_diffusion_layouts.singles import holds_single, read_single, write_single_file
from limner.families.stable_diffusion_layouts.stored import Kind, Prediction, StoredForeign
from limner.store import weights
from limner.text.ended import Ended, Templated, ended

__all__ = ["StoredForeign", "read", "recognise", "write_diffusers", "write_single"]


def recognise(path: Path) -> Kind | None:
    """What there is, told by its content; None where it is no Stable Diffusion of another program's."""
    if holds_folder(path):
        return "diffusers"
    return "single" if holds_single(path) else None


def read(path: Path, *, variant: str = "", prediction: Prediction | None = None) -> StoredForeign:
    """A folder of diffusers or a single file: its config and its mapped weights, of which no number is read yet.

    `variant` is that of a folder's weights, fp16, say: without it the plain ones go first, and a variant where there
    are none. `prediction` is for single files that do not say it, and goes before what they say.
    """
    kind = recognise(path)
    if kind == "diffusers":
        return read_folder(path, variant=variant)
    if kind == "single":
        return read_single(path, prediction=prediction)
    if path.is_file():
        weights.check(path)
        raise InputError(f"{path} has no U-Net by the names of Stable Diffusion: name a whole model's file or folder")
    raise InputError(f"{path} is no model of diffusers: there is no model_index.json in it")


def takes(family: Family) -> bool:
    return isinstance(family, StableDiffusion)


def write(path: Path, family: StableDiffusion) -> None:
    """A single file where `path` ends in .safetensors, and else a folder of diffusers."""
    (write_single if path.suffix == ".safetensors" else write_diffusers)(path, family)


def write_diffusers(folder: Path, family: StableDiffusion) -> None:
    """Put a Stable Diffusion of ours where diffusers finds it, in the precision that it is in."""
    write_folder(folder, *_exported(family))


def write_single(file: Path, family: StableDiffusion) -> None:
    """The same as one file in the original layout, `NAME.safetensors`, and NAME.tokenizer.json beside it."""
    if file.suffix != ".safetensors":
        raise InputError(f"{file} is no name for a single file: let it end in .safetensors")
    write_single_file(file, *_exported(family))


def _exported(family: StableDiffusion) -> tuple[Config, Templated, dict[str, Tensor]]:
    """What other programs know of a model: nothing of its lessons, and one scale for all latents."""
    tokenizer = ended(family.tokenizer)
    words = tokenizer.templated() if isinstance(tokenizer, Ended) else tokenizer
    assert isinstance(words, Templated)
    config = replace(family.config, learning=None)
    tensors = {name: one for name, one in family.state_dict().items() if not name.startswith(names.LESSONS)}
    if config.vae.scale == "measured":
        config = replace(config, vae=replace(config.vae, scale=1.0, shift=0.0))
        tensors = _with_unit_latents(tensors)
    return config, words, tensors


def _with_unit_latents(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the autoencoder measured is done by its last layer before the latents and its first behind them."""
    found = dict(tensors)
    mean, spread, _ = (found.pop(f"{names.VAE}{one}").double() for one in ("mean", "spread", "measured"))
    inward, outward = f"{names.VAE}quant_conv.", f"{names.VAE}post_quant_conv."
    scale = torch.cat([1.0 / spread, torch.ones_like(spread)])  # of means, and of log-variances
    shift = torch.cat([-mean / spread, -2.0 * spread.log()])
    weight, bias = (found[inward + one].double() for one in ("weight", "bias"))
    turned = {inward + "weight": weight * scale[:, None, None, None], inward + "bias": bias * scale + shift}
    weight, bias = (found[outward + one].double() for one in ("weight", "bias"))
    turned[outward + "weight"] = weight * spread[:, None, None]
    turned[outward + "bias"] = bias + (weight[..., 0, 0] @ mean)
    return found | {name: one.to(found[name].dtype) for name, one in turned.items()}
