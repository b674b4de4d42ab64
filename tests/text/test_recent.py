"""What is remembered, for how long, and what makes it forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from limner.text.recent import Recent


class Asked:
    """A network that notes what it was asked for."""

    def __init__(self) -> None:
        self.layer, self.of = nn.Linear(2, 2), Recent[str, str](3)
        self.asked: list[str] = []

    def __call__(self, *keys: str) -> dict[str, str]:
        return self.of.of(keys, self.compute, weights=self.layer.parameters())

    def compute(self, keys: Sequence[str]) -> list[str]:
        self.asked += keys
        return [key.upper() for key in keys]


def test_what_was_asked_for_lately_is_not_computed_again() -> None:
    asked = Asked()
    assert asked("a", "b", "a") == {"a": "A", "b": "B"}
    assert asked("b", "c") == {"b": "B", "c": "C"}
    assert asked.asked == ["a", "b", "c"]
    asked("b", "d")  # four are one too many: a was unused for longest
    asked("b", "c", "d")
    assert asked.asked == ["a", "b", "c", "d"]
    asked("a")
    assert asked.asked == ["a", "b", "c", "d", "a"]


def test_more_than_there_is_room_for_are_all_given() -> None:
    asked = Asked()
    assert len(asked(*"abcdef")) == 6
    assert len(asked.of) == 3


def _written_to(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.mul_(2.0)


def _swapped(layer: nn.Linear) -> None:
    layer.bias.data = torch.zeros(2)


def _loaded(layer: nn.Linear) -> None:
    layer.load_state_dict(nn.Linear(2, 2).state_dict())


def _assigned(layer: nn.Linear) -> None:
    layer.load_state_dict(nn.Linear(2, 2).state_dict(), assign=True)


def _narrowed(layer: nn.Linear) -> None:
    layer.to(torch.bfloat16)


def _trained(layer: nn.Linear) -> None:
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()


@pytest.mark.parametrize("change", [_written_to, _swapped, _loaded, _assigned, _narrowed, _trained])
def test_all_is_forgotten_when_a_weight_changes(change: object) -> None:
    asked = Asked()
    asked("a", "b")
    change(asked.layer)  # type: ignore[operator]
    asked("a")
    assert asked.asked == ["a", "b", "a"]
    assert len(asked.of) == 1


def test_other_arithmetic_is_another_result() -> None:
    asked = Asked()
    asked("a")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        asked("a")
    asked("a")
    assert asked.asked == ["a"] * 3


def test_weights_that_count_no_versions_are_weights() -> None:
    with torch.inference_mode():
        asked = Asked()
    asked("a")
    asked("a")
    assert asked.asked == ["a"]
