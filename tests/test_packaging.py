"""What is in the wheel, what is pinned, and what must never be in the source."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import limner

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Built from a copy, so that nothing is left in the working tree."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(copy)], check=True)
    [path] = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_all_that_drawing_needs(wheel):
    names = set(wheel.namelist())
    for path in (ROOT / "src/limner").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT / "src")) in names
    licences = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}
    assets = {f"src/limner/assets/{one}.LICENSE" for one in ("artwork", "digits", "names")}
    assert {"LICENSE", "NOTICE", *assets} <= licences
    [points] = [name for name in names if name.endswith("entry_points.txt")]
    assert "limner = limner.cli.main:main" in wheel.read(points).decode()
    [about] = [name for name in names if name.endswith("METADATA")]
    metadata = wheel.read(about).decode()
    assert f"\nVersion: {limner.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_no_file_is_over_16_mb_and_the_weights_are_under_32(wheel):
    sizes = {one.filename: one.file_size for one in wheel.infolist()}
    assert max(sizes.values()) <= 16 * MEGABYTE
    assert sum(size for name, size in sizes.items() if name.endswith(".safetensors")) <= 32 * MEGABYTE


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([a-z0-9.]+)", line) for line in lines if line and line[0] != "#"]
    assert all(found), "a line of constraints.txt is no exact pin"
    return {one[1]: one[2] for one in found if one}


def needed() -> set[str]:
    """The names of everything that the package and its extras need here, directly or not."""
    listed = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    todo, found = [Requirement(one) for one in listed], set[str]()
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name in found:
            continue
        found.add(name)
        try:
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        todo += [one for one in map(Requirement, further) if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_every_dependency_is_pinned_and_every_pin_fits():
    pinned = pins()
    assert needed() <= pinned.keys()
    for one in map(Requirement, PROJECT["dependencies"]):
        assert one.specifier.contains(pinned[canonicalize_name(one.name)])


BANNED_MODULES = {
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "torchvision",
    "torchaudio",
}
BANNED_CALLS = {"eval", "exec", "torch.load", "np.load", "numpy.load", "yaml.load"}


def sins(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in BANNED_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in BANNED_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BANNED_CALLS:
            yield ast.unparse(node.func)
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code"):
            yield node.arg


def test_nothing_in_the_source_unpickles_or_evaluates():
    wrong = "import pickle\nfrom dill import loads\neval('1')\ntorch.load(x)\nf(allow_pickle=True)"
    assert len(list(sins(ast.parse(wrong)))) == 5
    for folder in ("src", "scripts", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            confined = (
                ["torch.load"] if path.name == "unpickling.py" else []
            )  # a process of its own, of `limner convert`
            assert list(sins(ast.parse(path.read_text()))) == confined, path


def test_the_public_names_are_what_can_be_imported():
    assert limner.__all__ == sorted(limner.__all__)
    for name in limner.__all__:
        assert getattr(limner, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        limner.nothing_like_it  # noqa: B018


def test_the_licence_is_apaches_and_the_notice_names_the_artwork():
    licence, notice = (ROOT / "LICENSE").read_text(), (ROOT / "NOTICE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    for path in re.findall(r"src/limner/assets/\S+(?:LICENSE|zip|png)", notice):
        assert (ROOT / path).exists()
    assert "SIL Open Font License" in notice
    assert "Unicode" in notice
    assert "Creative Commons Attribution 4.0" in notice
