"""`limner keys`: who may ask a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from limner.serve.ledger import Keys

app = typer.Typer(no_args_is_help=True, help="Who may ask a service that `limner serve` runs.")

Data = Annotated[Path, typer.Option(help="The folder of the service, as limner serve has it.")]
LedgerUrl = Annotated[str | None, typer.Option("--ledger", help="The URL of its PostgreSQL, where it has one.")]
DATA = Path("studio")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    rate: Annotated[int | None, typer.Option(min=1, help="Pictures a minute, at most.")] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="Pictures a day, at most.")] = None,
    data: Data = DATA,
    ledger: LedgerUrl = None,
) -> None:
    """Make a key. It is shown this once, and kept only as a hash."""
    from limner.cli import serving

    if ledger is None:
        data.mkdir(parents=True, exist_ok=True)
    keys = _open(serving.place(data, ledger))
    _, secret = keys.add(name, rate_per_minute=rate, quota_per_day=quota)
    keys.close()
    typer.echo(secret)


@app.command("list")
def list_(data: Data = DATA, ledger: LedgerUrl = None) -> None:
    """All keys, a line each."""
    from limner.cli import serving

    keys = _open(serving.existing(data, ledger))
    found = keys.all()
    keys.close()
    for key in found:
        typer.echo(serving.about_key(key))
    if not found:
        typer.echo("there are none; limner keys add NAME makes one")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As it was given to `limner keys add`.")],
    data: Data = DATA,
    ledger: LedgerUrl = None,
) -> None:
    """From now on a key opens nothing."""
    from limner.cli import serving

    keys = _open(serving.existing(data, ledger))
    serving.revoke(keys, name)
    keys.close()
    typer.echo(f"{name} opens nothing any more")


def _open(place: str | Path) -> Keys:
    from limner.cli import serving

    serving.needed("limner.serve.ledger")
    from limner.serve.ledger import Keys

    return Keys.open(place)
