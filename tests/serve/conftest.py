"""A service for many tests, and one that asks for a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from limner.serve.ledger import Keys
from tests.serving import Serving, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, model: str) -> Iterator[Serving]:
    """Without a key, with a small model."""
    with serving(tmp_path_factory.mktemp("service") / "data", [model]) as found:
        yield found


@dataclass(frozen=True)
class Keyed:
    """A service and the secret that opens it."""

    server: Serving
    secret: str


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory, model: str) -> Iterator[Keyed]:
    data: Path = tmp_path_factory.mktemp("keyed") / "data"
    data.mkdir()
    with closing(Keys.open(data / "ledger.sqlite")) as keys:
        _, secret = keys.add("tests")
    with serving(data, [model], secret=secret) as found:
        yield Keyed(found, secret)
