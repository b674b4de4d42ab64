"""A place for a ledger in each of the two databases; every test of the ledger runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner.serve.ledger import Ledger
from tests.serve.ledger.places import Cluster, InPostgresql, InSqlite, Place, cluster


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    """Makes an empty place each time it is called."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        return lambda: InPostgresql(server)
    return lambda: InSqlite(tmp_path)


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    with closing(Ledger.open(place.url)) as found:
        yield found
