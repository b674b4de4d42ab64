"""Files, generated scenes or digits to examples. `open_source` knows which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from limner.core import InputError, Source


def open_source(
    spec: str | Path, *, size: int, split: str = "train", seed: int = 0, mix: Mapping[str, float] | None = None
) -> Source:
    """ "scenes", "digits", or a path to somebody's captioned pictures, as an endless row of examples of `size` pixels.

    `split` is "train" or "validation"; `mix` gives the share of each kind of scene, and is for scenes alone.
    """
    made = "seen" if split == "validation" else split  # as what we make ourselves calls it
    if str(spec) == "scenes":
        from limner.data.scenes import Scenes

        return Scenes(split=made, seed=seed, size=size, mix=mix)
    if mix:
        raise InputError(f"[data.mix] says how to mix kinds of scenes; {spec} has none: remove it")
    if str(spec) == "digits":
        from limner.data.digits import Digits

        return Digits(split=made, seed=seed, size=size)
    from limner.data.people import open_pictures

    return open_pictures(Path(spec), size=size, split=split, seed=seed)
