"""Where it listens."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from limner.core import InputError
from limner.serve.listening import Address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_on_this_machine_alone_there_is_no_key(host):
    address = Address.open(host, 0)
    with closing(address.socket):
        port = address.socket.getsockname()[1]
        assert port > 0
        assert address.url == f"http://{host}:{port}/"
        assert {"127.0.0.1", "localhost", "[::1]", host} == set(address.hosts)
        assert address.key == ""


def own_address() -> str:
    """The one of this machine's that others could reach it by; no packet is sent for it."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its own loopback")
        return str(probe.getsockname()[0])


def test_where_others_can_reach_it_there_is_a_key_and_one_name():
    host = own_address()
    address = Address.open(host, 0)
    with closing(address.socket):
        assert len(address.key) >= 20
        assert address.url.endswith(f"/?key={address.key}")
        assert address.hosts == (host,)


def test_what_cannot_be_listened_at_is_said():
    with closing(Address.open("127.0.0.1", 0).socket) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use; name another by --port"):
            Address.open("127.0.0.1", port)
    for host, said in (
        ("0.0.0.0", "every address"),
        ("192.0.2.1", "cannot listen at 192.0.2.1"),
        ("no.such.host.invalid", "cannot listen"),
    ):
        with pytest.raises(InputError, match=said):
            Address.open(host, 0)


def test_names_are_the_same_in_capitals():
    address = Address.open("LocalHost", 0, names=["Studio.Example"])
    with closing(address.socket):
        assert {"localhost", "studio.example"} <= set(address.hosts)


def test_a_name_that_none_can_have_is_said():
    with pytest.raises(InputError, match="no name that a machine can have"):
        Address.open("a" * 64 + ".example", 0)
