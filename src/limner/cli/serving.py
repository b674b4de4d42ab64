"""What `limner serve` does: open the ledger and the address, and answer until somebody ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner import engine
from limner.core import InputError, check, nearest
from limner.pipeline import CPU
from limner.shelf import DEFAULT

if TYPE_CHECKING:
    from limner.serve.ledger import Key, Keys, Ledger
    from limner.serve.listening import Address

GIB, DAY = 1 << 30, 86400.0
LEDGER, PICTURES = "ledger.sqlite", "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    models: Sequence[str]
    host: str
    port: int
    names: Sequence[str]
    data: Path
    ledger: str | None
    queue: int
    wait: float
    memory: float
    pictures: float
    days: float
    grace: float
    page: bool
    log_prompts: bool
    precision: str
    compile: str


def hold(order: Order, *, say: Callable[[str], object]) -> None:
    """Open the address and the ledger, and serve."""
    needed("limner.serve.app")
    engine.check_can_compute(order.precision, CPU)
    engine.check_wish(order.compile)
    from limner.serve.ledger import Ledger
    from limner.serve.listening import Address

    address = Address.open(order.host, order.port, names=order.names)
    with closing(address.socket):
        order.data.mkdir(parents=True, exist_ok=True)
        with closing(Ledger.open(place(order.data, order.ledger))) as ledger:
            guarded = any(key.revoked is None for key in ledger.keys.all())
            check(
                guarded or not address.key,
                f"--host {order.host} can be reached by others, and there is no key; limner keys add NAME makes one",
            )
            _serve(order, ledger, address, say)


def _serve(order: Order, ledger: Ledger, address: Address, say: Callable[[str], object]) -> None:
    from limner.serve.app import application
    from limner.serve.catalogue import Catalogue
    from limner.serve.pictures import Pictures
    from limner.serve.running import run
    from limner.serve.seeing import logs
    from limner.serve.seeing.metrics import Metrics
    from limner.serve.service import Service, Terms
    from limner.serve.studio.limits import Limits

    terms = Terms(
        waiting=order.wait, keeping=order.days * DAY, precision=order.precision, compile=order.compile,
        studio=Limits(waiting=order.queue, memory=int(order.memory * GIB)),
    )  # fmt: skip
    pictures = Pictures(order.data / PICTURES, int(order.pictures * GIB), order.days * DAY)
    logs.begin(prompts=order.log_prompts)
    metrics = Metrics()
    service = Service(ledger, pictures, Catalogue.of(order.models or [DEFAULT]), terms, watch=metrics)
    say(f"{address.url.partition('?')[0]} draws with {', '.join(service.catalogue)} (Ctrl-C ends it)")
    run(application(service, address, metrics, page=order.page), service, address, grace=order.grace)


def place(data: Path, ledger: str | None) -> str | Path:
    """Where the ledger is."""
    return data / LEDGER if ledger is None else ledger


def existing(data: Path, ledger: str | None) -> str | Path:
    """The same, of a service that has been there: a mistyped folder is not a new one."""
    found = place(data, ledger)
    if isinstance(found, Path) and not found.exists():
        raise InputError(f"{found} does not exist; give the service's folder by --data, or its database by --ledger")
    return found


def needed(module: str) -> Any:
    """What is needed to serve, which is not installed everywhere."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "limner":
            raise
        raise InputError(f'serving needs {missing}; pip install "limner[serve]"') from None


def about_key(key: Key) -> str:
    """A line for one key."""
    since = datetime.fromtimestamp(key.created).strftime("%Y-%m-%d")
    rate = "" if key.rate_per_minute is None else f", {key.rate_per_minute} a minute"
    quota = "" if key.quota_per_day is None else f", {key.quota_per_day} a day"
    return f"{key.name}: since {since}{rate}{quota}{'' if key.revoked is None else ', revoked'}"


def revoke(keys: Keys, name: str) -> None:
    holding = [key for key in keys.all() if key.revoked is None]
    found = [key for key in holding if key.name == name]
    hint = nearest(name, [key.name for key in holding])
    check(len(found) > 0, f'there is no key "{name}"{hint}; limner keys list says which there are')
    keys.revoke(found[0].id)
