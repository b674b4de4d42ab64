"""What is read back from a picture, beside what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from limner.data.scenes.truth import Placed
from limner.evaluate.scorer.evidence import Window


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was asked for: `read` is what stands there instead, or the same; empty if there is nothing.

    `fit` is how much of it the asked thing explains: 1 all, 0 no more than the bare ground does.
    """

    asked: Placed
    window: Window | None
    fit: float
    read: str
    right: bool


@dataclass(slots=True)
class Reading:
    """`things` answers the truth's things one by one. What the truth does not ask for is None.

    `background` says the ground that was read, "unknown" if it is none that captions can ask for.
    """

    kind: str
    things: tuple[Found, ...]
    background: str
    background_right: bool | None = None
    colour: str | None = None
    colour_right: bool | None = None
    count: int | None = None
    count_right: bool | None = None
    relation_right: bool | None = None

    @property
    def things_right(self) -> bool:
        return all(one.right for one in self.things)

    @property
    def right(self) -> bool:
        """Whether what the scene is about is there: its things and, if it asks for one, colour, count or relation."""
        for answer in (self.colour_right, self.count_right, self.relation_right):
            if answer is not None:
                return answer
        return self.things_right

    def rows(self) -> dict[str, bool]:
        """The rows of a table that this picture belongs to, and whether it is right there."""
        answers = {
            "colour": self.colour_right,
            "count": self.count_right,
            "relation": self.relation_right,
            "background": self.background_right,
        }
        if self.kind not in ("shape", "count", "relation"):
            row = self.kind if self.kind in ("two", "many") else "single"
            answers[row] = self.things_right
        return {row: right for row, right in answers.items() if right is not None}
