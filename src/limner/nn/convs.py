"""How networks of convolutions grow a picture from a map of 4 x 4, or shrink it to one."""

from __future__ import annotations

from limner.core import check

START = 4  # pixels a side of the coarsest map
MOST = 8  # times the base: no map has more channels


def doublings(image_size: int) -> int:
    """How often a side of 4 doubles until it is `image_size`; InputError where it never is."""
    count = (image_size // START).bit_length() - 1
    check(
        count > 0 and image_size == START << count,
        f"image_size = {image_size} is not 4 doubled some times; set 32, 64 or 128, say",
    )
    return count


def widths(base: int, maps: int) -> list[int]:
    """The channels of `maps` maps from fine to coarse: `base`, and twice as many for each halving, up to 8 * `base`."""
    return [base * min(2**place, MOST) for place in range(maps)]
