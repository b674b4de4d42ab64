"""Orders to accept, pictures to add, and a clock that is set by hand."""

from __future__ import annotations

from dataclasses import dataclass

from limner.canvas import Margins
from limner.serve.ledger import Ledger
from limner.serve.orders import Drawn, Job, Order

START = 1_800_000_000.0
LATE = START + 1e9  # a deadline that does not come
PLAIN = Order(model="tiny", prompt="a red ball", seed=7)
RICH = Order(
    model="tiny", prompt="\0 ü \U0001f534 \ud83d ' \" \\ %s :x", seed=2**63, count=3,
    knobs={"steps": 3, "guidance": 1.5}, size=(64, 96), image="a" * 64, mask="b" * 64, strength=0.5,
    extend=Margins(left=8), previews=2,
)  # fmt: skip


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


def accepted(ledger: Ledger, order: Order = PLAIN, *, key: int | None = None, deadline: float = LATE) -> Job:
    job, new = ledger.accept(order, key=key, deadline=deadline)
    assert new
    return job


def picture(index: int = 0) -> Drawn:
    return Drawn(index=index, digest=f"{index:064x}", settings={"seed": 7 + index})
