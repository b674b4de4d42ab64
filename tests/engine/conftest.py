"""What tests of kernels stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from limner.engine import kernels
from tests.engine.kernel import MACHINES, forget


@pytest.fixture(params=MACHINES or [None])
def each_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With the kernels for each of those that this one is: its name."""
    if request.param:
        monkeypatch.setattr(kernels, "MACHINES", {request.param: kernels.MACHINES[request.param]})
    forget()
    yield request.param or ""
    forget()


@pytest.fixture
def anew() -> Iterator[None]:
    """What kernels there are is found out again, and by who comes next."""
    forget()
    yield
    forget()


@pytest.fixture
def dtype(each_machine: str) -> torch.dtype:
    """Of the numbers that it is for."""
    return next(dtype for dtype, kind in kernels.KINDS.items() if each_machine in kind.by or not each_machine)


@pytest.fixture
def only_drawing() -> Iterator[None]:
    """Without gradients, and from the same numbers each time."""
    torch.manual_seed(0)
    with torch.no_grad():
        yield
