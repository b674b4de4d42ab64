"""How often a model draws the digits that a caption names where it names them: seen and unseen compositions.

    python scripts/score_digits.py runs/aligndraw-digits [--prompts 500] [--out table.md]

The column of real pictures is the reader's own accuracy, on drawings that it was not fitted to (evaluate/digits.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from limner.evaluate.digits import examine
from limner.pipeline import Pipeline


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("model")
    arguments.add_argument("--prompts", type=int, default=500)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path)
    asked = arguments.parse_args()
    pipeline = Pipeline.from_pretrained(asked.model)
    text = ""
    for split in ("seen", "unseen"):
        table = examine(pipeline, split=split, prompts=asked.prompts, seed=asked.seed)
        text += f"### {split} compositions\n\n{table.to_markdown()}\n"
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
