"""The table of solvers, by the names that users know. A new solver is one file, and one line here."""

from __future__ import annotations

from limner.core import InputError, check, nearest
from limner.process.diffusion import NoiseSchedule
from limner.process.solvers.dpmpp_2m import DPMpp2M, DPMpp2MSDE
from limner.process.solvers.dpmpp_sde import DPMppSDE
from limner.process.solvers.first_order import DDIM, DDPM, Euler, EulerAncestral
from limner.process.solvers.heun import Heun
from limner.process.solvers.lcm import LCM
from limner.process.solvers.lms import LMS
from limner.process.solvers.pndm import PNDM
from limner.process.solvers.solver import Solver
from limner.process.solvers.unipc import UniPC

SOLVERS: dict[str, type[Solver]] = {
    "ddim": DDIM,
    "ddpm": DDPM,
    "dpmpp_2m": DPMpp2M,
    "dpmpp_2m_sde": DPMpp2MSDE,
    "dpmpp_sde": DPMppSDE,
    "euler": Euler,
    "euler_ancestral": EulerAncestral,
    "heun": Heun,
    "lcm": LCM,
    "lms": LMS,
    "pndm": PNDM,
    "unipc": UniPC,
}

# Names in other programs: a solver, and a spacing where the name says that too. Capitals do not count.
ALIASES: dict[str, tuple[str, str | None]] = {
    # AUTOMATIC1111's
    "Euler a": ("euler_ancestral", None),
    "Euler a Karras": ("euler_ancestral", "karras"),
    "Euler Karras": ("euler", "karras"),
    "Heun Karras": ("heun", "karras"),
    "LMS Karras": ("lms", "karras"),
    "DPM++ 2M": ("dpmpp_2m", None),
    "DPM++ 2M Karras": ("dpmpp_2m", "karras"),
    "DPM++ 2M SDE": ("dpmpp_2m_sde", None),
    "DPM++ 2M SDE Karras": ("dpmpp_2m_sde", "karras"),
    "DPM++ 2M SDE Exponential": ("dpmpp_2m_sde", "exponential"),
    "DPM++ SDE": ("dpmpp_sde", None),
    "DPM++ SDE Karras": ("dpmpp_sde", "karras"),
    "PLMS": ("pndm", None),
    # diffusers'
    "DDIMScheduler": ("ddim", None),
    "DDPMScheduler": ("ddpm", None),
    "DPMSolverMultistepScheduler": ("dpmpp_2m", None),
    "DPMSolverSDEScheduler": ("dpmpp_sde", None),
    "EulerAncestralDiscreteScheduler": ("euler_ancestral", None),
    "EulerDiscreteScheduler": ("euler", None),
    "HeunDiscreteScheduler": ("heun", None),
    "LCMScheduler": ("lcm", None),
    "LMSDiscreteScheduler": ("lms", None),
    "PNDMScheduler": ("pndm", None),
    "UniPCMultistepScheduler": ("unipc", None),
}


def find(name: str, spacing: str | None = None) -> tuple[type[Solver], str]:
    """The class by its name or alias, and the spacing: the one that is asked for, else the one in the alias, else the
    solver's usual one. InputError that names the nearest, or says that the spacing does not apply."""
    names: dict[str, tuple[str, str | None]] = {one: (one, None) for one in SOLVERS}
    names |= {alias.casefold(): found for alias, found in ALIASES.items()}
    if name.casefold() not in names:
        hint = nearest(name, [*SOLVERS, *ALIASES])
        raise InputError(f'unknown solver "{name}"{hint}; known: {", ".join(SOLVERS)}')
    known, implied = names[name.casefold()]
    return SOLVERS[known], SOLVERS[known].check_spacing(spacing or implied)


def build(
    name: str, schedule: NoiseSchedule, *, steps: int, spacing: str | None = None, prediction: str = "epsilon",
    start: int = 0, eta: float | None = None,
) -> Solver:  # fmt: skip
    """A solver by name; see `find` and `Solver`."""
    kind, spacing = find(name, spacing)
    return kind(schedule, steps=steps, spacing=spacing, prediction=prediction, start=start, eta=eta)


def start_at(steps: int, *, strength: float) -> int:
    """How many of the steps are left out where a share `strength` of a picture is drawn anew."""
    taken = min(int(steps * strength), steps)
    check(taken >= 1, f"strength = {strength} of steps = {steps} leaves no step to take; raise one of them")
    return steps - taken
