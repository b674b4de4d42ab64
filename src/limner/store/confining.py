"""A process gives up what it does not need before it reads what it does not trust (Linux; elsewhere what there is).

`python -I confining.py ARGUMENTS` is store/unpickling.py's main, confined. Each function says in a few words what holds
from then on, or nothing where the system does not let it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # of unshare(2)
DEATH_SIGNAL, NO_NEW_PRIVILEGES, SECCOMP, FILTER = 1, 38, 22, 2  # of prctl(2)
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the filter's machine
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
ARCHITECTURES = {  # its number, and those of socket, connect, execve, execveat, ptrace, kill and io_uring_setup
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 62, 425)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 129, 425)),
}
OTHER_NUMBERS = 0x40000000  # from here on x86 has the same calls once more


def without_network() -> str:
    """Before any thread is started: a network of its own, in which there is nothing."""
    libc = _libc()
    if libc is None or not hasattr(libc, "unshare"):
        return ""
    alone = libc.unshare(NEW_NETWORK) == 0 or libc.unshare(NEW_USER | NEW_NETWORK) == 0
    return "no network" if alone else ""


def with_its_parent() -> None:
    """It ends when the process that began it ends."""
    if (libc := _libc()) is not None and hasattr(libc, "prctl"):
        libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def without_programs() -> str:
    """No connection and no other program can be begun any more: the system refuses the calls."""
    libc, known = _libc(), ARCHITECTURES.get(platform.machine())
    if libc is None or known is None or not hasattr(libc, "prctl"):
        return ""
    filters = _filters(*known)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in filters))
    program = struct.pack("HxxxxxxP", len(filters), ctypes.addressof(code))
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, ctypes.c_char_p(program), 0, 0):
        return ""
    return "no connections and no programs"


def _filters(architecture: int, refused: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Instructions: code, how many to skip where it is true, how many where not, a number."""
    rows = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    left = len(refused)
    rows.append((AT_LEAST, left + 1, 0, OTHER_NUMBERS))
    rows += [(EQUAL, left - place, 0, number) for place, number in enumerate(refused)]
    return [*rows, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]


def limited(*, memory: int, seconds: int, file: int, files: int) -> list[str]:
    """At most so many bytes beyond what it has now, seconds of a processor, bytes of a file, and open files."""
    held = []
    sizes = _sizes()
    for kind, now in ((resource.RLIMIT_AS, sizes[0]), (resource.RLIMIT_DATA, sizes[5])):
        held.append(now > 0 and _limit(kind, now + memory))
    said = [f"{memory >> 20:,} MB of memory"] if all(held) else []
    for kind, most, words in (
        (resource.RLIMIT_CPU, seconds, f"{seconds:,} s of a processor"),
        (resource.RLIMIT_FSIZE, file, f"{file >> 20:,} MB of output"),
        (resource.RLIMIT_NOFILE, files, f"{files} files"),
    ):
        said += [words] if _limit(kind, most) else []
    _limit(resource.RLIMIT_CORE, 0)
    return said


def _limit(kind: int, most: int) -> bool:
    try:
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    except (OSError, ValueError):
        return False
    return True


def _sizes() -> list[int]:
    """In bytes: all of the address space, resident, shared, text, 0, data; zeros where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return [0] * 7
    return [int(one) * resource.getpagesize() for one in pages]


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None


if __name__ == "__main__":
    with_its_parent()
    held = without_network()  # while there is one thread: libraries may start more
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # which -I leaves out
    from limner.store import unpickling

    unpickling.main(held)
