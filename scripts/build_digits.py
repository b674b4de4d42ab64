"""Build src/limner/assets/digits.png: the 1,797 handwritten digits that scikit-learn ships, on one sheet.

    pip install scikit-learn==1.9.1 && python scripts/build_digits.py

Row d holds the 8 x 8 pictures of digit d in the data set's order; what is left of a row is black. The data set counts
the inked pixels of 4 x 4 blocks, 0 to 16; the sheet has 15 times that, so that it can be looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

ASSETS = Path(__file__).resolve().parents[1] / "src/limner/assets"
SIDE, SCALE = 8, 15

LICENCE = """\
The pictures in digits.png are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak
(1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, in the copy that scikit-learn distributes
(sklearn.datasets.load_digits). They are under the Creative Commons Attribution 4.0 International licence (CC BY 4.0):
https://creativecommons.org/licenses/by/4.0/legalcode

Changes: the counts 0 to 16 are multiplied by 15, and the pictures are sorted by digit onto one sheet.
"""


def sheet(images: np.ndarray, digits: np.ndarray) -> Image.Image:
    """(1797, 8, 8) counts and their digits to one grey picture."""
    rows = [images[digits == digit] for digit in range(10)]
    page = np.zeros((10 * SIDE, max(map(len, rows)) * SIDE), np.uint8)
    for digit, row in enumerate(rows):
        strip = row.transpose(1, 0, 2).reshape(SIDE, -1)
        page[digit * SIDE : (digit + 1) * SIDE, : strip.shape[1]] = SCALE * strip
    return Image.fromarray(page)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--out", type=Path, default=ASSETS)
    asked = arguments.parse_args()
    data = load_digits()
    sheet(data.images.astype(np.uint8), data.target).save(asked.out / "digits.png", optimize=True)
    (asked.out / "digits.LICENSE").write_text(LICENCE, encoding="utf-8")
    print(f"{len(data.target)} digits, {(asked.out / 'digits.png').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
