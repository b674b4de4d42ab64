"""The models that are served: by the names under which requests may ask for them, and by no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner import families
from limner.core import InputError, check, nearest, parse
from limner.shelf import find_model, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a model before it is loaded. `knobs` is its family's Knobs, `side` that of its usual picture,
    `created` when its folder was written, in seconds since 1970."""

    name: str
    folder: Path
    family: str
    hash: str
    side: int
    knobs: type
    created: float

    @property
    def defaults(self) -> dict[str, Any]:
        return asdict(self.knobs())

    def check_knobs(self, values: Mapping[str, Any]) -> None:
        """InputError where one is unknown, or of another type, or out of its range."""
        parse(self.knobs, values, f"the knobs of {self.name}")

    def has(self, knob: str) -> bool:
        return knob in self.defaults


class UnknownModelError(InputError):
    """No model of this name is served."""


class Catalogue(Mapping[str, Model]):
    """The first of the models is drawn with where a request names none."""

    def __init__(self, models: Sequence[Model]) -> None:
        check(len(models) > 0, "there is no model to serve; name one")
        self._models = {model.name: model for model in models}
        twice = [one.name for one in models if sum(one.name == other.name for other in models) > 1]
        check(not twice, f'two models have the name "{twice[0] if twice else ""}"; rename the folder of one')

    @classmethod
    def of(cls, names: Sequence[str]) -> Catalogue:
        """Shipped models by name, others by their folders; InputError where one draws nothing, or is not whole."""
        return cls([described(find_model(name)) for name in names])

    @property
    def default(self) -> Model:
        return next(iter(self._models.values()))

    def find(self, name: str | None) -> Model:
        """By its name, or the first. UnknownModelError says which there are."""
        if name is None:
            return self.default
        if name not in self._models:
            hint, known = nearest(name, list(self._models)), ", ".join(self._models)
            raise UnknownModelError(f'there is no model "{name[:100]}"{hint}; there are: {known}')
        return self._models[name]

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def described(folder: Path) -> Model:
    """InputError if it is no model, or one that draws no pictures."""
    about = families.describe(folder)
    family = families.find(about.family)
    check(family.draws(), f"{folder} is a {about.family} and draws no pictures; limner models says which do")
    return Model(
        name=name_of(folder), folder=folder, family=about.family, hash=about.hash, knobs=family.Knobs,
        side=int(about.config["image_size"]), created=folder.stat().st_mtime,
    )  # fmt: skip
