"""What a run says of itself: log.jsonl, and TensorBoard where it is installed. Neither ever stops a step."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Logs:
    """`scalars` for numbers by images seen, `picture` for a grid, `event` for what happens once."""

    def __init__(self, *, lines: Path, tensorboard: Path) -> None:
        self._path = lines
        self._board = _open_board(tensorboard)
        self._failing = False
        self._torn = _ends_torn(lines)

    def scalars(self, images: int, values: Mapping[str, Any]) -> None:
        """Numbers, or mappings of names to numbers, which TensorBoard shows as name/inner."""
        self._line({"images": images, **values})
        if self._board is not None:
            flat = _flat(values)
            self._on_board(lambda board: [board.add_scalar(name, one, images) for name, one in flat.items()])

    def picture(self, images: int, pixels: Any) -> None:
        """`pixels` (H, W, 3) uint8."""
        self._on_board(lambda board: board.add_image("samples", pixels, images, dataformats="HWC"))

    def event(self, images: int, what: str, **values: Any) -> None:
        self._line({"images": images, "event": what, **values})

    def close(self) -> None:
        self._on_board(lambda board: board.close())

    def _line(self, values: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" * self._torn + json.dumps(_finite(values)) + "\n")
        except OSError as error:
            if not self._failing:
                log.warning("%s cannot be written (%s); training goes on without it", self._path, error.strerror)
            self._failing = self._torn = True
        else:
            self._failing = self._torn = False

    def _on_board(self, use: Any) -> None:
        if self._board is None:
            return
        try:
            use(self._board)
        except OSError as error:
            log.warning("TensorBoard's log cannot be written (%s); training goes on without it", error.strerror)
            self._board = None


def _ends_torn(path: Path) -> bool:
    """Whether a killed process left half a line at the end."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:
        return False


def _open_board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning('TensorBoard is not installed, so only log.jsonl is written; pip install "limner[train]" adds it')
        return None
    try:
        return SummaryWriter(str(folder), flush_secs=30)
    except OSError as error:
        log.warning("TensorBoard's log cannot be written (%s); training goes on without it", error.strerror)
        return None


def _flat(values: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, one in values.items():
        if isinstance(one, Mapping):
            flat |= {f"{name}/{inner}": number for inner, number in _flat(one).items()}
        else:
            flat[name] = float(one)
    return flat


def _finite(value: Any) -> Any:
    """JSON has no NaN: numbers that are not finite become strings."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
