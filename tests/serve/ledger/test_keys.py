"""API keys: told once, found by their secret alone; and what each may ask for, counted together by all who ask."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.core import InputError
from limner.serve.ledger import Allowance, Key, Keys, Ledger
from limner.serve.ledger.allowance import Limits, Spent, spend
from tests.serve.ledger.orders import START, accepted
from tests.serve.ledger.places import Place

MIDNIGHT = START - START % 86400
HOUR = 3600.0
times = st.floats(-90_000, 90_000).map(lambda seconds: START + seconds)


@pytest.fixture
def keys(place: Place) -> Iterator[Keys]:
    with closing(Keys.open(place.url)) as found:
        yield found


def test_a_key_is_found_by_its_secret(keys: Keys) -> None:
    one, secret = keys.add("one", rate_per_minute=5, quota_per_day=100)
    two, other = keys.add("two")
    assert (one.name, one.rate_per_minute, one.quota_per_day, one.revoked) == ("one", 5, 100, None)
    assert [keys.find(secret), keys.find(other)] == [one, two]
    assert keys.all() == [one, two]
    for wrong in ("", secret[:-1], secret + "=", secret.upper(), "lim_", "\0", "\ud83d", one.name, "' OR 1=1 --"):
        assert keys.find(wrong) is None


def test_the_secret_is_random_and_is_nowhere_in_the_database(place: Place, keys: Keys) -> None:
    secrets = [keys.add(f"key {number}")[1] for number in range(5)]
    assert len(set(secrets)) == 5
    assert all(secret.startswith("lim_") and len(secret) == 4 + 43 for secret in secrets)
    kept = str(place.run("SELECT * FROM keys"))
    assert "key 4" in kept
    assert not any(secret[4:] in kept for secret in secrets)


def test_a_revoked_key_is_found_no_more_and_its_name_is_free(keys: Keys) -> None:
    one, secret = keys.add("one")
    with pytest.raises(InputError, match="there is a key 'one' already"):
        keys.add("one")
    assert [keys.revoke(one.id), keys.revoke(one.id), keys.revoke(99)] == [True, False, False]
    assert keys.find(secret) is None
    again, _ = keys.add("one")
    assert [key.revoked is None for key in keys.all()] == [False, True]
    assert again.id != one.id


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0b", "x" * 101])
def test_a_name_is_a_line_that_can_be_read(keys: Keys, name: str) -> None:
    with pytest.raises(InputError, match="no name of 1 to 100"):
        keys.add(name)
    assert keys.all() == []


@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_a_limit_is_a_number_of_pictures(keys: Keys, limit: int) -> None:
    with pytest.raises(InputError, match="a limit of"):
        keys.add("one", rate_per_minute=limit)
    with pytest.raises(InputError, match="a limit of"):
        keys.add("one", quota_per_day=limit)


def test_keys_are_looked_after_while_a_server_works(place: Place, keys: Keys) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        key, secret = keys.add("one")
        assert ledger.keys.find(secret) == key
        assert accepted(ledger, key=key.id).key == key.id
        keys.revoke(key.id)
        assert ledger.keys.find(secret) is None
        accepted(ledger)


def test_what_is_spent_is_spent_after_a_restart(place: Place, keys: Keys) -> None:
    key, _ = keys.add("one", rate_per_minute=6)
    assert keys.spend(key.id, 6, START) == Allowance(True)
    assert keys.spend(key.id, 1, START + 2) == Allowance(False, 8)
    keys.close()
    with closing(Keys.open(place.url)) as again:
        assert again.spend(key.id, 1, START + 9) == Allowance(False, 1)
        assert again.spend(key.id, 1, START + 10) == Allowance(True)


def test_a_days_quota_is_free_again_at_midnight(keys: Keys) -> None:
    key, _ = keys.add("one", quota_per_day=10)
    assert keys.spend(key.id, 10, MIDNIGHT + HOUR) == Allowance(True)
    assert keys.spend(key.id, 1, MIDNIGHT + 23.5 * HOUR) == Allowance(False, 1800)
    assert keys.spend(key.id, 11, MIDNIGHT + HOUR) == Allowance(False, None)
    assert keys.spend(key.id, 10, MIDNIGHT + 24 * HOUR) == Allowance(True)


def test_a_key_without_limits_may_ask_for_anything(keys: Keys) -> None:
    key, _ = keys.add("one")
    assert {keys.spend(key.id, 10**6, START) for _ in range(5)} == {Allowance(True)}
    with pytest.raises(KeyError):
        keys.spend(key.id + 1, 1, START)
    with pytest.raises(InputError):
        keys.spend(key.id, 0, START)


def test_who_asks_at_once_does_not_get_more(place: Place) -> None:
    """Through one server's connections, or those of several."""
    several = [Keys.open(place.url) for _ in range(4)]
    key, _ = several[0].add("one", rate_per_minute=50, quota_per_day=20)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: several[number % 4].spend(key.id, 1, START), range(64)))
    for keys in several:
        keys.close()
    assert sum(one.allowed for one in answers) == 20


# ---------------------------------------------------------------------------------------------------
# The arithmetic.


asked = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 10)), min_size=1, max_size=40)


@given(asked, st.integers(1, 20), st.integers(1, 200))
def test_no_window_of_time_has_more_than_its_share(asked: list[tuple[float, int]], rate: int, quota: int) -> None:
    """In any window at most a full bucket and what flowed in, and one order that was larger than the bucket."""
    now, spent, allowed = MIDNIGHT, Spent(), []
    for pause, pictures in asked:
        now += pause
        answer, spent = spend(spent, Limits(rate, quota), pictures, now)
        allowed += [(now, pictures)] * answer.allowed
    assert sum(pictures for _, pictures in allowed) <= quota
    for first, last in itertools.combinations_with_replacement(range(len(allowed)), 2):
        flowed = (allowed[last][0] - allowed[first][0]) * rate / 60
        total = sum(pictures for _, pictures in allowed[first : last + 1])
        assert total <= rate + flowed + max(0, allowed[last][1] - rate) + 1e-3


@given(times, times, st.integers(1, 30), st.none() | st.integers(1, 30), st.none() | st.integers(1, 30))
def test_after_the_wait_it_is_allowed_and_not_a_second_before(
    before: float, now: float, pictures: int, rate: int | None, quota: int | None
) -> None:
    limits = Limits(rate, quota)
    _, spent = spend(Spent(), limits, min(pictures, quota or pictures), before)
    answer, spent = spend(spent, limits, pictures, now)
    if quota is not None and pictures > quota:
        assert answer == Allowance(False, None)
    elif not answer.allowed:
        assert answer.retry_after is not None
        assert answer.retry_after >= 1
        assert spend(spent, limits, pictures, now + answer.retry_after)[0].allowed
        assert not spend(spent, limits, pictures, now + answer.retry_after - 1.001)[0].allowed


def test_a_clock_that_was_wrong_locks_nobody_out() -> None:
    """A day too late, and then right again: what is lacking is still a minute at most."""
    limits = Limits(rate_per_minute=2)
    _, spent = spend(Spent(), limits, 2, START + 86400)
    answer, spent = spend(spent, limits, 1, START)
    assert answer == Allowance(False, 30)
    assert spend(spent, limits, 1, START + 30)[0].allowed


def test_a_key_says_what_it_is() -> None:
    assert "secret" not in Key.__dataclass_fields__
