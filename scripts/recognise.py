"""What a CLIP recognises in scenes, seen and unseen combinations side by side, as a table.

    python scripts/recognise.py runs/clip-scenes [--scenes 500] [--seed 0]

The model is a run's or a model's folder, or a CLIP as OpenAI, open_clip or transformers keep it.
"""

from __future__ import annotations

import argparse

from limner.evaluate.recognition import recognition, to_markdown
from limner.pipeline import find_judge


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("--scenes", type=int, default=500, help="for each question and split")
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    judge = find_judge(asked.model)
    print(f"{judge.name} ({judge.hash[:10]}), {asked.scenes} scenes of seed {asked.seed} for each question\n")
    print(to_markdown(recognition(judge, scenes=asked.scenes, seed=asked.seed)), end="")


if __name__ == "__main__":
    main()
