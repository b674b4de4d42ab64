from __future__ import annotations

from pathlib import Path

import pytest

from limner.core import InputError
from limner.process import solvers
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.solvers import ALIASES, SOLVERS, build, find

SCHEDULE = NoiseSchedule(ScheduleConfig())


def subclasses(kind: type) -> set[type]:
    return {kind} | {one for child in kind.__subclasses__() for one in subclasses(child)}


def test_every_solver_is_in_the_table_once() -> None:
    named = {one for one in subclasses(solvers.Solver) if hasattr(one, "grid")}
    assert set(SOLVERS.values()) == named
    assert len(SOLVERS) == len(named)
    used = {Path(kind.__module__.replace(".", "/")).name for kind in SOLVERS.values()}
    files = {file.stem for file in Path(solvers.__file__).parent.glob("*.py")}
    assert files - used == {"__init__", "solver"}


def test_every_alias_names_a_solver_and_a_spacing_that_applies() -> None:
    for alias, (name, spacing) in ALIASES.items():
        kind, found = find(alias)
        assert kind is SOLVERS[name]
        assert found == spacing or (spacing is None and found == kind.grid.usual)
        assert alias.casefold() not in SOLVERS
    assert len({alias.casefold() for alias in ALIASES}) == len(ALIASES)


@pytest.mark.parametrize(
    ("name", "spacing", "wanted"),
    [
        ("euler", None, ("euler", "linspace")),
        ("Euler A", None, ("euler_ancestral", "linspace")),
        ("DDIM", None, ("ddim", "leading")),
        ("plms", "trailing", ("pndm", "trailing")),
        ("DPM++ 2M Karras", None, ("dpmpp_2m", "karras")),
        ("dpm++ 2m karras", "exponential", ("dpmpp_2m", "exponential")),
        ("UniPCMultistepScheduler", None, ("unipc", "linspace")),
    ],
)
def test_names_are_found(name: str, spacing: str | None, wanted: tuple[str, str]) -> None:
    assert find(name, spacing) == (SOLVERS[wanted[0]], wanted[1])
    solver = build(name, SCHEDULE, steps=5, spacing=spacing)
    assert type(solver) is SOLVERS[wanted[0]]
    assert solver.spacing == wanted[1]


@pytest.mark.parametrize(
    ("name", "spacing", "words"),
    [
        ("eular", None, 'unknown solver "eular" .did you mean "euler"..; known: ddim, '),
        ("DPM++ 2M Karas", None, 'did you mean "DPM.. 2M Karras"'),
        ("ddim", "karras", 'spacing "karras" does not apply to DDIM.*it has leading, linspace, trailing$'),
        ("lcm", "leading", "does not apply to LCM.*it has trailing$"),
        ("euler", "linspce", 'did you mean "linspace"'),
    ],
)
def test_wrong_names_are_refused_in_one_line(name: str, spacing: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        find(name, spacing)
    assert "\n" not in str(refusal.value)


def test_eta_is_for_solvers_that_draw_noise() -> None:
    assert build("ddim", SCHEDULE, steps=5).eta == 0.0
    assert build("ddim", SCHEDULE, steps=5, eta=0.5).eta == 0.5
    assert build("euler_ancestral", SCHEDULE, steps=5).eta == 1.0
    with pytest.raises(InputError, match=r"eta = 0\.5, but Euler draws no noise: leave eta out"):
        build("euler", SCHEDULE, steps=5, eta=0.5)
    with pytest.raises(InputError, match=r"eta = 1\.5 is not from 0"):
        build("ddim", SCHEDULE, steps=5, eta=1.5)


def test_an_unknown_prediction_is_refused() -> None:
    with pytest.raises(InputError, match=r'unknown prediction "eps" .did you mean "epsilon"'):
        build("ddim", SCHEDULE, steps=5, prediction="eps")
