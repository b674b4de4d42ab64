"""What `limner convert` does: convert, and say what was done, what was left out, and what the reading was kept from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from limner.store.conversion import Kept, convert

WANTED = ("no network", "no connections and no programs")  # what the system may not be able to take away


def carry_out(old: Path, new: Path, kept: Kept, *, say: Callable[[str], object]) -> None:
    done = convert(old, new, kept=kept)
    say(f"{new}: {done.tensors:,} tensors ({_counted(done.dtypes)}), {done.size / 1e6:,.1f} MB")
    say(f"SHA-256 {done.hash}")
    if done.dropped:
        say(f"left out: {_counted(done.dropped)}")
    say(f"read by a process of its own with {', '.join(done.limits)}")
    if missing := [one for one in WANTED if one not in done.limits]:
        say(f"this system did not let it be without the rest: {', '.join(missing)}")


def _counted(things: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in things.items())
