"""Make the reference of the shipped model, by which `limner monitor` tells drift: of the captions of its training
scenes, and of the scores of pictures that it draws of them.

    python scripts/reference.py [--captions 20000] [--pictures 300]
"""

from __future__ import annotations

import argparse
import io

from limner.data.scenes.source import Scenes
from limner.pipeline import DEFAULT, JUDGE, Pipeline, find_judge, find_model
from limner.serve.seeing.drift.pictures import clip_score
from limner.serve.seeing.drift.reference import Reference, place, tokenizer_of


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--captions", type=int, default=20_000)
    arguments.add_argument("--pictures", type=int, default=300)
    asked = arguments.parse_args()
    folder, scenes = find_model(DEFAULT), Scenes("seen", seed=0)
    captions = [scenes.truth(index).caption for index in range(asked.captions)]
    reference = Reference.of(captions, tokenizer_of(folder))
    pipe, judge = Pipeline.from_pretrained(DEFAULT), find_judge(JUDGE)
    prompts = captions[: asked.pictures]
    requests = [one for seed, prompt in enumerate(prompts) for one in pipe.requests(prompt, seeds=seed)]
    scores = []
    for prompt, picture in zip(prompts, pipe.stream(requests), strict=True):
        file = io.BytesIO()
        picture.image.save(file, "PNG")
        scores.append(clip_score(judge, file.getvalue(), prompt))
    reference.scored(scores, judge=judge.name, judge_hash=judge.hash).write(place(folder))
    print(
        f"{place(folder)}: {len(captions)} captions, {len(scores)} pictures, mean score {sum(scores) / len(scores):.3f}"
    )


if __name__ == "__main__":
    main()
