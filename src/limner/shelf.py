"""Models by name: those that came with the package, those of runs, and any by its path."""

from __future__ import annotations

from pathlib import Path

from limner import store
from limner.core import InputError, nearest
from limner.judge import Judge

SHIPPED = Path(__file__).parent / "assets" / "models"
DEFAULT, JUDGE = "flow-scenes", "clip-scenes"


def shipped() -> list[str]:
    """The names of the models that came with the package."""
    return sorted(path.name for path in SHIPPED.glob("*") if store.holds_model(path))


def find_model(name: str | Path) -> Path:
    """The folder of a shipped model by its name, or any model by its path; a run's folder means the model in it."""
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
    if folder.is_file():
        return folder.stem
    return folder.resolve().parent.name if folder.name == "model" else folder.name


def models(runs: Path = Path("runs")) -> list[Path]:
    """The folders of models: the shipped ones, then those of the runs in `runs`."""
    trained = (path / "model" for path in runs.glob("*"))
    return [SHIPPED / name for name in shipped()] + sorted(filter(store.holds_model, trained))
