from __future__ import annotations

import pytest

from limner.process.annealing import cosine


def test_it_goes_from_first_to_last_and_stays() -> None:
    found = [cosine(passed, over=0.4, first=1.0, last=0.2) for passed in (0, 0.1, 0.2, 0.3, 0.4, 1.0)]
    assert found == pytest.approx([1.0, 0.8828427, 0.6, 0.3171573, 0.2, 0.2])


def test_over_no_time_it_is_there_at_once() -> None:
    assert cosine(0, over=0, first=0.0, last=6.6) == 6.6
