"""An address to listen at, and a server that answers there until it is told to stop."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from limner.core import InputError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE = 3  # seconds that a request in progress is given when the server is to stop


@dataclass(frozen=True, slots=True)
class Address:
    """A socket that listens. `hosts` are the names that requests may come by, `key` is empty on this machine alone."""

    socket: socket.socket
    host: str
    hosts: tuple[str, ...]
    key: str

    @classmethod
    def open(cls, host: str, port: int, *, names: Sequence[str] = ()) -> Self:
        """Listen at `host`, a name or an address of this machine; port 0 is any free one. InputError if that fails.

        `names` are others that requests may come by, of a proxy or a container say; with some, `host` may be every
        address of the machine.
        """
        try:
            family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            address = ipaddress.ip_address(place[0])
            if address.is_unspecified and not names:
                raise InputError(f"--host {host} is every address of this machine; name the one that others will open")
            found = socket.create_server((str(place[0]), port), family=family)
            # asyncio does so itself, but not where a socket's protocol is not named; without it answers wait for 40 ms.
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except UnicodeError:
            raise InputError(f"--host {host} is no name that a machine can have; name an address of this one") from None
        except OSError as error:
            raise InputError(_failure(host, port, error)) from None
        written, names = f"[{address}]" if ":" in host else host.lower(), [name.lower() for name in names]
        if address.is_loopback:
            return cls(found, written, (*LOOPBACK, written, *names), key="")
        known = names if address.is_unspecified else (written, *names)
        return cls(found, names[0] if address.is_unspecified else written, tuple(known), key=secrets.token_urlsafe(16))

    @property
    def url(self) -> str:
        """What to open in a browser."""
        port = self.socket.getsockname()[1]
        return f"http://{self.host}:{port}/" + (f"?key={self.key}" if self.key else "")


def server(app: ASGIApp) -> uvicorn.Server:
    """A server that says nothing but what went wrong."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=GRACE
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, address: Address) -> None:
    """Answer requests until SIGINT or SIGTERM comes. For the main thread."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that both signals end alike
    try:
        server(app).run(sockets=[address.socket])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _failure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; name another by --port, or any free one by --port 0"
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"cannot listen at {host}, port {port}: {reason}; name an address of this machine by --host"
