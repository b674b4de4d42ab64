"""How well kept pictures show their prompts, by the CLIP that a reference names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from limner.core import check
from limner.data.people import pictures
from limner.evaluate.metrics.alignment import WEIGHT
from limner.judge import Judge
from limner.serve.orders import Job
from limner.serve.seeing.drift.reference import Reference
from limner.shelf import find_judge

MOST_KNOWN = 4096  # scores that are remembered


@dataclass(slots=True)
class Scorer:
    """Remembers what it has scored, by the pictures' names: nothing is scored twice."""

    judge: Judge
    _known: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(reference: Reference) -> Scorer | None:
        """With the reference's own CLIP: another's scores mean nothing beside it. None where it names none."""
        if not reference.judge:
            return None
        judge = find_judge(reference.judge)
        same = judge.hash == reference.judge_hash
        check(same, f"the reference's scores are by another {reference.judge}; make the reference anew")
        return Scorer(judge)

    def scores(
        self, drawn: Sequence[tuple[str, str]], read: Callable[[str], bytes | None], *, most: int
    ) -> list[float]:
        """CLIPScores of pictures by their names and prompts, so far as they are still there: those that are known, and
        `most` new ones, the last."""
        new = [one for one in drawn if one[0] not in self._known][-most:] if most else []
        for name, prompt in new:
            data = read(name)
            if data is not None:
                self._known[name] = clip_score(self.judge, data, prompt)
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return [self._known[name] for name, _ in drawn if name in self._known]


def clip_score(judge: Judge, data: bytes, prompt: str) -> float:
    """Of a PNG file."""
    [cosine] = judge.scores([_planes(data)], [prompt])
    return WEIGHT * max(0.0, cosine)


def of_prompts_alone(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """The pictures that were drawn from a prompt and nothing else, each by its name, with its prompt."""
    plain = [job for job in jobs if job.order.image is None and not job.order.negative_prompt]
    return [(one.digest, job.order.prompt) for job in plain for one in job.drawn]


def _planes(data: bytes) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    pixels = np.asarray(pictures.read(data)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)).float() / 127.5 - 1.0
