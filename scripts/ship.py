"""Put a trained run's weights into the package: half precision, in files of at most 16 MB, with their measured card.

    limner score --model runs/flow-scenes --out scores
    python scripts/ship.py runs/flow-scenes --images 1000000 --scores scores
    python scripts/ship.py runs/clip-scenes --name clip-scenes --images 400000

Nothing is shipped whose numbers nobody measured: each folder of scores is what `limner score --out` wrote of this run,
and what draws no pictures but judges them is asked here what it recognises.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from limner import families
from limner.evaluate.recognition import recognition, to_markdown
from limner.judge import Judge
from limner.pipeline import SHIPPED, find_model

SHARD = 16 * 10**6
SCENES = 500  # of each question that a judge is asked

CARD = """# {name}

A `{family}` model of {weights:,} weights that {does}, trained from
nothing by `recipes/{recipe}` on {images:,} scenes. The pictures that it learnt from are Noto Color Emoji (SIL Open Font
License 1.1) and shapes; it knows nothing else of the world.

{read}

{tables}

{remarks}
"""

DRAWS = "draws 128 x 128 scenes of emoji and shapes from a caption"
SCORED = (
    "How often a picture shows what was asked, read back by the scorer of `docs/scorer.md`; the lines of real scenes "
    "and of\nshuffled captions say how far the scorer itself can be trusted:"
)
JUDGES = "says how near a picture is to a caption, and draws none"
ASKED = (
    "How often the nearest of several texts is a right one (`docs/families/clip.md`), for scenes whose combinations "
    "occur in\ntraining (seen) and scenes with one that never does (unseen):"
)


def scored(folders: list[Path]) -> str:
    """The tables that `limner score --out` wrote."""
    return "\n".join(map(table, sorted(path for folder in folders for path in folder.glob("*/table.json"))))


def table(path: Path) -> str:
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["about"]
    knobs = ", ".join(f"{key} {value}" for key, value in about["knobs"].items())
    return f"### {about['split']} scenes ({knobs})\n\n{path.with_name('table.md').read_text(encoding='utf-8')}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--scores", type=Path, nargs="+", help="of what draws pictures")
    arguments.add_argument("--name", default="flow-scenes")
    arguments.add_argument("--images", type=int, required=True, help="seen in training, all runs together")
    arguments.add_argument("--remarks", default="")
    asked = arguments.parse_args()
    family = families.load(find_model(asked.run))
    if family.draws() and not asked.scores:
        arguments.error("give --scores: what draws is shipped with its measured tables")
    family = family.half().float()  # what is measured is what is shipped
    tables = scored(asked.scores) if family.draws() else to_markdown(recognition(Judge(family), scenes=SCENES))
    card = CARD.format(
        name=asked.name, family=families.name_of(family), recipe=f"{asked.name}.toml", images=asked.images,
        does=DRAWS if family.draws() else JUDGES, read=SCORED if family.draws() else ASKED,
        weights=sum(one.numel() for one in family.parameters()), tables=tables, remarks=asked.remarks,
    )  # fmt: skip
    families.save(SHIPPED / asked.name, family, card=card, dtype=torch.float16, shard_bytes=SHARD)
    print(SHIPPED / asked.name)


if __name__ == "__main__":
    main()
