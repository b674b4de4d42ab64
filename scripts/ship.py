"""Put a trained run's weights into the package: half precision, in files of at most 16 MB, with their measured card.

    limner score --model runs/flow-scenes --out scores
    python scripts/ship.py runs/flow-scenes --images 1000000 --scores scores

Nothing is shipped whose numbers nobody measured: each folder of scores is what `limner score --out` wrote of this run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from limner import families
from limner.pipeline import SHIPPED, find_model

SHARD = 16 * 10**6

CARD = """# {name}

A `{family}` model of {weights:,} weights that draws 128 x 128 scenes of emoji and shapes from a caption, trained from
nothing by `recipes/{recipe}` on {images:,} scenes. The pictures that it learnt from are Noto Color Emoji (SIL Open Font
License 1.1) and shapes; it knows nothing else of the world.

How often a picture shows what was asked, read back by the scorer of `docs/scorer.md`; the lines of real scenes and of
shuffled captions say how far the scorer itself can be trusted:

{tables}

{remarks}
"""


def table(path: Path) -> str:
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["about"]
    knobs = ", ".join(f"{key} {value}" for key, value in about["knobs"].items())
    return f"### {about['split']} scenes ({knobs})\n\n{path.with_name('table.md').read_text(encoding='utf-8')}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--scores", type=Path, required=True, nargs="+")
    arguments.add_argument("--name", default="flow-scenes")
    arguments.add_argument("--images", type=int, required=True, help="seen in training, all runs together")
    arguments.add_argument("--remarks", default="")
    asked = arguments.parse_args()
    family = families.load(find_model(asked.run))
    tables = "\n".join(map(table, sorted(path for folder in asked.scores for path in folder.glob("*/table.json"))))
    card = CARD.format(
        name=asked.name, family=families.name_of(family), recipe=f"{asked.name}.toml", images=asked.images,
        weights=sum(one.numel() for one in family.parameters()), tables=tables, remarks=asked.remarks,
    )  # fmt: skip
    families.save(SHIPPED / asked.name, family, card=card, dtype=torch.float16, shard_bytes=SHARD)
    print(SHIPPED / asked.name)


if __name__ == "__main__":
    main()
