"""Being asked to stop: the first signal lets the present iteration finish, the second leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

SHOW_CURSOR = b"\x1b[?25h\n"


@contextlib.contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Within, the function handed out says whether SIGTERM or SIGINT has come. For the main thread."""
    came: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if came:
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)  # a progress bar hides it
            os._exit(128 + number)
        came.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
