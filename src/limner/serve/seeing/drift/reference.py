"""What a model was trained on, as far as prompts and pictures are measured by it: a file beside the model.

Of the captions most only say which words there are. Some of them are those that prompts are measured against, and
others, which are measured in the same way, say how far captions themselves are from those.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limner import families
from limner.core import InputError, Tokenizer, check, parse, unparse
from limner.serve.seeing.drift.distributions import MEASURES, SCORE, Measure
from limner.serve.seeing.drift.prompts import Measured, Ruler, words
from limner.store import atomic_write
from limner.store.folder import TOKENIZER
from limner.text import load_tokenizer

FORMAT = 1
EXAMPLES, HELD_OUT = 2000, 2000  # captions of either kind, where there are as many
FEWEST = 100  # captions


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`known` says in how many of `captions` captions each word is, `examples` are some of them, and `counts` the
    distribution of each measure by its name. That of the scores, if it is there, is by the CLIP `judge`."""

    captions: int
    known: dict[str, int]
    examples: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    judge: str = ""
    judge_hash: str = ""
    format: int = FORMAT

    @staticmethod
    def of(captions: Sequence[str], tokenizer: Tokenizer) -> Reference:
        """Of these captions, in no order that means anything; InputError for too few."""
        check(len(captions) >= FEWEST, f"{len(captions)} captions are too few to compare with; give {FEWEST} or more")
        held = min(HELD_OUT, len(captions) // 3)
        others, rest = captions[:held], captions[held:]  # what is measured has no part in the measure
        known = Counter(word for caption in rest for word in set(words(caption)))
        examples = tuple(rest[: min(EXAMPLES, len(rest) // 2)])
        found = Reference(captions=len(rest), known=dict(known), examples=examples, counts={})
        return replace(found, counts=tallied(found.ruler(tokenizer).measure(others)))

    def scored(self, scores: Sequence[float], *, judge: str, judge_hash: str) -> Reference:
        """With the scores of pictures that the model drew of such captions."""
        counts = {**self.counts, SCORE.name: SCORE.counts(scores)}
        return replace(self, counts=counts, judge=judge, judge_hash=judge_hash)

    def ruler(self, tokenizer: Tokenizer) -> Ruler:
        return Ruler(self.examples, self.known, self.captions, tokenizer)

    @staticmethod
    def read(path: Path) -> Reference:
        """InputError where it is not what `write` wrote."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({error}); make it again: limner monitor --reference") from None
        check(isinstance(values, dict), f"{path} is no reference; make it again: limner monitor --reference")
        found = parse(Reference, values, str(path))
        whole = all(_fits(one, found.counts.get(one.name)) for one in MEASURES)
        ours = found.format == FORMAT and whole
        check(ours, f"{path} is of another version; make it again: limner monitor --reference")
        return found

    def write(self, path: Path) -> None:
        atomic_write(path, (json.dumps(unparse(self), ensure_ascii=False) + "\n").encode())


def tallied(measured: Sequence[Measured]) -> dict[str, tuple[int, ...]]:
    """The distributions of prompts, by measure."""
    prompts = [one for one in MEASURES if one is not SCORE]
    return {one.name: one.counts([getattr(each, one.name) for each in measured]) for one in prompts}


def place(model: Path) -> Path:
    """Where the reference of a model is: beside it, as nothing else may be within."""
    return model.with_name(f"{model.name}.reference.json")


def tokenizer_of(model: Path) -> Tokenizer:
    """Without the weights; InputError for a model of another program, whose tokenizer is elsewhere."""
    check(
        families.foreign(model) is None and (model / TOKENIZER).is_file(),
        f"{model} has no tokenizer of its own to count tokens with; limner convert makes a model that has one",
    )
    return load_tokenizer((model / TOKENIZER).read_text(encoding="utf-8"))


def _fits(measure: Measure, counts: tuple[int, ...] | None) -> bool:
    return counts is None or (len(counts) == len(measure.edges) + 1 and sum(counts) > 0)
