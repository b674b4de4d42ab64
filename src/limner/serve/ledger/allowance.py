"""How many pictures may be asked for with a key: so many a minute, so many a day. Arithmetic alone.

The rate is a bucket that holds a minute's worth and fills evenly (the generic cell rate algorithm): all that is to be
known of it is how many seconds it lacks until it is full. An order of more than a minute's worth waits for a full
bucket and leaves it in debt, so that it is drawn some time, and the rate holds in the long run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE, DAY = 60.0, 86400
SLACK = 1e-6  # seconds: times since 1970 have no more digits


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether it is allowed; where not, in how many whole seconds it will be, or None: so many at once never are."""

    allowed: bool
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Pictures a minute and pictures a day (UTC). None is no limit."""

    rate_per_minute: int | None = None
    quota_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """`lag` seconds were lacking at the time `seen`; on `day`, counted from 1970, `pictures` were asked for."""

    lag: float = 0.0
    seen: float = 0.0
    day: int = 0
    pictures: int = 0


def spend(before: Spent, limits: Limits, pictures: int, now: float) -> tuple[Allowance, Spent]:
    """Ask for `pictures` at the time `now`: the answer, and what is spent then. A clock set back gives nothing."""
    if limits == Limits():
        return Allowance(True), before
    lag = max(0.0, before.lag - max(0.0, now - before.seen))
    today = math.floor(now / DAY)
    used = before.pictures if before.day == today else 0
    quota = limits.quota_per_day
    if quota is not None and pictures > quota:
        return Allowance(False), before
    waits = [_until_filled(lag, limits.rate_per_minute, pictures)]
    if quota is not None and used + pictures > quota:
        waits.append((today + 1) * DAY - now)
    if max(waits) > SLACK:
        seen = Spent(lag, now, today, used) if now < before.seen else before  # else nothing is to be written
        return Allowance(False, math.ceil(max(waits) - SLACK)), seen
    cost = pictures * MINUTE / limits.rate_per_minute if limits.rate_per_minute else 0.0
    return Allowance(True), Spent(lag + cost, now, today, used + pictures)


def _until_filled(lag: float, rate: int | None, pictures: int) -> float:
    """Seconds until the bucket has enough, or all that it can hold."""
    return lag + min(pictures, rate) * MINUTE / rate - MINUTE if rate else 0.0
